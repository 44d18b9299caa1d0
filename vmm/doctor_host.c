/* SPDX-License-Identifier: MIT */
#include "vmm/doctor_host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <liburing.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "devices/evdev_host.h"
#include "devices/gpu_node.h"
#include "vmm/gpu_info.h"
#include "vmm/keymap.h"
#include "vmm/kvm_probe.h"
#include "vmm/png_file.h"

#define MEMORY_MIN_MIB 1024

static void __attribute__((format(printf, 3, 4))) say(struct doctor_finding *f, enum doctor_level level, const char *fmt, ...)
{
	va_list ap;

	f->level = level;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

/* The first line of a file under @root. Return: whether there is one. */
static bool first_line(const char *root, const char *path, char *buf, size_t len)
{
	char full[PATH_MAX];
	FILE *file;
	bool ok;

	snprintf(full, sizeof(full), "%s%s", root, path);
	file = fopen(full, "re");
	ok = file && fgets(buf, (int)len, file);
	if (file) {
		fclose(file);
	}
	if (ok) {
		buf[strcspn(buf, "\n")] = '\0';
	}
	return ok;
}

/* Opens and closes it. Return: 0 or -errno. */
static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		return -errno;
	}
	close(fd);
	return 0;
}

void doctor_memory(const char *root, struct doctor_finding *f)
{
	struct sysinfo si;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned long mib = 0;

	(void)root;
	if (sysinfo(&si) == 0) {
		mib = (unsigned long)((unsigned long long)si.totalram * si.mem_unit >> 20);
	}
	say(f, mib < MEMORY_MIN_MIB ? DOCTOR_WARN : DOCTOR_OK, "%ld CPUs, %lu MiB of memory", cpus, mib);
}

void doctor_hugepages(const char *root, struct doctor_finding *f)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	char line[128] = "", large[32] = "";

	if (!first_line(root, path, line, sizeof(line)) || strstr(line, "[never]")) {
		say(f, DOCTOR_WARN, "no transparent huge pages, guests take more page faults: echo madvise > %s", path);
		return;
	}
	first_line(root, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", large, sizeof(large));
	say(f, DOCTOR_OK, "transparent huge pages: %s; reserved and free pages of 2 MiB: %s", line, large[0] ? large : "0");
}

void doctor_kvm_options(const char *root, struct doctor_finding *f)
{
	char path[PATH_MAX], nested[8] = "N";
	struct kvm_probe_options o;

	snprintf(path, sizeof(path), "%s/dev/kvm", root);
	if (kvm_probe_options(path, &o) < 0) {
		say(f, DOCTOR_WARN, "not known, because /dev/kvm does not tell");
	} else if (!o.tsc_deadline) {
		say(f, DOCTOR_WARN, "up to %u CPUs; no TSC deadline timer, so a guest's timers cost more: a newer kernel, or what runs this host must offer it", o.cpus);
	} else if (!o.pit) {
		say(f, DOCTOR_WARN, "up to %u CPUs; no PIT, so Multiboot kernels do not boot: a kernel with CONFIG_KVM_I8254", o.cpus);
	} else {
		if (!first_line(root, "/sys/module/kvm_intel/parameters/nested", nested, sizeof(nested))) {
			first_line(root, "/sys/module/kvm_amd/parameters/nested", nested, sizeof(nested));
		}
		say(f, DOCTOR_OK, "up to %u CPUs, TSC deadline timer, PIT; KVM inside guests: %s", o.cpus, nested[0] == 'Y' || nested[0] == '1' ? "yes" : "no");
	}
}

void doctor_memfd(const char *root, struct doctor_finding *f)
{
	int fd = memfd_create("tinyvmm-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = errno;

	(void)root;
	if (fd < 0 || ftruncate(fd, 4096) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
		err = fd < 0 ? err : errno;
		say(f, DOCTOR_FAIL, "pictures and restarts need memfd_create with seals: %s", strerror(err));
	} else {
		say(f, DOCTOR_OK, "memfd_create and seals");
	}
	if (fd >= 0) {
		close(fd);
	}
}

void doctor_run_folder(const char *root, struct doctor_finding *f)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool is_set = runtime && *runtime == '/';
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", root, is_set ? runtime : "/tmp");
	if (stat(path, &st) < 0) {
		say(f, DOCTOR_FAIL, "%s, where the folders of running VMs are made: %s: set XDG_RUNTIME_DIR", path, strerror(errno));
	} else if (!S_ISDIR(st.st_mode) || faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0) {
		say(f, DOCTOR_FAIL, "%s, where the folders of running VMs are made, is not for you to write: set XDG_RUNTIME_DIR", path);
	} else if (!is_set) {
		say(f, DOCTOR_OK, "running VMs in /tmp/tinyvmm-%u, because XDG_RUNTIME_DIR is not set", geteuid());
	} else {
		say(f, DOCTOR_OK, "running VMs in %s/tinyvmm", path);
	}
}

void doctor_io_uring(const char *root, struct doctor_finding *f)
{
	struct io_uring ring;
	char line[16] = "";
	int r = io_uring_queue_init(4, &ring, 0);

	if (r == 0) {
		io_uring_queue_exit(&ring);
		say(f, DOCTOR_OK, "io_uring, for disks");
		return;
	}
	first_line(root, "/proc/sys/kernel/io_uring_disabled", line, sizeof(line));
	say(f, DOCTOR_WARN, "no io_uring (%s%s%s), threads do the disks' work: %s", strerror(-r), line[0] ? ", kernel.io_uring_disabled is " : "", line,
		line[0] && line[0] != '0' ? "sysctl kernel.io_uring_disabled=0" : "a container may forbid it, see its seccomp profile");
}

