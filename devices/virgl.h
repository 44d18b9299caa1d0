/* SPDX-License-Identifier: MIT */
/*
 * The library virglrenderer: loaded when a backend wants it, one for the process, with what it says kept from standard error, but for what its parser of shaders finds wrong, and what it takes amiss kept from it. What is done with it is
 * virgl_node.c's and gpu_virgl.c's.
 *
 * Thread: no two of its calls may run at the same time, and all on the loop's thread.
 */
#ifndef DEVICES_VIRGL_H
#define DEVICES_VIRGL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <virgl/virglrenderer.h>

#include "vmm/log.h"

struct gpu_egl;

#define VIRGL_FUNCTIONS(F)                                                                                                                                          \
	F(init) F(cleanup) F(poll) F(get_poll_fd) F(force_ctx_0) F(get_cap_set) F(fill_caps) F(context_create_with_flags) F(context_destroy) F(ctx_attach_resource)              \
	F(ctx_detach_resource) F(submit_cmd) F(resource_create) F(resource_unref) F(resource_attach_iov) F(resource_detach_iov) F(transfer_read_iov)                  \
	F(transfer_write_iov) F(create_fence) F(resource_get_info)

struct virgl {
#define FUNCTION(name) typeof(virgl_renderer_##name) *name;
	VIRGL_FUNCTIONS(FUNCTION)
#undef FUNCTION
	void *lib; /* NULL: not loaded. Never unloaded: OpenGL drivers are behind it */
	bool is_used; /* it has a guest, or is about to */
	bool has_guest; /* what it says is about what that does */
	struct log_limit log_limit;
};

extern struct virgl virgl;

/* Fills in the above; again, it does nothing. Return: whether there is one; else @why, and what would cure it, for people. */
bool virgl_load(char *why, size_t why_len);

/* Its errors are positive in some places and negative in others. Return: 0 or -errno. */
int virgl_error(int r);

/* Its file, without the folder. It is loaded. */
void virgl_name_file(char *name, size_t len);
/* Its version, as far as the functions it has tell. It is loaded. */
const char *virgl_release(void);

/* It has been initialised, and a context of @egl is current: what that OpenGL cannot do for a sampler is kept from it. */
void virgl_spare_samplers(struct gpu_egl *egl);

#endif
