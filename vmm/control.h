/* SPDX-License-Identifier: MIT */
/*
 * The control socket: newline-delimited JSON, one request a line, answers in the order of the requests on a connection.
 *
 *   {"do":"pause","id":1}   ->   {"id":1,"ok":true}   or   {"id":1,"ok":false,"error":{"code":"busy","text":"..."}}
 *
 * Here is the protocol and who is connected; what the verbs do is the owner's (vm_control.c). The other side may be anybody with our
 * uid, slow, stopped, or a program with a mistake: a line is at most CONTROL_LINE_MAX bytes, one request of a connection is worked on at a time,
 * an answer waits in a bounded buffer, and while that is full no further request of this connection is read. Events for a subscriber without
 * room are dropped and counted. So nothing here blocks the loop or grows.
 *
 * Thread: the main loop.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/listener.h"
#include "vmm/loop.h"

#define CONTROL_LINE_MAX 65536
#define CONTROL_CONNS_MAX 32
#define CONTROL_ANSWER_MAX 20480 /* bytes of one answer or event, newline included */
#define CONTROL_OUT_MAX 65536 /* bytes that wait for a slow reader */
#define CONTROL_TURN_MAX (256u << 10) /* bytes that leave to one reader before others have their turn */

struct control;

struct control_conn {
	struct control *control;
	struct loop_source src; /* fd -1: the place is free */
	char *in, *out; /* CONTROL_LINE_MAX bytes that came and are no whole line yet, CONTROL_OUT_MAX that wait to leave */
	size_t in_len, out_len;
	json_t *id; /* of the request that is worked on */
	bool busy; /* a request is with the owner */
	bool ended; /* the other side sends no more */
	bool dead; /* nor does it read */
	bool serving; /* lines are being worked off */
	bool subscribed;
	unsigned dropped; /* events since the last one that had room */
	int out_fd; /* leaves with the byte of out at out_fd_at; -1: none. Then no further request is read */
	size_t out_fd_at;
	const uint8_t *data; /* bytes that leave as base64 behind out, and end the answer; NULL: none. Then no further request is read */
	size_t data_len, data_at;
};

struct control_ops {
	/* A well-formed request. Answer it with control_ok or control_error, now or later. Check the fields with JSON_STRICT. */
	void (*request)(void *ctx, struct control_conn *conn, const char *verb, json_t *request);
	/* The connection is gone, and with it the request it waited for, if there was one. */
	void (*gone)(void *ctx, struct control_conn *conn);
};

struct control {
	struct loop *loop;
	struct listener listener;
	const struct control_ops *ops;
	void *ctx;
	struct control_conn conn[CONTROL_CONNS_MAX];
};

/**
 * control_init - serve a listening socket
 * @fd: from listener_open, or inherited; becomes the control's
 * Return: 0 or -errno (logged).
 */
int control_init(struct control *c, struct loop *loop, int fd, const struct control_ops *ops, void *ctx);
/* Closes connections after giving their answers @patience_ms to leave. The listener is closed only when @keep is false. Accepts zeroed memory. */
void control_finish(struct control *c, unsigned patience_ms, bool keep);

/* Answers the request that @conn waits for. @fields: more members, or NULL; its reference is taken. */
void control_ok(struct control_conn *conn, json_t *fields);
/* The same, and a descriptor goes with the answer's first byte (SCM_RIGHTS). @fd becomes the control's. */
void control_ok_fd(struct control_conn *conn, json_t *fields, int fd);
/**
 * control_ok_base64 - answers with the bytes of a file, as long as it may be, in a member "base64"
 * @fd: becomes the control's; memory or a file whose size does not change
 *
 * It leaves as fast as it is read, a piece at a time; events that come meanwhile are dropped and counted. When the file cannot be mapped the answer is an error.
 */
void control_ok_base64(struct control_conn *conn, json_t *fields, int fd);
void control_error(struct control_conn *conn, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Tells every subscriber. @fields: more members, or NULL; its reference is taken. */
void control_event(struct control *c, const char *event, json_t *fields);

/* Number of a connection, below CONTROL_CONNS_MAX. */
unsigned control_conn_index(const struct control_conn *conn);

#endif
