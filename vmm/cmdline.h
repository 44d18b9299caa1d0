/* SPDX-License-Identifier: MIT */
/*
 * The kernel command line a guest gets.
 * Thread: the main thread.
 */
#ifndef VMM_CMDLINE_H
#define VMM_CMDLINE_H

#include <stddef.h>

#include "boot/boot.h"
#include "vmm/config.h"

/**
 * cmdline_make - the kernel command line: the configured one and, with boot.auto_cmdline, what is missing in it
 * @buf: at least @len bytes
 * Return: 0, or -E2BIG when it does not fit.
 */
int cmdline_make(const struct config *cfg, enum boot_kind kind, char *buf, size_t len);

#endif
