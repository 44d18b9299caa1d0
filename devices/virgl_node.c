/* SPDX-License-Identifier: MIT */
#include "devices/virgl_node.h"

#include <errno.h>
#include <stdio.h>

#include "devices/virgl.h"
#include "vmm/log.h"

/*
 * What the library asks of us.
 */

static void write_fence(void *cookie, uint32_t fence)
{
	struct virgl_node *n = cookie;

	/* Its numbers have 32 bits; the one it means is the last we gave that ends in them. */
	n->backend->retired(n->backend->retired_ctx, n->last_fence - (uint32_t)((uint32_t)n->last_fence - fence));
}

static virgl_renderer_gl_context create_gl_context(void *cookie, int scanout, struct virgl_renderer_gl_ctx_param *param)
{
	struct virgl_node *n = cookie;
	void *context = gpu_egl_create_context(&n->egl, param->major_ver, param->minor_ver);

	(void)scanout;
	if (!context && n->has_begun) {
		/* It would go on with none, and OpenGL's loader ends the process then. */
		n->lacks_context = true;
		return n->egl.reserve;
	}
	n->has_begun |= context != NULL;
	return context;
}

static void destroy_gl_context(void *cookie, virgl_renderer_gl_context context)
{
	struct virgl_node *n = cookie;

	if (context != n->egl.reserve) {
		gpu_egl_destroy_context(&n->egl, context);
	}
}

/* On the library's thread too. */
static int make_current(void *cookie, int scanout, virgl_renderer_gl_context context)
{
	struct virgl_node *n = cookie;

	(void)scanout;
	return gpu_egl_make_current(&n->egl, context) ? 0 : -1;
}

int virgl_node_ended(struct virgl_node *n, uint32_t ctx, int r)
{
	if (!n->lacks_context) {
		return r;
	}
	n->lacks_context = false;
	log_guest(&virgl.log_limit, "gpu", "context %u ends: the host has no OpenGL context for it", ctx);
	virgl.context_destroy(ctx);
	virgl.force_ctx_0();
	return -ENOMEM;
}

/*
 * Fences and resets.
 */

/* Return: whether the GPU was reset since it was asked last: nothing of the guest's that draws is there any more. */
static bool has_lost(struct virgl_node *n)
{
	if (n->is_lost || !gpu_egl_is_lost(&n->egl)) {
		return false;
	}
	n->is_lost = true;
	__atomic_store_n(&n->backend->losses, n->backend->losses + 1, __ATOMIC_RELAXED);
	log_guest(&virgl.log_limit, "gpu", "%s was reset: what the guest's programs draw with is lost, and 3D fails until its driver starts again", n->egl.node);
	return true;
}

void virgl_node_poll(struct virgl_node *n)
{
	if (!n->is_open) {
		return;
	}
	/* The host's kernel ends the fences of what it stops. What else the GPU was to do is not waited for: nobody does it. */
	if (has_lost(n)) {
		n->backend->retired(n->backend->retired_ctx, n->last_fence);
	}
	virgl.poll();
}

int virgl_node_fence(struct virgl_node *n, uint64_t *fence)
{
	int r;

	if (n->is_lost) {
		return -EIO;
	}
	/* In the context that has drawn last: in another one it would say nothing about that. */
	r = virgl_error(virgl.create_fence((int)(uint32_t)(n->last_fence + 1), 0));
	if (r == 0) {
		*fence = ++n->last_fence;
	} else {
		/* A context that is lost gives none, so that nothing would come to be polled. */
		has_lost(n);
	}
	return r;
}

/*
 * Beginning and end.
 */

/* What the library knows beyond these (Venus' set, which 0.10.4 says it has when it has not) is none of the guest's. */
static void find_capsets(struct gpu_backend *b)
{
	static const uint32_t ids[GPU_CAPSETS_MAX] = {GPU_CAPSET_VIRGL, GPU_CAPSET_VIRGL2};
	unsigned n = 0;

	for (unsigned i = 0; i < GPU_CAPSETS_MAX; i++) {
		struct gpu_capset c = {.id = ids[i]};

		virgl.get_cap_set(c.id, &c.version, &c.size);
		if (c.size > 0) {
			b->capset[n++] = c;
		}
	}
	/* What a guest was told to begin with it is told again. */
	b->ncapsets = n > b->ncapsets ? n : b->ncapsets;
}

bool virgl_node_open(struct virgl_node *n, struct gpu_backend *b, const char *want, char *why, size_t why_len)
{
	static struct virgl_renderer_callbacks callbacks = {
		.version = 1, .write_fence = write_fence, .create_gl_context = create_gl_context, .destroy_gl_context = destroy_gl_context, .make_current = make_current};

	if (virgl.is_used) {
		snprintf(why, why_len, "virglrenderer has a guest already");
		return false;
	}
	if (!virgl_load(why, why_len) || gpu_egl_open(&n->egl, want, why, why_len) < 0) {
		return false;
	}
	n->backend = b;
	n->has_begun = n->lacks_context = false;
	if (virgl.init(n, VIRGL_RENDERER_THREAD_SYNC, &callbacks) != 0) {
		snprintf(why, why_len, "virglrenderer does not work with %s", n->egl.renderer);
		gpu_egl_close(&n->egl);
		return false;
	}
	virgl.is_used = true;
	n->is_open = true;
	if (n->lacks_context) {
		snprintf(why, why_len, "%s has too few OpenGL contexts", n->egl.node);
		virgl_node_close(n);
		return false;
	}
	if (gpu_egl_make_current(&n->egl, n->egl.base)) {
		virgl_spare_samplers(&n->egl);
	}
	virgl.force_ctx_0();
	b->poll_fd = virgl.get_poll_fd();
	find_capsets(b);
	if (b->poll_fd < 0 || b->ncapsets == 0) {
		snprintf(why, why_len, "virglrenderer has no %s", b->poll_fd < 0 ? "fences to wait for" : "capabilities");
		virgl_node_close(n);
		return false;
	}
	virgl.has_guest = true;
	n->is_lost = false;
	return true;
}

void virgl_node_close(struct virgl_node *n)
{
	if (!n->is_open) {
		return;
	}
	n->is_open = false;
	n->backend->poll_fd = -1;
	virgl.force_ctx_0();
	virgl.cleanup(n);
	virgl.is_used = virgl.has_guest = false;
	gpu_egl_close(&n->egl);
}
