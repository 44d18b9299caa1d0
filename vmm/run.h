/* SPDX-License-Identifier: MIT */
/*
 * The verb `run`: configuration, name and folders, the VM, and what remains of it; the guest's resets, each of which starts the program anew in
 * this process, with its lock and its listening sockets; and --detach.
 *
 * Thread: the main thread.
 */
#ifndef VMM_RUN_H
#define VMM_RUN_H

#include "vmm/config.h"
#include "vmm/options.h"

/* The whole verb. @argv: what the program was started with, for the restart. Return: an exit code. */
int run_vm(const struct options *o, char **argv);

/* The file a verb works on: the one named, ./vm.toml, or NULL when options are enough. */
const char *run_default_path(const struct options *o);

/* One configuration, from @path (NULL: options alone; "-": standard input), with what the command line says. Mistakes go to standard error.
 * Return: their number. config_finish @cfg either way. */
int run_load(struct config *cfg, const struct options *o, const char *path);

#endif
