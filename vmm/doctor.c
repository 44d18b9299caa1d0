/* SPDX-License-Identifier: MIT */
#include "vmm/doctor.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "vmm/kvm_probe.h"

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL };

struct finding {
	enum level level;
	char text[512];
};

static void check_kvm(struct finding *f)
{
	char why[400];

	if (kvm_probe(why, sizeof(why)) < 0) {
		f->level = LEVEL_FAIL;
		snprintf(f->text, sizeof(f->text), "%s", why);
	} else {
		snprintf(f->text, sizeof(f->text), "/dev/kvm runs guest code");
	}
}

static bool read_first_line(const char *path, char *buf, size_t len)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(buf, (int)len, file);

	if (file) {
		fclose(file);
	}
	if (ok) {
		buf[strcspn(buf, "\n")] = '\0';
	}
	return ok;
}

static void check_thp(struct finding *f)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	char line[128] = "";

	if (!read_first_line(path, line, sizeof(line)) || strstr(line, "[never]")) {
		f->level = LEVEL_WARN;
		snprintf(f->text, sizeof(f->text), "no transparent huge pages, guests take more page faults: echo madvise > %s", path);
	} else {
		snprintf(f->text, sizeof(f->text), "transparent huge pages: %s", line);
	}
}

static void check_udmabuf(struct finding *f)
{
	static const char path[] = "/dev/udmabuf";

	if (access(path, R_OK | W_OK) == 0) {
		snprintf(f->text, sizeof(f->text), "%s: pictures in guest memory (gpu.blob) are shown without a copy", path);
		return;
	}
	f->level = errno == EACCES ? LEVEL_WARN : LEVEL_OK;
	snprintf(f->text, sizeof(f->text), errno == EACCES ? "no access to %s, pictures in guest memory (gpu.blob) are copied: sudo usermod -aG kvm $USER"
							   : "no %s, pictures in guest memory (gpu.blob) are copied: the kernel has no CONFIG_UDMABUF",
		path);
}

static void check_memory(struct finding *f)
{
	struct sysinfo si;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned long mib = 0;

	if (sysinfo(&si) == 0) {
		mib = (unsigned long)((unsigned long long)si.totalram * si.mem_unit >> 20);
	}
	snprintf(f->text, sizeof(f->text), "%ld CPUs, %lu MiB of memory", cpus, mib);
	if (mib < 1024) {
		f->level = LEVEL_WARN;
	}
}

static const struct check {
	const char *name;
	unsigned need;
	void (*fn)(struct finding *f);
} checks[] = {
	{"kvm", DOCTOR_NEED_KVM, check_kvm},
	{"hugepages", 0, check_thp},
	{"udmabuf", 0, check_udmabuf},
	{"host", 0, check_memory},
};

static void print(const char *name, const struct finding *f, bool json, FILE *out)
{
	static const char *const word[] = {"ok", "warn", "FAIL"};
	json_t *object;

	if (!json) {
		fprintf(out, "%-4s %s: %s\n", word[f->level], name, f->text);
		return;
	}
	object = json_pack("{s:s, s:s, s:s}", "check", name, "result", word[f->level], "text", f->text);
	json_dumpf(object, out, JSON_COMPACT);
	fputc('\n', out);
	json_decref(object);
}

int doctor_run(unsigned need, bool json, FILE *out)
{
	int fails = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct finding f = {.level = LEVEL_OK};

		if (need != DOCTOR_NEED_ALL && !(checks[i].need & need)) {
			continue;
		}
		checks[i].fn(&f);
		print(checks[i].name, &f, json, out);
		fails += f.level == LEVEL_FAIL;
	}
	return fails;
}

unsigned doctor_need_from_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (checks[i].need && strlen(checks[i].name) == len && memcmp(checks[i].name, name, len) == 0) {
			return checks[i].need;
		}
	}
	return 0;
}
