/* SPDX-License-Identifier: MIT */
#include "vmm/gpu_info.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/gpu_egl.h"
#include "devices/gpu_trial.h"
#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/options.h"
#include "vmm/result.h"

#define PATIENCE_MS 20000

static void try_it(const char *render_node, struct gpu_facts *facts)
{
	static const struct gmem none;
	struct gpu_backend *b = gpu_virgl_create(&none, render_node, 1, &facts->info, facts->why, sizeof(facts->why));

	if (b) {
		facts->ncapsets = b->ncapsets;
		memcpy(facts->capset, b->capset, sizeof(facts->capset));
		b->ops->destroy(b);
		facts->works = gpu_trial_draw(render_node, facts->why, sizeof(facts->why)) == 0;
	}
}

/* In the child. What libraries say on standard error is part of no answer. */
static void child(int fd, const char *render_node)
{
	struct gpu_facts facts = {.works = false};
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDERR_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	try_it(render_node, &facts);
	_exit(write(fd, &facts, sizeof(facts)) == sizeof(facts) ? 0 : 1);
}

void gpu_info_probe(const char *render_node, struct gpu_facts *facts)
{
	uint64_t deadline = clock_now_ns() + PATIENCE_MS * (uint64_t)CLOCK_NS_PER_MS, now;
	struct pollfd p = {.events = POLLIN};
	int fd[2], status = 0;
	ssize_t n = 0;
	pid_t pid;

	*facts = (struct gpu_facts){.why = "no process could be started to try it"};
	if (pipe2(fd, O_CLOEXEC) < 0) {
		return;
	}
	pid = fork();
	if (pid == 0) {
		child(fd[1], render_node);
	}
	close(fd[1]);
	p.fd = fd[0];
	while (pid > 0 && (now = clock_now_ns()) < deadline && poll(&p, 1, (int)((deadline - now) / (uint64_t)CLOCK_NS_PER_MS) + 1) < 0 && errno == EINTR) {
	}
	/* A pipe takes so little as a whole. */
	if (pid > 0 && (p.revents & (POLLIN | POLLHUP))) {
		n = read(fd[0], facts, sizeof(*facts));
	}
	close(fd[0]);
	if (pid < 0) {
		return;
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (n != sizeof(*facts)) {
		*facts = (struct gpu_facts){.works = false};
		snprintf(facts->why, sizeof(facts->why), p.revents ? "%s: its driver crashed" : "%s: its driver did not answer", render_node);
	}
}

static const char *capset_name(uint32_t id)
{
	return id == GPU_CAPSET_VIRGL ? "virgl" : "virgl2";
}

/* What works less well than it could, and what would cure it. */
static void print_lacks(const struct gpu_facts *f, FILE *out)
{
	if (gpu_egl_is_software(f->info.renderer)) {
		fprintf(out, "missing        a GPU%s: the processor draws, slowly\n", f->info.driver[0] ? " that Mesa has a driver for (libgl1-mesa-dri)" : "");
	}
}

static void print_what_draws(const struct gpu_facts *f, FILE *out)
{
	fprintf(out, "render node    %s%s%s\n", f->info.node, f->info.driver[0] ? ", kernel driver " : "", f->info.driver);
	fprintf(out, "OpenGL         %s, %s\n", f->info.renderer, f->info.version);
	fprintf(out, "virglrenderer  %s (%s)\n", f->info.release, f->info.library);
	for (unsigned i = 0; i < f->ncapsets; i++) {
		fprintf(out, "capset         %s, version %u, %u bytes\n", capset_name(f->capset[i].id), f->capset[i].version, f->capset[i].size);
	}
	if (f->info.can_export) {
		fprintf(out, "pictures       dma-bufs that the GPU copies, for viewers that can import them; read back into memory for others\n");
		fprintf(out, "zero-copy      %s%s\n", f->info.no_direct[0] ? "no: " : "possible, for the viewer that controls: display.zero_copy", f->info.no_direct);
	} else {
		fprintf(out, "pictures       read back into memory, no dma-bufs: %s\n", f->info.no_export);
	}
	print_lacks(f, out);
}

void gpu_info_print(const struct gpu_facts *f, const struct gpu_facts *instead, FILE *out)
{
	if (f->works) {
		print_what_draws(f, out);
		return;
	}
	fprintf(out, "OpenGL         none for guests\nmissing        %s\n", f->why);
	if (instead && instead->works) {
		fprintf(out, "instead        gpu.render_node = \"%s\"%s: %s\n", instead->info.node, gpu_egl_is_software(instead->info.renderer) ? ", the processor" : "", instead->info.renderer);
	} else if (instead) {
		fprintf(out, "instead        nothing: %s\n", instead->why);
	}
}

void gpu_info_print_json(const struct gpu_facts *f, FILE *out)
{
	json_t *o, *sets = json_array();

	if (!f->works) {
		o = json_pack("{s:b, s:s}", "works", 0, "why", f->why);
		json_decref(sets);
	} else {
		o = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b}", "works", 1, "render_node", f->info.node, "driver", f->info.driver, "renderer", f->info.renderer,
			"version", f->info.version, "virglrenderer", f->info.library, "virglrenderer_version", f->info.release, "software", (int)gpu_egl_is_software(f->info.renderer),
			"can_export", (int)f->info.can_export, "can_zero_copy", (int)(f->info.can_export && !f->info.no_direct[0]));
		for (unsigned i = 0; i < f->ncapsets; i++) {
			json_array_append_new(sets,
				json_pack("{s:s, s:i, s:i}", "name", capset_name(f->capset[i].id), "version", (int)f->capset[i].version, "size", (int)f->capset[i].size));
		}
		json_object_set_new(o, "capsets", sets);
	}
	json_dumpf(o, out, JSON_COMPACT);
	fputc('\n', out);
	json_decref(o);
}

