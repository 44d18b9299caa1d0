/* SPDX-License-Identifier: MIT */
/*
 * What this host can draw with, by drawing in a process of its own: `tinyvmm gpu-info` and a line of doctor. A driver that crashes there crashes nobody else.
 *
 * Thread: the main thread.
 */
#ifndef VMM_GPU_INFO_H
#define VMM_GPU_INFO_H

#include <stdbool.h>
#include <stdio.h>

#include "devices/gpu_virgl.h"

struct options;

struct gpu_facts {
	bool works;
	char why[320]; /* it does not, for people */
	struct gpu_virgl_info info;
	unsigned ncapsets;
	struct gpu_capset capset[GPU_CAPSETS_MAX];
};

/* @render_node: as gpu_egl.h has it. Takes at most 20 s. */
void gpu_info_probe(const char *render_node, struct gpu_facts *facts);

/* What that is, for people: what there is, what is missing and what would cure it. @instead: of something else that was tried because @f does not work; else NULL. */
void gpu_info_print(const struct gpu_facts *f, const struct gpu_facts *instead, FILE *out);
/* The same for programs, as one JSON object in a line. */
void gpu_info_print_json(const struct gpu_facts *f, FILE *out);

/* `tinyvmm gpu-info`. Return: an exit code. */
int gpu_info_run(const struct options *o);

#endif
