/* SPDX-License-Identifier: MIT */
/*
 * The folders of a running VM.
 *
 *   run     $XDG_RUNTIME_DIR/tinyvmm/NAME, or /tmp/tinyvmm-UID/NAME     pid, control.sock, console.sock; gone with the VM
 *   state   $XDG_STATE_HOME/tinyvmm/NAME, or ~/.local/state/tinyvmm/NAME   console.log, serial.log, tinyvmm.log, result.json of the last runs
 *
 * pid says which process it is, and is locked for the life of that process, also over a restart of the program; whoever has the lock may unlink
 * sockets that a killed process left. So a stale socket is never "address in use", and a name that is in use names its process.
 *
 * Folders are 0700 and must belong to the user. No file in them is followed as a link.
 *
 * Thread: the main thread.
 */
#ifndef VMM_RUNDIR_H
#define VMM_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define RUNDIR_PATH_MAX 100 /* a socket's path in it fits into sun_path */
#define RUNDIR_RUNS 5 /* runs whose logs are kept */

struct rundir {
	char path[RUNDIR_PATH_MAX];
	int dir_fd; /* of path */
	int lock_fd; /* 0: not taken */
	bool is_new; /* nobody had it before */
	char state[4096]; /* empty: there is none (no HOME, or a read-only file system) */
};

/**
 * rundir_take - make the folders of VM @name and lock it
 * @lock_fd: the lock inherited from the program before a restart, or 0
 * @state: the folder for logs, made when missing, nothing in it is numbered; NULL: the usual one
 * @holder: set to the process that has the name, with -EBUSY; 0 when it cannot be told
 *
 * Makes room for a new run in the usual state folder: older logs are numbered .1, .2, ... Return: 0, -EBUSY, or another -errno (logged).
 */
int rundir_take(struct rundir *rd, const char *name, int lock_fd, const char *state, pid_t *holder);

/* Removes everything in the run folder. Accepts zeroed memory. */
void rundir_release(struct rundir *rd);

/* The folder somebody named for logs and pictures, made when it is missing. Return: 0 or -errno (logged). */
int rundir_make_artifacts(const char *path);

/* PATH/FILE into @buf. Return: false when it does not fit, or there is no state folder. */
bool rundir_file(const struct rundir *rd, const char *file, char *buf, size_t len);
bool rundir_state_file(const struct rundir *rd, const char *file, char *buf, size_t len);

/*
 * For the verbs that look for a VM.
 */

/* The run or state folder of @name, without making or locking it. Return: 0, or -errno with a line in @err. */
int rundir_find(struct rundir *rd, const char *name, char *err, size_t err_len);
/* Whether a process holds the lock. */
bool rundir_is_alive(const struct rundir *rd, pid_t *pid);
/* Calls @fn for each VM that runs, in the order of their names; folders whose process is gone are removed. Return: 0 or -errno with @err. */
int rundir_each(void (*fn)(const struct rundir *rd, const char *name, pid_t pid, void *ctx), void *ctx, char *err, size_t err_len);

#endif
