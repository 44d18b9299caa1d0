/* SPDX-License-Identifier: MIT */
#include "vmm/vm_gpu.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "vmm/json_text.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/vm_priv.h"

/* Of those this process may open, for all but the guest's pictures. */
#define DESCRIPTORS_KEPT 512
#define STACK_2D_LEN (256u << 10)

struct vm_gpu_request {
	struct loop_post post;
	struct vm *vm;
	struct control_conn *conn; /* NULL: nobody waits any more */
	void (*work)(struct vm_gpu *gpu, struct vm_gpu_request *r); /* on the display's loop */
	void (*answer)(struct vm_gpu_request *r); /* on the main loop; conn is there */
	unsigned scanout;
	bool cursor, base64;
	int error;
	struct display_shot shot; /* its descriptor is closed with the request; -1: none */
	struct vm_gpu_change change;
	struct {
		struct display_output output;
		struct display_rect shown; /* of no size: nothing */
		uint64_t frames;
	} at[DISPLAY_SCANOUTS_MAX];
};

/*
 * The thread.
 */

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0) {
	}
}

static void on_running(struct loop_post *post)
{
	sem_post(&((struct vm_gpu *)((char *)post - offsetof(struct vm_gpu, running)))->opened);
}

static void on_gone(struct loop_post *post)
{
	((struct vm_gpu *)((char *)post - offsetof(struct vm_gpu, gone)))->is_gone = true;
}

static unsigned images_max(void);

static void *run(void *arg)
{
	struct vm *vm = arg;
	struct vm_gpu *gpu = vm->gpu;

	pthread_setname_np(pthread_self(), "gpu");
	if (vm->cfg->gpu.mode == GPU_VIRGL) {
		gpu->backend = gpu_virgl_create(&vm->mem, vm->cfg->gpu.render_node, images_max(), &gpu->info, gpu->why, sizeof(gpu->why));
	}
	sem_post(&gpu->opened);
	wait_for(&gpu->go);
	if (!gpu->is_cancelled) {
		loop_run(&gpu->loop);
		/* A test's is on no bus. */
		if (gpu->dev.base.regs) {
			virtio_device_write_status(&gpu->dev.base, 0);
		}
	}
	if (gpu->dev.backend) {
		gpu_close(&gpu->dev);
	} else if (gpu->backend) {
		gpu->backend->ops->destroy(gpu->backend);
	}
	loop_post(&vm->loop, &gpu->gone);
	return NULL;
}

/* Starts the thread and waits until it has opened what it needs. Return: 0 or -errno (logged). */
static int start_thread(struct vm *vm)
{
	struct vm_gpu *gpu = vm->gpu;
	pthread_attr_t attr;
	int r;

	gpu->gone.fn = on_gone;
	sem_init(&gpu->go, 0, 0);
	sem_init(&gpu->opened, 0, 0);
	pthread_attr_init(&attr);
	/* The stack of the usual size is address space that a kernel with huge pages may fill with one. A driver of OpenGL is given it. */
	if (vm->cfg->gpu.mode != GPU_VIRGL) {
		pthread_attr_setstacksize(&attr, STACK_2D_LEN);
	}
	r = pthread_create(&gpu->thread, &attr, run, vm);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		log_errno(LOG_ERR, r, "gpu: thread");
		return -r;
	}
	gpu->has_thread = true;
	wait_for(&gpu->opened);
	return 0;
}

