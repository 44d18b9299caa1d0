/* SPDX-License-Identifier: MIT */
/*
 * DRM render nodes: which there are, and in which order to try what draws. By driver, never by number, which is the order that the host's kernel found them in.
 *
 * Thread: any.
 */
#ifndef DEVICES_GPU_NODE_H
#define DEVICES_GPU_NODE_H

#include <stdbool.h>
#include <stddef.h>

#define GPU_NODES_MAX 16
#define GPU_NODE_FOLDER "/dev/dri"

struct gpu_node {
	char path[64];
	char driver[32]; /* the kernel's */
};

struct gpu_nodes {
	struct gpu_node at[GPU_NODES_MAX];
	unsigned n;
};

/* What a host has; a test has another one. */
struct gpu_node_host {
	const char *folder;
	/* The kernel driver of an open node. Return: whether it has one. */
	bool (*driver)(int fd, char *driver, size_t len);
};

extern const struct gpu_node_host gpu_node_host;

/**
 * gpu_node_find - the render nodes to try, best first
 * @want: "auto": all, those of GPUs before those that a monitor gives to a VM; a path; or a kernel driver's name ("i915")
 *
 * Each could be opened, and has a driver that can draw. Return: 0 with @why empty, or saying of another one why it could not be opened; or -errno with @why, and what would cure it, for people: then there is none.
 */
int gpu_node_find(const struct gpu_node_host *host, const char *want, struct gpu_nodes *nodes, char *why, size_t why_len);

struct gpu_node_trial {
	/* Opens what draws on @node; what an earlier one has opened goes first. *@is_software: the processor does it. Return: 0, or -errno with @why. */
	int (*try)(void *ctx, const struct gpu_node *node, bool *is_software, char *why, size_t why_len);
	void *ctx;
};

/* Tries them, at least one, until a GPU draws; where none does, it is the first that draws at all. Return: the number of the one that was tried last, which draws, or -errno with @why of the best one. */
int gpu_node_choose(const struct gpu_nodes *nodes, const struct gpu_node_trial *trial, char *why, size_t why_len);

/* Return: a descriptor or -errno. */
int gpu_node_open(const char *path);

#endif
