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
		facts->works = true;
		facts->ncapsets = b->ncapsets;
		memcpy(facts->capset, b->capset, sizeof(facts->capset));
		b->ops->destroy(b);
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

static void print_text(const struct gpu_facts *f)
{
	printf("render node    %s%s%s\n", f->info.node, f->info.driver[0] ? ", kernel driver " : "", f->info.driver);
	printf("OpenGL         %s, %s\n", f->info.renderer, f->info.version);
	printf("virglrenderer  %s\n", f->info.library);
	for (unsigned i = 0; i < f->ncapsets; i++) {
		printf("capset         %s, version %u, %u bytes\n", capset_name(f->capset[i].id), f->capset[i].version, f->capset[i].size);
	}
	if (f->info.can_export) {
		printf("pictures       dma-bufs that the GPU copies, for viewers that can import them; read back into memory for others\n");
		printf("zero-copy      %s%s\n", f->info.no_direct[0] ? "no: " : "possible, for the viewer that controls: display.zero_copy", f->info.no_direct);
	} else {
		printf("pictures       read back into memory, no dma-bufs: %s\n", f->info.no_export);
	}
}

static void print_json(const struct gpu_facts *f)
{
	json_t *o = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "works", 1, "render_node", f->info.node, "driver", f->info.driver, "renderer", f->info.renderer,
		"version", f->info.version, "virglrenderer", f->info.library, "can_export", (int)f->info.can_export, "can_zero_copy",
		(int)(f->info.can_export && !f->info.no_direct[0])), *sets = json_array();

	for (unsigned i = 0; i < f->ncapsets; i++) {
		json_array_append_new(sets, json_pack("{s:s, s:i, s:i}", "name", capset_name(f->capset[i].id), "version", (int)f->capset[i].version, "size", (int)f->capset[i].size));
	}
	json_object_set_new(o, "capsets", sets);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static int of_host(const struct options *o)
{
	struct gpu_facts f;

	gpu_info_probe("auto", &f);
	if (!f.works && !o->json) {
		struct gpu_facts soft;

		printf("OpenGL         none for guests: %s\n", f.why);
		gpu_info_probe("surfaceless", &soft);
		printf("instead        %s%s\n", soft.works ? "gpu.render_node = \"surfaceless\": " : "nothing: ", soft.works ? soft.info.renderer : soft.why);
	} else if (!f.works) {
		json_t *object = json_pack("{s:b, s:s}", "works", 0, "why", f.why);

		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	} else if (o->json) {
		print_json(&f);
	} else {
		print_text(&f);
	}
	return f.works ? EXIT_OK : EXIT_HOST;
}

/* How the pictures of one viewer come to it, and why not in a better way. */
static void print_viewer(const json_t *v)
{
	const char *name = "", *way = "", *fourcc = "", *modifier = "", *why = "", *why_copied = "";
	int number = 0, planes = 0, is_direct = 0;

	json_unpack((json_t *)(uintptr_t)v, "{s:i, s:s, s:s, s?s, s?s, s?i, s?b, s?s, s:s}", "viewer", &number, "name", &name, "way", &way, "fourcc", &fourcc, "modifier", &modifier,
		"planes", &planes, "zero_copy", &is_direct, "why_no_zero_copy", &why_copied, "why_no_dmabuf", &why);
	printf("viewer %-7d %s: ", number, name);
	if (strcmp(way, "dma-buf") == 0) {
		printf("dma-buf %s, modifier %s, %d plane%s, %s%s\n", fourcc, modifier, planes, planes == 1 ? "" : "s", is_direct ? "zero-copy" : why_copied[0] ? "copied by the GPU: " : "copied by the GPU",
			why_copied);
	} else if (strcmp(way, "none") == 0) {
		printf("no picture yet\n");
	} else {
		printf("%s%s%s\n", strcmp(way, "guest") == 0 ? "the guest's memory" : "memory", why[0] ? "; no dma-buf: " : "", why);
	}
}

static int of_vm(const struct options *o)
{
	const char *name = o->files[0], *mode = "off", *renderer = "", *version = "", *node = "";
	const char *no_export = "";
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
		json_dumpf(gpu ? gpu : answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (code == EXIT_OK) {
		json_unpack((json_t *)(uintptr_t)gpu, "{s:s, s?s, s?s, s?s, s?s}", "mode", &mode, "renderer", &renderer, "version", &version, "render_node", &node, "why_no_export",
			&no_export);
		printf("mode           %s\n", mode);
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
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}

int gpu_info_run(const struct options *o)
{
	return o->nfiles ? of_vm(o) : of_host(o);
}
