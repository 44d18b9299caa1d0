/* SPDX-License-Identifier: MIT */
#include "tests/support/mesa.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:_dri.so\nleak:libgallium\nleak:libLLVM\n";
}

static int keep_driver(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	if (strstr(info->dlpi_name, "_dri.so") || strstr(info->dlpi_name, "gallium")) {
		dlopen(info->dlpi_name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
	}
	return 0;
}

void mesa_keep_drivers(void)
{
	dl_iterate_phdr(keep_driver, NULL);
}

int mesa_keep_drivers_of(int (*set_up)(void **state), int (*tear_down)(void **state), void **state)
{
	if (set_up(state) < 0) {
		return -1;
	}
	mesa_keep_drivers();
	return tear_down(state);
}

void *mesa_function(const char *name)
{
	void *egl = dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *symbol = egl ? dlsym(egl, "eglGetProcAddress") : NULL;
	void *(*get)(const char *name) = NULL;

	memcpy(&get, &symbol, sizeof(get));
	return get ? get(name) : NULL;
}