static int of_host(const struct options *o)
{
	const char *want = o->render_node ? o->render_node : "auto";
	struct gpu_facts f, instead = {.works = false};

	gpu_info_probe(want, &f);
	if (o->json) {
		gpu_info_print_json(&f, stdout);
	} else if (f.works || strcmp(want, "surfaceless") == 0) {
		gpu_info_print(&f, NULL, stdout);
	} else {
		/* Rather a GPU. What has no surface may take one too, where Mesa finds it. */
		if (strcmp(want, "auto") != 0) {
			gpu_info_probe("auto", &instead);
		}
		if (!instead.works) {
			gpu_info_probe("surfaceless", &instead);
		}
		gpu_info_print(&f, &instead, stdout);
	}
	return f.works ? EXIT_OK : EXIT_HOST;
}

/* How the pictures of one viewer come to it, and why not in a better way. */
static void print_viewer(const json_t *v)
{
	const char *name = "", *way = "", *fourcc = "", *modifier = "", *why = "", *why_copied = "", *why_rows = "";
	int number = 0, planes = 0, is_direct = 0;

	json_unpack((json_t *)(uintptr_t)v, "{s:i, s:s, s:s, s?s, s?s, s?i, s?b, s?s, s?s, s:s}", "viewer", &number, "name", &name, "way", &way, "fourcc", &fourcc, "modifier", &modifier,
		"planes", &planes, "zero_copy", &is_direct, "why_no_zero_copy", &why_copied, "why_rows", &why_rows, "why_no_dmabuf", &why);
	printf("viewer %-7d %s: ", number, name);
	if (strcmp(way, "dma-buf") == 0) {
		printf("dma-buf %s, modifier %s, %d plane%s, %s%s%s%s\n", fourcc, modifier, planes, planes == 1 ? "" : "s", is_direct ? "zero-copy" : why_copied[0] ? "copied by the GPU: " : "copied by the GPU",
			why_copied, why_rows[0] ? "; in rows: " : "", why_rows);
	} else if (strcmp(way, "none") == 0) {
		printf("no picture yet\n");
	} else {
		printf("%s%s%s\n", strcmp(way, "guest") == 0 ? "the guest's memory" : "memory", why[0] ? "; no dma-buf: " : "", why);
	}
}

/*
 * Traces, as complete events of Chrome's Trace Event Format. A process for each viewer and a thread for each part of a frame's way, since parts of different frames overlap.
 */

static const struct part {
	const char *name, *from, *to; /* members of a frame */
} parts[] = {
	{"guest", "input_ns", "flushed_ns"},
	{"GPU", "flushed_ns", "ready_ns"},
	{"waits", "ready_ns", "sent_ns"},
	{"viewer", "sent_ns", "released_ns"},
	{"presented", "sent_ns", "presented_ns"},
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static json_int_t number_in(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static void add_frame(json_t *events, json_int_t viewer, const json_t *frame)
{
	for (size_t i = 0; i < PARTS; i++) {
		json_int_t from = number_in(frame, parts[i].from), to = number_in(frame, parts[i].to);

		if (from > 0 && to >= from) {
			json_array_append_new(events, json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:{s:I, s:I, s:O}}", "name", parts[i].name, "cat", "frame", "ph", "X", "pid", viewer, "tid",
				(json_int_t)i + 1, "ts", (double)from / 1000, "dur", (double)(to - from) / 1000, "args", "frame", number_in(frame, "frame"), "output",
				number_in(frame, "scanout"), "way", json_object_get(frame, "way")));
		}
	}
}

static void name_line(json_t *events, const char *what, json_int_t viewer, json_int_t line, const char *name)
{
	json_array_append_new(events, json_pack("{s:s, s:s, s:I, s:I, s:{s:s}}", "name", what, "ph", "M", "pid", viewer, "tid", line, "args", "name", name));
}

