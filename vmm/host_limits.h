/* SPDX-License-Identifier: MIT */
/*
 * What this process may use of its host: all of it, or what its CPU mask and its control groups leave. A container or a job of a batch system
 * has a part of a large machine, and whoever counts the machine's processors there starts far too much.
 * Control groups are those of version 2 (Linux, Documentation/admin-guide/cgroup-v2.rst); limits of version 1 are not seen.
 * Thread: any. Nothing is kept.
 */
#ifndef VMM_HOST_LIMITS_H
#define VMM_HOST_LIMITS_H

#include <stdint.h>

/*
 * @root: in front of /proc and /sys, "" for the host's own.
 * Return: at least 1. A part of a processor counts as one.
 */
unsigned host_limits_processors(const char *root);

/*
 * Memory that can still be had without swapping or being killed: what the kernel calls available, or less, where a control group allows less.
 * @root: as above.
 * Return: bytes; UINT64_MAX when nobody says.
 */
uint64_t host_limits_memory(const char *root);

#endif
