/* SPDX-License-Identifier: MIT */
/*
 * `tinyvmm doctor`: what this host has of what tinyvmm needs, one line each, with the remedy.
 * Thread: the main thread.
 */
#ifndef VMM_DOCTOR_H
#define VMM_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

#define DOCTOR_NEED_KVM 0x1u
#define DOCTOR_NEED_ALL 0xffu

/**
 * doctor_run - check the host
 * @need: DOCTOR_NEED_* bits: only these checks
 * @json: one JSON object a line instead of `ok|warn|FAIL what: fix`
 * Return: number of FAIL lines.
 */
int doctor_run(unsigned need, bool json, FILE *out);

/* The names `--need` takes. Return: a DOCTOR_NEED_* bit, or 0 for an unknown name. */
unsigned doctor_need_from_name(const char *name, size_t len);

#endif
