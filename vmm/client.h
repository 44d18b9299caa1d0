/* SPDX-License-Identifier: MIT */
/*
 * The verbs that speak to a running VM over its control socket: list, stop, pause, resume, reset, wait, input, console, screenshot, display, view, ctl.
 * Results go to standard output, one line for what went wrong to standard error. Each returns an exit code (result.h).
 *
 * Thread: the main thread.
 */
#ifndef VMM_CLIENT_H
#define VMM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/options.h"
#include "vmm/rundir.h"

int client_list(const struct options *o);
/* Every VM named, or with --all every one that runs; done when their processes are gone. */
int client_stop(const struct options *o);
/* pause, resume, reset: @verb as the protocol has it. */
int client_simple(const struct options *o, const char *verb);
int client_wait(const struct options *o);
/* Standard input and output become the guest's console; the escape key and x leave it. */
int client_console(const struct options *o);
/* The control character that is the VM's console.escape, Ctrl-A for one that does not answer. Says nothing. */
uint8_t client_escape(const struct rundir *rd);
/* What a scanout shows, as a PNG in a file or on standard output. */
int client_screenshot(const struct options *o);
/* wait --for frame, stable or image: EXIT_TIMEOUT when nothing was shown, EXIT_EXPECT when it was something else; pictures of that are written. */
int client_wait_screen(const struct options *o);
/* Commands for the input devices of a VM, from the words behind its name or, for "-", from standard input. */
int client_input(const struct options *o);
/* The guest's outputs as a table or, with --json, a line for each; after the change that is asked for. */
int client_display(const struct options *o);
/* A viewer for a VM, until its window is closed or the VM ends. */
int client_view(const struct options *o);
/* Passes one request on and prints the answer; with --events everything that happens. */
int client_ctl(const struct options *o);

#endif
