/* SPDX-License-Identifier: MIT */
/* A connection to a VM's control socket, for the files of the client. Not for anyone else. Thread: the main thread. */
#ifndef VMM_CLIENT_PRIV_H
#define VMM_CLIENT_PRIV_H

#include <jansson.h>
#include <stddef.h>

#include "vmm/control.h"
#include "vmm/rundir.h"

/* An answer comes at once, except for what waits on purpose. */
#define CLIENT_PATIENCE_MS 10000

struct client_link {
	int fd;
	int received_fd; /* that came with an answer; -1: none. The link closes it unless it is taken out */
	size_t len;
	char buf[CONTROL_ANSWER_MAX];
};

/* Return: EXIT_OK, or another exit code, with the reason said. Then there is nothing to close. */
int client_link_open(struct client_link *l, const char *name, struct rundir *rd);
void client_link_close(struct client_link *l, struct rundir *rd);

/* Sends @request (taken) and reads its answer. @timeout_ms -1: for ever. Return: the answer, or NULL. */
json_t *client_ask(struct client_link *l, json_t *request, int timeout_ms);
/* Return: the exit code an answer comes to; a refusal is said. @answer NULL: there was none. */
int client_judge(const json_t *answer, const char *name);

/* What scanout @scanout shows, to a PNG file; "-": standard output. Return: an exit code, with the reason said. */
int client_write_picture(struct client_link *l, const char *name, unsigned scanout, bool cursor, const char *path);

#endif