/* All that are known of a viewer's. Return: an exit code. */
static int add_frames(json_t *events, struct client_link *l, const char *vm, const json_t *v)
{
	json_int_t viewer = number_in(v, "viewer"), after = 0, before = -1;

	name_line(events, "process_name", viewer, 0, json_string_value(json_object_get(v, "name")));
	for (size_t i = 0; i < PARTS; i++) {
		name_line(events, "thread_name", viewer, (json_int_t)i + 1, parts[i].name);
	}
	while (after > before) {
		json_t *answer = client_ask(l, json_pack("{s:s, s:I, s:I}", "do", "frames", "viewer", viewer, "after", after), CLIENT_PATIENCE_MS), *frame;
		int code = client_judge(answer, vm);
		size_t i;

		if (code != EXIT_OK) {
			json_decref(answer);
			return code;
		}
		json_array_foreach (json_object_get(answer, "frames"), i, frame) {
			add_frame(events, viewer, frame);
		}
		before = after;
		after = json_array_size(json_object_get(answer, "frames")) > 0 ? number_in(answer, "next") : after;
		json_decref(answer);
	}
	return EXIT_OK;
}

static int write_frames(const struct options *o, struct client_link *l, const json_t *viewers)
{
	json_t *trace = json_pack("{s:[], s:s}", "traceEvents", "displayTimeUnit", "ms"), *events = json_object_get(trace, "traceEvents");
	int code = EXIT_OK;
	FILE *f;

	for (size_t i = 0; code == EXIT_OK && i < json_array_size(viewers); i++) {
		code = add_frames(events, l, o->files[0], json_array_get(viewers, i));
	}
	f = code == EXIT_OK ? fopen(o->frames, "we") : NULL;
	if (code == EXIT_OK && (!f || json_dumpf(trace, f, JSON_INDENT(0)) != 0 || fputc('\n', f) == EOF)) {
		log_errno(LOG_ERR, errno, "%s", o->frames);
		code = EXIT_FAILED;
	}
	if (f && fclose(f) != 0 && code == EXIT_OK) {
		log_errno(LOG_ERR, errno, "%s", o->frames);
		code = EXIT_FAILED;
	}
	json_decref(trace);
	return code;
}

static int of_vm(const struct options *o)
{
	const char *name = o->files[0], *mode = "off", *renderer = "", *version = "", *node = "";
	const char *no_export = "", *no_virgl = "";
	const json_t *gpu, *viewers;
	struct client_link l;
	struct rundir rd;
	json_t *answer;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		return code;
	}
	answer = client_ask(&l, json_pack("{s:s}", "do", "stats"), CLIENT_PATIENCE_MS);
	code = client_judge(answer, name);
	gpu = json_object_get(answer, "gpu");
	viewers = json_object_get(answer, "viewers");
	if (code == EXIT_OK && o->json) {
		json_t *all = gpu ? json_copy((json_t *)(uintptr_t)gpu) : json_pack("{s:s}", "mode", mode);

		json_object_set(all, "viewers", (json_t *)(uintptr_t)viewers);
		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(all);
	} else if (code == EXIT_OK) {
		json_unpack((json_t *)(uintptr_t)gpu, "{s:s, s?s, s?s, s?s, s?s, s?s}", "mode", &mode, "renderer", &renderer, "version", &version, "render_node", &node, "why_no_export",
			&no_export, "why_no_virgl", &no_virgl);
		printf("mode           %s%s%s\n", mode, no_virgl[0] ? ", instead of virgl: " : "", no_virgl);
		if (node[0]) {
			printf("render node    %s\nOpenGL         %s, %s\n", node, renderer, version);
		}
		if (gpu) {
			printf("pictures       %s%s\n",
				node[0]         ? no_export[0] ? "read back into memory, no dma-bufs: " : "dma-bufs that the GPU copies, for viewers that can import them; read back into memory for others"
						: "in memory, one copy from the guest's, or none of its blobs with udmabuf",
				no_export);
		}
		for (size_t i = 0; i < json_array_size(viewers); i++) {
			print_viewer(json_array_get(viewers, i));
		}
	}
	if (code == EXIT_OK && o->frames) {
		code = write_frames(o, &l, viewers);
	}
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}

int gpu_info_run(const struct options *o)
{
	if (o->frames && !o->nfiles) {
		log_msg(LOG_ERR, "--frames needs a VM");
		return EXIT_USAGE;
	}
	if (o->render_node && o->nfiles) {
		log_msg(LOG_ERR, "--render-node is for this host, not for a VM, which has its own");
		return EXIT_USAGE;
	}
	return o->nfiles ? of_vm(o) : of_host(o);
}