int vm_gpu_start(struct vm *vm)
{
	struct vm_gpu *gpu = vm->gpu;

	gpu->running.fn = on_running;
	loop_post(&gpu->loop, &gpu->running);
	/* Before the thread runs the loop it is still ours, and a call to it would be carried out here. */
	sem_post(&gpu->go);
	wait_for(&gpu->opened);
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

/* Return: 0, or why blobs are copied, for people, in *@why. */
static int share_error(const struct config *cfg, struct gpu_share *share, const char **why)
{
	int r;

	if (cfg->machine.hugepages == HUGEPAGES_2M || cfg->machine.hugepages == HUGEPAGES_1G) {
		*why = "machine.hugepages from the pool";
		return -EINVAL;
	}
	r = gpu_share_open(share);
	*why = r < 0 ? strerror(-r) : NULL;
	return r;
}

bool vm_gpu_shares_memory(const struct config *cfg)
{
	struct gpu_share share = {.create = NULL};
	const char *why;
	bool can = cfg->gpu.mode != GPU_OFF && cfg->gpu.blob && share_error(cfg, &share, &why) == 0;

	gpu_share_close(&share);
	return can;
}

static void open_share(struct vm *vm, struct gpu_share *share)
{
	const char *why = "guest memory is not shared";

	if (!vm->cfg->gpu.blob) {
		return;
	}
	if (vm->ram.is_shared && share_error(vm->cfg, share, &why) == 0) {
		log_msg(LOG_INFO, "gpu: blobs are shown where they are, by /dev/udmabuf, if they are of few enough pieces");
		return;
	}
	if (!vm->ram.is_shared) {
		struct gpu_share probe = {.create = NULL};

		share_error(vm->cfg, &probe, &why);
		gpu_share_close(&probe);
	}
	log_msg(LOG_INFO, "gpu: blobs are copied when they are shown: /dev/udmabuf: %s", why ? why : "none when the guest's memory was made");
}

/* What carries out the guest's commands. Return: 0 or -errno (logged). */
static int make_backend(struct vm *vm)
{
	const struct config *cfg = vm->cfg;
	struct vm_gpu *gpu = vm->gpu;

	if (gpu->backend) {
		log_msg(LOG_INFO, "gpu: OpenGL by %s on %s", gpu->info.renderer, gpu->info.node);
		if (gpu->info.can_export && !vm_gpu_no_export(vm)[0]) {
			log_msg(LOG_INFO, "gpu: viewers that can import them get pictures as dma-bufs");
		} else {
			log_msg(LOG_INFO, "gpu: pictures are read back for viewers: %s", vm_gpu_no_export(vm));
		}
		return 0;
	}
	if (cfg->gpu.mode == GPU_VIRGL && !cfg->gpu.fallback) {
		log_msg(LOG_ERR, "gpu.mode is \"virgl\": %s (gpu.fallback = true takes 2d then)", gpu->why);
		return -ENODEV;
	}
	if (cfg->gpu.mode == GPU_VIRGL) {
		log_msg(LOG_WARN, "gpu: 2d instead of virgl: %s", gpu->why);
	}
	open_share(vm, &gpu->share);
	gpu->backend = gpu_2d_create(&vm->mem, images_max(), &gpu->share);
	return gpu->backend ? 0 : -ENOMEM;
}

int vm_gpu_init(struct vm *vm)
{
	const struct config *cfg = vm->cfg;
	struct display_output outputs[DISPLAY_SCANOUTS_MAX];
	static const enum gpu_direct_way ways[] = {[ZERO_COPY_AUTO] = GPU_DIRECT_AUTO, [ZERO_COPY_ALWAYS] = GPU_DIRECT_ALWAYS, [ZERO_COPY_NEVER] = GPU_DIRECT_NEVER};
	struct gpu_options options = {.blob = cfg->gpu.blob, .direct = ways[cfg->display.zero_copy]};
	struct vm_gpu *gpu;
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
	if (!gpu || loop_init(&gpu->loop) < 0) {
		free(gpu);
		return -ENOMEM;
	}
	vm->gpu = gpu;
	display_init(&gpu->display, &gpu->loop, outputs, cfg->gpu.scanouts, cfg->gpu.max_host_memory);
	r = start_thread(vm);
	if (r == 0) {
		r = make_backend(vm);
	}
	if (r == 0) {
		r = gpu_init(&gpu->dev, &options, &gpu->display, gpu->backend, &gpu->loop, &vm->mem);
	}
	return r == 0 ? vm_screen_init(vm, vm->options && vm->options->expect) : r;
}

bool vm_gpu_is_stuck(const struct vm *vm)
{
	return vm->gpu && vm->gpu->is_stuck;
}

bool vm_gpu_wait(struct vm *vm, bool (*has_happened)(const struct vm *vm))
{
	uint64_t deadline_ns = clock_now_ns() + VM_GPU_PATIENCE_NS;

	while (!has_happened(vm)) {
		uint64_t now = clock_now_ns();

		if (vm_gpu_is_stuck(vm)) {
			return false;
		}
		if (vm->gpu && now >= deadline_ns) {
			log_msg(LOG_WARN, "gpu: the renderer has not come back for %u s: the VM ends without it", (unsigned)(VM_GPU_PATIENCE_NS / (uint64_t)CLOCK_NS_PER_S));
			vm->gpu->is_stuck = true;
			return false;
		}
		loop_run_once(&vm->loop, vm->gpu ? (int)((deadline_ns - now) / (uint64_t)CLOCK_NS_PER_MS) + 1 : -1);
	}
	return true;
}

static bool has_all_back(const struct vm *vm)
{
	return vm->gpu->asked == 0 && !vm_screen_is_busy(vm);
}

static bool is_gone(const struct vm *vm)
{
	return vm->gpu->is_gone;
}

void vm_gpu_stop(struct vm *vm)
{
	struct vm_gpu *gpu = vm->gpu;

	if (!gpu || !gpu->has_thread) {
		return;
	}
	if (!gpu->is_running) {
		gpu->is_cancelled = true;
		sem_post(&gpu->go);
	} else {
		gpu->is_running = false; /* no more requests */
		vm_screen_stop(vm);
		vm_still_stop(vm);
		if (!vm_gpu_wait(vm, has_all_back)) {
			return;
		}
		loop_stop(&gpu->loop);
	}
	if (vm_gpu_wait(vm, is_gone)) {
		pthread_join(gpu->thread, NULL);
		gpu->has_thread = false;
	}
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
	gpu_share_close(&gpu->share);
	sem_destroy(&gpu->go);
	sem_destroy(&gpu->opened);
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

bool vm_gpu_can_ask(struct vm *vm, struct control_conn *conn, json_int_t scanout)
{
	if (!vm->gpu) {
		control_error(conn, "no-display", "the VM has no display: gpu.mode is \"off\"");
	} else if (!vm->gpu->is_running && vm->result && result_wants_restart(vm->result, vm->cfg)) {
		/* Nothing has ended: the connection does, and who waits for a picture connects again. */
		return false;
	} else if (!vm->gpu->is_running) {
		control_error(conn, "ended", "the VM has ended");
	} else if (scanout < 0 || scanout >= vm->gpu->display.nscanouts) {
		control_error(conn, "field", "scanout: expected 0..%u", vm->gpu->display.nscanouts - 1);
	} else {
		return true;
	}
	return false;
}

/* Return: a request to be filled in, or NULL: then @conn has its answer. */
static struct vm_gpu_request *begin(struct vm *vm, struct control_conn *conn, json_int_t scanout)
{
	struct vm_gpu_request *r;

	if (!vm_gpu_can_ask(vm, conn, scanout)) {
		return NULL;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		control_error(conn, "no-memory", "no memory");
		return NULL;
	}
	*r = (struct vm_gpu_request){.post.fn = on_there, .vm = vm, .conn = conn, .scanout = (unsigned)scanout, .shot.fd = -1};
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

void vm_gpu_answer_shot(struct control_conn *conn, unsigned scanout, int error, const struct display_shot *shot, bool base64)
{
	json_t *fields;

	if (error == -ENOENT) {
		control_error(conn, "no-scanout", "the guest shows nothing on scanout %u", scanout);
	} else if (error < 0) {
		control_error(conn, "no-memory", "screenshot: %s", strerror(-error));
	} else {
		fields = json_pack("{s:i, s:i, s:i, s:s, s:I}", "width", (int)shot->width, "height", (int)shot->height, "stride", (int)shot->stride, "format", "XR24", "frame",
			(json_int_t)shot->frame);
		(base64 ? control_ok_base64 : control_ok_fd)(conn, fields, shot->fd);
	}
}

static void answer_shot(struct vm_gpu_request *r)
{
	struct display_shot shot = r->shot;

	r->shot.fd = -1;
	vm_gpu_answer_shot(r->conn, r->scanout, r->error, &shot, r->base64);
}

void vm_gpu_screenshot(struct vm *vm, struct control_conn *conn, json_int_t scanout, bool cursor, bool base64)
{
	struct vm_gpu_request *r = begin(vm, conn, scanout);

	if (r) {
		r->work = take_shot;
		r->answer = answer_shot;
		r->cursor = cursor;
		r->base64 = base64;
		ask(r);
	}
}

/*
 * Outputs.
 */

static uint32_t changed(json_int_t wanted, uint32_t now)
{
	return wanted < 0 ? now : (uint32_t)wanted;
}

static void change_output(struct vm_gpu *gpu, struct vm_gpu_request *r)
{
	struct display_output o = gpu->display.scanout[r->scanout].output;
	const struct vm_gpu_change *c = &r->change;

	o.enabled = c->enabled < 0 ? o.enabled : c->enabled > 0;
	o.width = changed(c->width, o.width);
	o.height = changed(c->height, o.height);
	o.refresh_hz = changed(c->refresh, o.refresh_hz);
	o.width_mm = changed(c->width_mm, o.width_mm);
	o.height_mm = changed(c->height_mm, o.height_mm);
	display_set_output(&gpu->display, r->scanout, &o);
	for (unsigned i = 0; i < gpu->display.nscanouts; i++) {
		const struct display_scanout *s = &gpu->display.scanout[i];

		r->at[i].output = s->output;
		r->at[i].shown = s->crop;
		r->at[i].frames = s->frames;
	}
}

static void answer_outputs(struct vm_gpu_request *r)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < r->vm->gpu->display.nscanouts; i++) {
		const struct display_output *o = &r->at[i].output;

		json_array_append_new(all, json_pack("{s:i, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}", "scanout", (int)i, "enabled", (int)o->enabled, "width",
			(int)o->width, "height", (int)o->height, "refresh", (int)o->refresh_hz, "width_mm", (int)o->width_mm, "height_mm", (int)o->height_mm,
			"shown_width", (int)r->at[i].shown.w, "shown_height", (int)r->at[i].shown.h, "frames", (json_int_t)r->at[i].frames));
	}
	control_ok(r->conn, json_pack("{s:o}", "outputs", all));
}

void vm_gpu_outputs(struct vm *vm, struct control_conn *conn, json_int_t scanout, const struct vm_gpu_change *change)
{
	static const struct {
		const char *name;
		size_t offset;
		json_int_t min, max;
	} limits[] = {
		{"width", offsetof(struct vm_gpu_change, width), 64, DISPLAY_SIZE_MAX},
		{"height", offsetof(struct vm_gpu_change, height), 64, DISPLAY_SIZE_MAX},
		{"refresh", offsetof(struct vm_gpu_change, refresh), 1, 360},
		{"width_mm", offsetof(struct vm_gpu_change, width_mm), 0, 65535},
		{"height_mm", offsetof(struct vm_gpu_change, height_mm), 0, 65535},
	};
	struct vm_gpu_request *r;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		json_int_t n = *(const json_int_t *)(const void *)((const char *)change + limits[i].offset);

		if (n != -1 && (n < limits[i].min || n > limits[i].max)) {
			control_error(conn, "field", "%s: expected %lld..%lld", limits[i].name, (long long)limits[i].min, (long long)limits[i].max);
			return;
		}
	}
	r = begin(vm, conn, scanout);
	if (r) {
		r->work = change_output;
		r->answer = answer_outputs;
		r->change = *change;
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

const char *vm_gpu_no_export(const struct vm *vm)
{
	const char *no_copies = __atomic_load_n(&vm->gpu->dev.no_copies, __ATOMIC_RELAXED);

	if (vm->gpu->info.no_export[0]) {
		return vm->gpu->info.no_export;
	}
	if (vm->cfg->display.type == DISPLAY_NONE) {
		return "display.type is \"none\"";
	}
	return !vm->cfg->display.dmabuf ? "display.dmabuf is false" : no_copies ? no_copies : "";
}

const char *vm_gpu_display(const struct vm *vm)
{
	enum config_display type = vm->cfg->display.type;

	if (!vm->gpu) {
		return "off";
	}
	/* Without OpenGL it is what a VM has that was never to have any. */
	return config_display_name(type == DISPLAY_EGL_HEADLESS && !vm->gpu->info.node[0] ? DISPLAY_NONE : type);
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
	json_object_set_new(o, "mode", json_string(gpu->info.node[0] ? "virgl" : "2d"));
	if (!gpu->info.node[0] && vm->cfg->gpu.mode == GPU_VIRGL) {
		json_object_set_new(o, "why_no_virgl", json_text(gpu->why, sizeof(gpu->why)));
	}
	if (gpu->info.node[0]) {
		json_object_set_new(o, "render_node", json_string(gpu->info.node));
		json_object_set_new(o, "renderer", json_string(gpu->info.renderer));
		json_object_set_new(o, "version", json_string(gpu->info.version));
		json_object_set_new(o, "contexts", json_integer((json_int_t)__atomic_load_n(&gpu->dev.contexts.n, __ATOMIC_RELAXED)));
		json_object_set_new(o, "submissions", json_integer(now(&gpu->dev.counters.submissions)));
		json_object_set_new(o, "read_bytes", json_integer(now(&gpu->dev.backend->read_bytes)));
		json_object_set_new(o, "losses", json_integer(now(&gpu->dev.backend->losses)));
		json_object_set_new(o, "copies", json_integer(now(&gpu->display.counters.copies)));
		json_object_set_new(o, "zero_copies", json_integer(now(&gpu->display.counters.offers)));
		json_object_set_new(o, "waits", json_integer(now(&gpu->dev.counters.waits)));
		json_object_set_new(o, "late_waits", json_integer(now(&gpu->dev.counters.late_waits)));
		json_object_set_new(o, "can_export", json_boolean(gpu->info.can_export));
		json_object_set_new(o, "why_no_export", json_string(vm_gpu_no_export(vm)));
	}
	json_object_set_new(o, "copied_bytes", json_integer(now(&gpu->dev.backend->copied_bytes)));
	json_object_set_new(o, "blobs_shared", json_integer(now(&gpu->dev.backend->blobs_shared)));
	json_object_set_new(o, "blobs_copied", json_integer(now(&gpu->dev.backend->blobs_copied)));
	json_object_set_new(o, "blob_pieces", json_integer(now(&gpu->dev.backend->blob_pieces)));
	json_object_set_new(o, "blob_pieces_max", json_integer(now(&gpu->dev.backend->blob_pieces_max)));
	json_object_set_new(o, "damaged_bytes", json_integer(now(&gpu->display.counters.damaged_bytes)));
	json_object_set_new(o, "compared_bytes", json_integer(now(&gpu->display.counters.compared_bytes)));
	json_object_set_new(o, "frames", json_integer(now(&gpu->display.counters.flushes)));
	json_object_set_new(o, "taken", json_integer(now(&gpu->display.counters.taken)));
	json_object_set_new(o, "replaced", json_integer(now(&gpu->display.counters.replaced)));
	json_object_set_new(o, "held", json_integer(now(&gpu->display.counters.held)));
	json_object_set_new(o, "late", json_integer(now(&gpu->display.counters.late)));
	json_object_set_new(o, "resources", json_integer((json_int_t)__atomic_load_n(&gpu->dev.resources.n, __ATOMIC_RELAXED)));
	json_object_set_new(o, "memory", json_integer(now(&gpu->display.budget.used)));
	json_object_set_new(o, "memory_peak", json_integer(now(&gpu->display.budget.peak)));
	return o;
}

void vm_gpu_report(const struct vm *vm)
{
	/* None where the VM ends because it could not have one. */
	if (vm->gpu && vm->gpu->dev.backend) {
		const struct gpu_backend *b = vm->gpu->dev.backend;

		vm->result->blobs.offered = vm->cfg->gpu.blob;
		vm->result->blobs.shared = (uint64_t)now(&b->blobs_shared);
		vm->result->blobs.copied = (uint64_t)now(&b->blobs_copied);
		vm->result->blobs.pieces_max = (uint64_t)now(&b->blob_pieces_max);
	}
}
