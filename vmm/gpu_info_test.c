/* SPDX-License-Identifier: MIT */
/* What gpu-info says of a host: what draws, what is missing, what would cure it. */
#include "vmm/gpu_info.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct gpu_facts gpu = {
	.works = true,
	.info = {.node = "/dev/dri/renderD129", .driver = "i915", .renderer = "Mesa Intel(R) UHD Graphics 620", .version = "4.6 (Core Profile) Mesa 22.3.6", .library = "libvirglrenderer.so.1.7.7",
		.release = "0.9 or 0.10", .can_export = true},
	.ncapsets = 2,
	.capset = {{GPU_CAPSET_VIRGL, 1, 308}, {GPU_CAPSET_VIRGL2, 2, 1376}},
};

static char *printed(const struct gpu_facts *f, const struct gpu_facts *soft)
{
	size_t len;
	char *text;
	FILE *out = open_memstream(&text, &len);

	gpu_info_print(f, soft, out);
	fclose(out);
	return text;
}

static void assert_prints(const struct gpu_facts *f, const struct gpu_facts *soft, const char *want)
{
	char *text = printed(f, soft);

	assert_string_equal(text, want);
	free(text);
}

#define HEAD                                                                                                                                               \
	"render node    /dev/dri/renderD129, kernel driver i915\n"                                                                                           \
	"OpenGL         Mesa Intel(R) UHD Graphics 620, 4.6 (Core Profile) Mesa 22.3.6\n"                                                                    \
	"virglrenderer  0.9 or 0.10 (libvirglrenderer.so.1.7.7)\n"                                                                                           \
	"capset         virgl, version 1, 308 bytes\n"

static void test_gpu_info_of_a_gpu(void **state)
{
	struct gpu_facts f = gpu;

	(void)state;
	assert_prints(&f, NULL,
		HEAD "capset         virgl2, version 2, 1376 bytes\n"
		     "pictures       dma-bufs that the GPU copies, for viewers that can import them; read back into memory for others\n"
		     "zero-copy      possible, for the viewer that controls: display.zero_copy\n");
	strcpy(f.info.no_direct, "its textures cannot leave");
	f.ncapsets = 1;
	assert_prints(&f, NULL,
		HEAD "pictures       dma-bufs that the GPU copies, for viewers that can import them; read back into memory for others\n"
		     "zero-copy      no: its textures cannot leave\n");
}

static void test_gpu_info_of_the_processor(void **state)
{
	struct gpu_facts f = gpu;
	char *text;

	(void)state;
	strcpy(f.info.renderer, "llvmpipe (LLVM 15.0.6, 256 bits)");
	text = printed(&f, NULL);
	assert_non_null(strstr(text, "\nmissing        a GPU that Mesa has a driver for (libgl1-mesa-dri): the processor draws, slowly\n"));
	free(text);
	strcpy(f.info.node, "surfaceless");
	f.info.driver[0] = '\0';
	f.info.can_export = false;
	strcpy(f.info.no_export, "there is no render node");
	text = printed(&f, NULL);
	assert_non_null(strstr(text, "render node    surfaceless\n"));
	assert_non_null(strstr(text, "\npictures       read back into memory, no dma-bufs: there is no render node\n"));
	assert_non_null(strstr(text, "\nmissing        a GPU: the processor draws, slowly\n"));
	free(text);
}

static void test_gpu_info_of_a_host_that_cannot(void **state)
{
	struct gpu_facts f = {.why = "libvirglrenderer.so.1 is missing: install libvirglrenderer1"}, soft = gpu;

	(void)state;
	assert_prints(&f, &f,
		"OpenGL         none for guests\nmissing        libvirglrenderer.so.1 is missing: install libvirglrenderer1\n"
		"instead        nothing: libvirglrenderer.so.1 is missing: install libvirglrenderer1\n");
	strcpy(f.why, "/dev/dri/renderD128: Permission denied: usermod -aG render USER, and log in again");
	strcpy(soft.info.renderer, "llvmpipe");
	strcpy(soft.info.node, "surfaceless");
	assert_prints(&f, &soft,
		"OpenGL         none for guests\nmissing        /dev/dri/renderD128: Permission denied: usermod -aG render USER, and log in again\n"
		"instead        gpu.render_node = \"surfaceless\", the processor: llvmpipe\n");
	/* Without a surface too it is a GPU that draws, where there is one. */
	strcpy(soft.info.renderer, "virgl");
	assert_prints(&f, &soft,
		"OpenGL         none for guests\nmissing        /dev/dri/renderD128: Permission denied: usermod -aG render USER, and log in again\n"
		"instead        gpu.render_node = \"surfaceless\": virgl\n");
	strcpy(soft.info.node, "/dev/dri/renderD129");
	assert_prints(&f, &soft,
		"OpenGL         none for guests\nmissing        /dev/dri/renderD128: Permission denied: usermod -aG render USER, and log in again\n"
		"instead        gpu.render_node = \"/dev/dri/renderD129\": virgl\n");
	/* It was what was asked for. */
	assert_prints(&f, NULL, "OpenGL         none for guests\nmissing        /dev/dri/renderD128: Permission denied: usermod -aG render USER, and log in again\n");
}

static json_t *json_of(const struct gpu_facts *f)
{
	size_t len;
	char *text;
	FILE *out = open_memstream(&text, &len);
	json_t *o;

	gpu_info_print_json(f, out);
	fclose(out);
	assert_int_equal(text[len - 1], '\n');
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	free(text);
	return o;
}

static const char *string_in(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static void test_gpu_info_for_programs(void **state)
{
	const struct gpu_facts none = {.why = "no \"GPU\""};
	json_t *o = json_of(&gpu);

	(void)state;
	assert_true(json_is_true(json_object_get(o, "works")));
	assert_string_equal(string_in(o, "render_node"), "/dev/dri/renderD129");
	assert_string_equal(string_in(o, "driver"), "i915");
	assert_string_equal(string_in(o, "virglrenderer"), "libvirglrenderer.so.1.7.7");
	assert_string_equal(string_in(o, "virglrenderer_version"), "0.9 or 0.10");
	assert_true(json_is_false(json_object_get(o, "software")));
	assert_true(json_is_true(json_object_get(o, "can_zero_copy")));
	assert_int_equal(json_array_size(json_object_get(o, "capsets")), 2);
	json_decref(o);
	o = json_of(&none);
	assert_true(json_is_false(json_object_get(o, "works")));
	assert_string_equal(string_in(o, "why"), "no \"GPU\"");
	json_decref(o);
}

/* In a process of its own: what there is here, whatever that is, has a name or a reason. */
static void test_gpu_info_probes(void **state)
{
	struct gpu_facts f;

	(void)state;
	gpu_info_probe("/dev/null", &f);
	assert_false(f.works);
	assert_string_equal(f.why, "/dev/null: no GPU");
	gpu_info_probe("surfaceless", &f);
	if (f.works) {
		assert_string_equal(f.info.node, "surfaceless");
		assert_true(strlen(f.info.release) > 0);
		assert_memory_equal(f.info.library, "libvirglrenderer", 16);
	} else {
		assert_true(strlen(f.why) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gpu_info_of_a_gpu),
		cmocka_unit_test(test_gpu_info_of_the_processor),
		cmocka_unit_test(test_gpu_info_of_a_host_that_cannot),
		cmocka_unit_test(test_gpu_info_for_programs),
		cmocka_unit_test(test_gpu_info_probes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