/* Every file of the pattern. Return: how many; *open_n: how many of them open; @err: why the last other one did not. */
static size_t try_all(const char *root, const char *pattern, size_t *open_n, int *err)
{
	char full[PATH_MAX];
	glob_t found;
	size_t n = 0;

	*open_n = 0;
	snprintf(full, sizeof(full), "%s%s", root, pattern);
	if (glob(full, 0, NULL, &found) != 0) {
		return 0;
	}
	for (n = 0; n < found.gl_pathc; n++) {
		int r = try_open(found.gl_pathv[n], O_RDWR);

		if (r < 0) {
			*err = -r;
		} else {
			(*open_n)++;
		}
	}
	globfree(&found);
	return n;
}

void doctor_evdev(const char *root, struct doctor_finding *f)
{
	size_t open_n;
	int err = 0;
	size_t n = try_all(root, "/dev/input/event*", &open_n, &err);

	if (n == 0) {
		say(f, DOCTOR_OK, "no input devices on this host to pass to a guest");
	} else if (open_n < n) {
		say(f, DOCTOR_WARN, "%zu of %zu input devices may be passed to a guest, the others: %s: docs/passing-a-device.md", open_n, n, strerror(err));
	} else {
		say(f, DOCTOR_OK, "all %zu input devices may be passed to a guest", n);
	}
}

void doctor_uinput(const char *root, struct doctor_finding *f)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/dev/uinput", root);
	r = try_open(path, O_WRONLY);
	if (r == 0) {
		say(f, DOCTOR_OK, "/dev/uinput, for the keys of a passed keyboard that the host keeps");
	} else {
		say(f, DOCTOR_WARN, "/dev/uinput: %s, so keys of a passed keyboard that the host is to keep do not reach it: %s", strerror(-r),
			r == -ENOENT ? "modprobe uinput" : "docs/passing-a-device.md");
	}
}

void doctor_nodes(const struct gpu_node_host *host, struct doctor_finding *f)
{
	struct gpu_nodes nodes;
	char why[300];
	int r = gpu_node_find(host, "auto", &nodes, why, sizeof(why));
	size_t len;

	if (r == -ENOENT) {
		say(f, DOCTOR_OK, "no render node of a GPU in %s: OpenGL in guests (gpu.mode = \"virgl\") would be drawn by the processor (gpu.render_node = \"surfaceless\")", host->folder);
		return;
	}
	if (r < 0) {
		say(f, DOCTOR_WARN, "%s", why);
		return;
	}
	/* "auto" takes the first of them that draws, which the line after this one tries. */
	say(f, why[0] ? DOCTOR_WARN : DOCTOR_OK, "render node %s, driver %s", nodes.at[0].path, nodes.at[0].driver);
	for (unsigned i = 1; i < nodes.n; i++) {
		len = strlen(f->text);
		snprintf(f->text + len, sizeof(f->text) - len, "%s %s, driver %s", i == 1 ? "; if it does not draw," : ",", nodes.at[i].path, nodes.at[i].driver);
	}
	if (why[0]) {
		len = strlen(f->text);
		snprintf(f->text + len, sizeof(f->text) - len, "; not %s", why);
	}
}

void doctor_render(const char *root, struct doctor_finding *f)
{
	(void)root;
	doctor_nodes(&gpu_node_host, f);
}

void doctor_opengl(const char *root, struct doctor_finding *f)
{
	struct gpu_facts facts;

	(void)root;
	gpu_info_probe("auto", &facts);
	if (!facts.works) {
		gpu_info_probe("surfaceless", &facts);
	}
	if (facts.works) {
		say(f, DOCTOR_OK, "OpenGL for guests (gpu.mode = \"virgl\"): %s on %s%s%s, virglrenderer %s", facts.info.renderer, facts.info.node, facts.info.driver[0] ? ", driver " : "",
			facts.info.driver, facts.info.release);
	} else {
		say(f, DOCTOR_WARN, "no OpenGL for guests (gpu.mode = \"virgl\"): %s", facts.why);
	}
}

void doctor_udmabuf(const char *root, struct doctor_finding *f)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/dev/udmabuf", root);
	r = try_open(path, O_RDWR);
	if (r == 0) {
		say(f, DOCTOR_OK, "/dev/udmabuf; pictures in guest memory (gpu.blob) are shown without a copy");
	} else {
		say(f, r == -ENOENT ? DOCTOR_OK : DOCTOR_WARN, "/dev/udmabuf: %s: pictures in guest memory (gpu.blob) are copied: %s", strerror(-r),
			r == -ENOENT ? "modprobe udmabuf" : "usermod -aG kvm $USER, and log in again");
	}
}

void doctor_library(const char *name, const char *wanted, const char *package, struct doctor_finding *f)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (library) {
		dlclose(library);
		say(f, DOCTOR_OK, "%s, for %s", name, wanted);
	} else {
		say(f, DOCTOR_WARN, "%s cannot be loaded, so there are no %s: apt-get install %s", name, wanted, package);
	}
}

void doctor_libpng(const char *root, struct doctor_finding *f)
{
	(void)root;
	doctor_library(PNG_FILE_LIBRARY, "pictures of the screen", PNG_FILE_PACKAGE, f);
}

void doctor_libevdev(const char *root, struct doctor_finding *f)
{
	(void)root;
	doctor_library(EVDEV_LIBRARY, "input devices of the host and keys by name", EVDEV_PACKAGE, f);
}

void doctor_xkbcommon(const char *root, struct doctor_finding *f)
{
	(void)root;
	doctor_library(KEYMAP_LIBRARY, "keyboard layouts", KEYMAP_PACKAGE, f);
}
