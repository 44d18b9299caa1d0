/* SPDX-License-Identifier: MIT */
#include "vmm/vm_gpu.h"

#include <errno.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "vmm/log.h"
#include "vmm/vm_priv.h"

/* Of those this process may open, for all but the guest's pictures. */
#define DESCRIPTORS_KEPT 512

struct vm_gpu_request {
	struct loop_post post;
	struct vm *vm;
	struct control_conn *conn; /* NULL: nobody waits any more */
	void (*work)(struct vm_gpu *gpu, struct vm_gpu_request *r); /* on the display's loop */
	void (*answer)(struct vm_gpu_request *r); /* on the main loop; conn is there */
	unsigned scanout;
	bool cursor;
	int error;
	struct display_shot shot; /* its descriptor is closed with the request; -1: none */
};

/*
 * The thread.
 */

struct start {
	struct loop_post post;
	sem_t runs;
};

static void on_started(struct loop_post *post)
{
	struct start *s = (struct start *)((char *)post - offsetof(struct start, post));

	sem_post(&s->runs);
}

static void *run(void *arg)
{
	struct vm_gpu *gpu = arg;

	pthread_setname_np(pthread_self(), "gpu");
	loop_run(&gpu->loop);
	return NULL;
}

/* From the first post on the loop is the thread's, and calls to it are handed over. */
static int start_thread(struct vm_gpu *gpu)
{
	struct start s = {.post.fn = on_started};
	int r;

	sem_init(&s.runs, 0, 0);
	loop_post(&gpu->loop, &s.post);
	r = pthread_create(&gpu->thread, NULL, run, gpu);
	if (r != 0) {
		log_errno(LOG_ERR, r, "gpu: thread");
		loop_run_once(&gpu->loop, 0);
		return -r;
	}
	while (sem_wait(&s.runs) < 0) {
	}
	sem_destroy(&s.runs);
	gpu->is_running = true;
	return 0;
}

/* Each picture is a descriptor, and the guest decides how many there are. Return: how many it may have, so that enough are left for everything else. */
static unsigned images_max(void)
{
	struct rlimit limit;
	rlim_t want = GPU_RESOURCES_MAX + DESCRIPTORS_KEPT;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
		return DESCRIPTORS_KEPT;
	}
	if (limit.rlim_cur < want) {
		limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur >= want ? GPU_RESOURCES_MAX : limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? (unsigned)limit.rlim_cur - DESCRIPTORS_KEPT : (unsigned)limit.rlim_cur / 2;
}

int vm_gpu_init(struct vm *vm)
{
	const struct config *cfg = vm->cfg;
	struct display_output outputs[DISPLAY_SCANOUTS_MAX];
	struct gpu_options options = {.blob = cfg->gpu.blob};
	struct vm_gpu *gpu;
	struct gpu_backend *backend;
	int r;

	if (cfg->gpu.mode == GPU_OFF) {
		return 0;
	}
	for (unsigned i = 0; i < cfg->gpu.scanouts; i++) {
		unsigned size = i < cfg->gpu.size.n ? i : cfg->gpu.size.n - 1;

		outputs[i] = (struct display_output){.enabled = true, .width = cfg->gpu.size.item[size].width, .height = cfg->gpu.size.item[size].height,
			.refresh_hz = cfg->gpu.refresh};
	}
	gpu = calloc(1, sizeof(*gpu));
	backend = gpu ? gpu_2d_create(&vm->mem, images_max()) : NULL;
	if (!backend || loop_init(&gpu->loop) < 0) {
		free(backend);
		free(gpu);
		return -ENOMEM;
	}
	vm->gpu = gpu;
	display_init(&gpu->display, &gpu->loop, outputs, cfg->gpu.scanouts, cfg->gpu.max_host_memory);
	gpu_init(&gpu->dev, &options, &gpu->display, backend, &gpu->loop, &vm->mem);
	r = virtio_bus_add(&vm->virtio, &gpu->dev.base);
	if (r == 0) {
		r = vm_screen_init(vm, vm->options->expect);
	}
	return r < 0 ? r : start_thread(gpu);
}

void vm_gpu_stop(struct vm *vm)
{
	struct vm_gpu *gpu = vm->gpu;

	if (!gpu || !gpu->is_running) {
		return;
	}
	gpu->is_running = false; /* no more requests */
	vm_screen_stop(vm);
	while (gpu->asked > 0 || vm_screen_is_busy(vm)) {
		loop_run_once(&vm->loop, -1);
	}
	loop_stop(&gpu->loop);
	pthread_join(gpu->thread, NULL);
	/* What was posted last. */
	loop_run_once(&vm->loop, 0);
}

void vm_gpu_finish(struct vm *vm)
{
	struct vm_gpu *gpu = vm->gpu;

	if (!gpu) {
		return;
	}
	vm_screen_finish(vm);
	gpu_finish(&gpu->dev);
	display_finish(&gpu->display);
	loop_finish(&gpu->loop);
	free(gpu);
	vm->gpu = NULL;
}

