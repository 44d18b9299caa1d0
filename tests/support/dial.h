/* SPDX-License-Identifier: MIT */
/* For tests of what listens at a path: somebody who connects. */
#ifndef TESTS_SUPPORT_DIAL_H
#define TESTS_SUPPORT_DIAL_H

/* A connected AF_UNIX socket, of @type (SOCK_STREAM ..., with its flags; close-on-exec in any case), the caller's; ends the program where it cannot be. Thread: any. */
int dial(const char *path, int type);

#endif
