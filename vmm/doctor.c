/* SPDX-License-Identifier: MIT */
#include "vmm/doctor.h"

#include <jansson.h>
#include <string.h>

#include "vmm/doctor_host.h"
#include "vmm/kvm_probe.h"

static void check_kvm(const char *root, struct doctor_finding *f)
{
	char why[400];

	(void)root;
	if (kvm_probe(why, sizeof(why)) < 0) {
		f->level = DOCTOR_FAIL;
		snprintf(f->text, sizeof(f->text), "%s", why);
	} else {
		snprintf(f->text, sizeof(f->text), "/dev/kvm runs guest code");
	}
}

/* In the order of how many VMs need it. */
static const struct check {
	const char *name;
	unsigned need;
	void (*fn)(const char *root, struct doctor_finding *f);
} checks[] = {
	{"kvm", DOCTOR_NEED_KVM, check_kvm},
	{"kvm-options", 0, doctor_kvm_options},
	{"memfd", 0, doctor_memfd},
	{"run-folder", 0, doctor_run_folder},
	{"hugepages", 0, doctor_hugepages},
	{"host", 0, doctor_memory},
	{"io_uring", 0, doctor_io_uring},
	{"libpng", 0, doctor_libpng},
	{"libevdev", 0, doctor_libevdev},
	{"libxkbcommon", 0, doctor_xkbcommon},
	{"evdev", 0, doctor_evdev},
	{"uinput", 0, doctor_uinput},
	{"render-node", 0, doctor_render},
	{"opengl", 0, doctor_opengl},
	{"udmabuf", 0, doctor_udmabuf},
};

static void print(const char *name, const struct doctor_finding *f, bool json, FILE *out)
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
		struct doctor_finding f = {.level = DOCTOR_OK};

		if (need != DOCTOR_NEED_ALL && !(checks[i].need & need)) {
			continue;
		}
		checks[i].fn("", &f);
		print(checks[i].name, &f, json, out);
		fails += f.level == DOCTOR_FAIL;
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