/*
 * Requests: there and back.
 */

static void on_back(struct loop_post *post)
{
	struct vm_gpu_request *r = (struct vm_gpu_request *)((char *)post - offsetof(struct vm_gpu_request, post));

	r->vm->gpu->asked--;
	if (r->conn) {
		vm_control_gpu_done(r->vm, r->conn);
		r->answer(r);
	}
	if (r->shot.fd >= 0) {
		close(r->shot.fd);
	}
	free(r);
}

static void on_there(struct loop_post *post)
{
	struct vm_gpu_request *r = (struct vm_gpu_request *)((char *)post - offsetof(struct vm_gpu_request, post));

	r->work(r->vm->gpu, r);
	r->post.fn = on_back;
	loop_post(&r->vm->loop, &r->post);
}

/* Return: a request to be filled in, or NULL: then @conn has its answer. */
static struct vm_gpu_request *begin(struct vm *vm, struct control_conn *conn, json_int_t scanout)
{
	struct vm_gpu_request *r = NULL;

	if (!vm->gpu) {
		control_error(conn, "no-display", "the VM has no display: gpu.mode is \"off\"");
	} else if (!vm->gpu->is_running) {
		control_error(conn, "ended", "the VM has ended");
	} else if (scanout < 0 || scanout >= vm->gpu->display.nscanouts) {
		control_error(conn, "field", "scanout: expected 0..%u", vm->gpu->display.nscanouts - 1);
	} else {
		r = calloc(1, sizeof(*r));
		if (!r) {
			control_error(conn, "no-memory", "no memory");
			return NULL;
		}
		*r = (struct vm_gpu_request){.post.fn = on_there, .vm = vm, .conn = conn, .scanout = (unsigned)scanout, .shot.fd = -1};
	}
	return r;
}

static void ask(struct vm_gpu_request *r)
{
	r->vm->gpu->asked++;
	vm_control_gpu_asked(r->vm, r->conn, r);
	loop_post(&r->vm->gpu->loop, &r->post);
}

void vm_gpu_forget(struct vm_gpu_request *r)
{
	r->conn = NULL;
}

/*
 * Screenshots.
 */

static void take_shot(struct vm_gpu *gpu, struct vm_gpu_request *r)
{
	r->error = display_screenshot(&gpu->display, r->scanout, r->cursor, &r->shot);
}

static void answer_shot(struct vm_gpu_request *r)
{
	const struct display_shot *s = &r->shot;
	int fd = s->fd;

	if (r->error == -ENOENT) {
		control_error(r->conn, "no-scanout", "the guest shows nothing on scanout %u", r->scanout);
	} else if (r->error < 0) {
		control_error(r->conn, "no-memory", "screenshot: %s", strerror(-r->error));
	} else {
		r->shot.fd = -1;
		control_ok_fd(r->conn, json_pack("{s:i, s:i, s:i, s:s, s:I}", "width", (int)s->width, "height", (int)s->height, "stride", (int)s->stride, "format",
			"XR24", "frame", (json_int_t)s->frame), fd);
	}
}

void vm_gpu_screenshot(struct vm *vm, struct control_conn *conn, json_int_t scanout, bool cursor)
{
	struct vm_gpu_request *r = begin(vm, conn, scanout);

	if (r) {
		r->work = take_shot;
		r->answer = answer_shot;
		r->cursor = cursor;
		ask(r);
	}
}

/*
 * Counters.
 */

static json_int_t now(const uint64_t *counter)
{
	return (json_int_t)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

json_t *vm_gpu_stats(const struct vm *vm)
{
	const struct vm_gpu *gpu = vm->gpu;
	json_t *o;

	if (!gpu) {
		return NULL;
	}
	o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "commands", now(&gpu->dev.counters.commands), "refused", now(&gpu->dev.counters.refused), "turns",
		now(&gpu->dev.counters.turns), "transfers", now(&gpu->dev.counters.transfers), "flushes", now(&gpu->dev.counters.flushes), "cursors",
		now(&gpu->dev.counters.cursors));
	json_object_set_new(o, "copied_bytes", json_integer(now(&gpu->dev.backend->copied_bytes)));
	json_object_set_new(o, "damaged_bytes", json_integer(now(&gpu->display.counters.damaged_bytes)));
	json_object_set_new(o, "frames", json_integer(now(&gpu->display.counters.flushes)));
	json_object_set_new(o, "taken", json_integer(now(&gpu->display.counters.taken)));
	json_object_set_new(o, "replaced", json_integer(now(&gpu->display.counters.replaced)));
	json_object_set_new(o, "resources", json_integer((json_int_t)__atomic_load_n(&gpu->dev.resources.n, __ATOMIC_RELAXED)));
	json_object_set_new(o, "memory", json_integer(now(&gpu->display.budget.used)));
	json_object_set_new(o, "memory_peak", json_integer(now(&gpu->display.budget.peak)));
	return o;
}
