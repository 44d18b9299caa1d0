/* SPDX-License-Identifier: MIT */
/*
 * Tells a service manager how it goes: sd_notify(3)'s protocol, one datagram to $NOTIFY_SOCKET. Nobody listening is fine.
 * Thread: any.
 */
#ifndef VMM_NOTIFY_H
#define VMM_NOTIFY_H

/* @state: "READY=1", "STATUS=...", "STOPPING=1"; several are separated by newlines. Never blocks. */
void notify(const char *state);

#endif
