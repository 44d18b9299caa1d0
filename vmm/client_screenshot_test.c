/* SPDX-License-Identifier: MIT */
/* `tinyvmm screenshot` and `tinyvmm wait` for a screen, against a double of a VM: what is asked of it, which of its answers are believed, and the files and exit codes that come of them. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/png_file.h"
#include "vmm/result.h"

#define W 20
#define H 10
#define STRIDE (W * 4 + 16) /* with a gap */
#define ASKED_MAX 400
#define MS 1000000ull

/*
 * The VM: a thread with a screen, which shows one picture after another, one frame for each time somebody waits for one.
 */
static struct vm {
	struct rundir rd;
	int listener;
	pthread_t thread;
	/* What the screen shows: pictures by number, 0 is dark, the last one stays; each is `look` in blue, see paint(). */
	const unsigned *shows;
	unsigned nshows, at;
	uint64_t frame;
	bool is_still, ends; /* it answers no wait for stability with a timeout; it ends before it answers one */
	unsigned ends_at; /* in place of the picture of this number it says that it has ended; 0: never */
	unsigned still_answers; /* so many waits for stability it answers with a picture, with a new frame behind each, before it is reset or ends */
	unsigned resets; /* so many times it is reset before it answers one, and shows the next picture then */
	/* What is wrong with its pictures. */
	int width, height, stride;
	const char *format;
	uint64_t file_len;
	bool no_fd;
	/* What it was asked. */
	json_t *asked[ASKED_MAX];
	unsigned nasked;
} vm;

static char dir[] = "/tmp/client_shot_XXXXXX", image[64], said[4000];

static void paint(uint8_t *p, unsigned look, size_t stride)
{
	for (unsigned y = 0; y < H; y++) {
		for (unsigned x = 0; x < W; x++) {
			memcpy(p + y * stride + x * 4, (const uint8_t[]){(uint8_t)look, (uint8_t)(x * 10), (uint8_t)(y * 20), 0}, 4);
		}
	}
}

static unsigned shown(void)
{
	return vm.nshows ? vm.shows[vm.at] : 1;
}

static int make_picture(void)
{
	int fd = memfd_create("picture", MFD_CLOEXEC);
	uint8_t pixels[STRIDE * H] = {0};

	paint(pixels, shown(), STRIDE);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, pixels, sizeof(pixels)), sizeof(pixels));
	assert_int_equal(ftruncate(fd, (off_t)vm.file_len), 0);
	return fd;
}

static json_t *refusal(const char *code, const char *text)
{
	return json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", code, "text", text);
}

static json_t *picture_answer(int *fd)
{
	if (!shown()) {
		return refusal("no-scanout", "the guest shows nothing on scanout 0");
	}
	*fd = vm.no_fd ? -1 : make_picture();
	return json_pack("{s:b, s:i, s:i, s:i, s:s, s:I}", "ok", 1, "width", vm.width, "height", vm.height, "stride", vm.stride, "format", vm.format, "frame", (json_int_t)vm.frame);
}

static void sleep_ms(json_int_t ms)
{
	usleep((useconds_t)(ms > 0 ? ms : 0) * 1000);
}

/* Return: NULL: it ends. */
static json_t *answer_to(const json_t *request, int *fd)
{
	const char *verb = json_string_value(json_object_get(request, "do")), *what = json_string_value(json_object_get(request, "for"));
	json_int_t timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));

	if (json_integer_value(json_object_get(request, "scanout")) > 2) {
		return refusal("field", "scanout: expected 0..2");
	}
	if (strcmp(verb, "screenshot") == 0) {
		return picture_answer(fd);
	}
	if (strcmp(what, "stable") == 0) {
		if (vm.still_answers) {
			json_t *fields = picture_answer(fd);

			vm.still_answers--;
			vm.frame++;
			return fields;
		}
		if (vm.resets) {
			vm.resets--;
			vm.at += vm.at + 1 < vm.nshows;
			vm.frame = 1;
			return NULL;
		}
		if (vm.ends) {
			/* The lock goes with the process. */
			rundir_release(&vm.rd);
			vm.rd = (struct rundir){.dir_fd = -1};
			return NULL;
		}
		if (vm.is_still && shown()) {
			return picture_answer(fd);
		}
	} else if ((uint64_t)json_integer_value(json_object_get(request, "after")) < vm.frame || vm.at + 1 < vm.nshows) {
		if ((uint64_t)json_integer_value(json_object_get(request, "after")) >= vm.frame) {
			vm.at++;
			vm.frame++;
		}
		if (vm.ends_at && shown() == vm.ends_at) {
			return refusal("ended", "the VM has ended: poweroff");
		}
		return json_pack("{s:b, s:I}", "ok", 1, "frame", (json_int_t)vm.frame);
	}
	sleep_ms(timeout_ms);
	return refusal("timeout", "it did not happen in time");
}

static void answer(int conn, json_t *fields, int fd)
{
	char *text = json_dumps(fields, JSON_COMPACT), line[2000];
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} cmsg = {.hdr = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {line, (size_t)snprintf(line, sizeof(line), "%s\n", text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&cmsg.hdr), &fd, sizeof(fd));
		msg.msg_control = &cmsg;
		msg.msg_controllen = sizeof(cmsg);
	}
	sendmsg(conn, &msg, MSG_NOSIGNAL);
	free(text);
	json_decref(fields);
	if (fd >= 0) {
		close(fd);
	}
}

/* One connection. */
static void serve(int conn)
{
	FILE *f = fdopen(conn, "r");
	char line[2000];

	while (f && fgets(line, sizeof(line), f)) {
		json_t *request = json_loads(line, 0, NULL), *fields;
		int fd = -1;

		assert_non_null(request);
		assert_true(vm.nasked < ASKED_MAX);
		vm.asked[vm.nasked++] = request;
		fields = answer_to(request, &fd);
		if (!fields) {
			break;
		}
		answer(conn, fields, fd);
	}
	if (f) {
		fclose(f);
	}
}

static void *run(void *arg)
{
	int conn;

	(void)arg;
	while ((conn = accept4(vm.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		serve(conn);
	}
	return NULL;
}

static void hear(enum log_level level, const char *line)
{
	(void)level;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static int set_up(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	uint8_t pixels[W * 4 * H], rgb[W * H * 3];
	pid_t holder;
	char err[200];
	FILE *f;

	(void)state;
	strcpy(dir, "/tmp/client_shot_XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	setenv("XDG_STATE_HOME", dir, 1);
	said[0] = '\0';
	log_set_hook(hear);
	vm = (struct vm){.width = W, .height = H, .stride = STRIDE, .format = "XR24", .file_len = STRIDE * H, .frame = 7};
	assert_int_equal(rundir_take(&vm.rd, "web", 0, NULL, &holder), 0);
	assert_true(rundir_file(&vm.rd, "control.sock", addr.sun_path, sizeof(addr.sun_path)));
	vm.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(vm.listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(vm.listener, 1), 0);
	assert_int_equal(pthread_create(&vm.thread, NULL, run, NULL), 0);
	/* Looks like picture 3. */
	snprintf(image, sizeof(image), "%s/image.png", dir);
	paint(pixels, 3, W * 4);
	for (unsigned i = 0; i < W * H; i++) {
		memcpy(rgb + i * 3, (const uint8_t[]){pixels[i * 4 + 2], pixels[i * 4 + 1], pixels[i * 4]}, 3);
	}
	f = fopen(image, "wb");
	assert_non_null(f);
	assert_int_equal(png_file_write(f, rgb, W, H, err, sizeof(err)), 0);
	fclose(f);
	return 0;
}

static int tear_down(void **state)
{
	char command[80];

	(void)state;
	/* Who has asked nothing has not been heard. */
	shutdown(vm.listener, SHUT_RDWR);
	pthread_join(vm.thread, NULL);
	close(vm.listener);
	for (unsigned i = 0; i < vm.nasked; i++) {
		json_decref(vm.asked[i]);
	}
	rundir_release(&vm.rd);
	log_set_hook(NULL);
	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *field(unsigned i, const char *name)
{
	assert_true(i < vm.nasked);
	return json_string_value(json_object_get(vm.asked[i], name));
}

static json_int_t number(unsigned i, const char *name)
{
	const json_t *value;

	assert_true(i < vm.nasked);
	value = json_object_get(vm.asked[i], name);
	return json_is_boolean(value) ? json_is_true(value) : json_is_integer(value) ? json_integer_value(value) : -1;
}

/* How often it was asked to @verb, for @what. */
static unsigned asked(const char *verb, const char *what)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm.nasked; i++) {
		n += strcmp(field(i, "do"), verb) == 0 && (!what || strcmp(field(i, "for"), what) == 0);
	}
	return n;
}

static void expect_file(const char *path, unsigned look)
{
	uint8_t want[W * 4 * H], *read;
	uint32_t width, height;
	char err[200];

	paint(want, look, W * 4);
	assert_int_equal(png_file_read(path, &read, &width, &height, err, sizeof(err)), 0);
	assert_int_equal(width, W);
	assert_int_equal(height, H);
	for (unsigned i = 0; i < W * H; i++) {
		assert_memory_equal(read + i * 4, want + i * 4, 3);
	}
	free(read);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static int run_screenshot(const char *name, const char *path, bool no_cursor, unsigned scanout)
{
	const char *files[] = {name, path};
	const struct options o = {.files = files, .nfiles = path ? 2 : 1, .no_cursor = no_cursor, .scanout = scanout};

	return client_screenshot(&o);
}

static int run_wait_into(const struct config_screen *screen, uint64_t timeout_ms, const char *artifacts)
{
	const char *files[] = {"web"};
	const struct options o = {.files = files, .nfiles = 1, .wait_screen = true, .screen = *screen, .timeout_ns = timeout_ms * MS, .artifacts = artifacts};

	return client_wait(&o);
}

static int run_wait(const struct config_screen *screen, uint64_t timeout_ms)
{
	return run_wait_into(screen, timeout_ms, NULL);
}

/*
 * Tests.
 */

static void test_client_screenshot_is_a_file(void **state)
{
	(void)state;
	assert_int_equal(run_screenshot("web", NULL, false, 0), EXIT_OK);
	expect_file("web.png", 1);
	assert_int_equal(vm.nasked, 1);
	assert_string_equal(field(0, "do"), "screenshot");
	assert_int_equal(number(0, "cursor"), true);
	assert_int_equal(number(0, "scanout"), 0);
	assert_string_equal(said, "");
}

static void test_client_screenshot_of_another_output_without_cursor(void **state)
{
	(void)state;
	assert_int_equal(run_screenshot("web", "other.png", true, 2), EXIT_OK);
	expect_file("other.png", 1);
	assert_false(exists("web.png"));
	assert_int_equal(number(0, "cursor"), false);
	assert_int_equal(number(0, "scanout"), 2);
}

static void test_client_screenshot_of_nothing(void **state)
{
	static const unsigned dark[] = {0};

	(void)state;
	assert_int_equal(run_screenshot("none", NULL, false, 0), EXIT_NO_VM);
	vm.shows = dark;
	vm.nshows = 1;
	assert_int_equal(run_screenshot("web", NULL, false, 0), EXIT_FAILED);
	assert_non_null(strstr(said, "web: the guest shows nothing on scanout 0"));
	assert_false(exists("web.png"));
}

static void test_client_screenshot_into_no_file(void **state)
{
	(void)state;
	assert_int_equal(run_screenshot("web", "missing/web.png", false, 0), EXIT_FAILED);
	assert_string_equal(said, "missing/web.png: No such file or directory\n");
}

/* A VM is somebody else's program: what it says of its picture is compared with the memory it gave. */
static void check_liar(void)
{
	assert_int_equal(run_screenshot("web", NULL, false, 0), EXIT_FAILED);
	assert_string_equal(said, "web: the answer has no picture that can be read\n");
	assert_false(exists("web.png"));
}

static void test_client_picture_without_memory(void **state)
{
	(void)state;
	vm.no_fd = true;
	check_liar();
}

static void test_client_picture_larger_than_its_memory(void **state)
{
	(void)state;
	vm.file_len = STRIDE * H - 1;
	check_liar();
}

static void test_client_picture_of_rows_that_overlap(void **state)
{
	(void)state;
	vm.stride = W * 4 - 1;
	check_liar();
}

static void test_client_picture_of_rows_from_behind(void **state)
{
	(void)state;
	vm.stride = -STRIDE;
	check_liar();
}

static void test_client_picture_without_width(void **state)
{
	(void)state;
	vm.width = 0;
	check_liar();
}

static void test_client_picture_of_negative_height(void **state)
{
	(void)state;
	vm.height = -1;
	check_liar();
}

static void test_client_picture_in_another_format(void **state)
{
	(void)state;
	vm.format = "AB24";
	check_liar();
}

static void test_client_wait_for_the_first_frame(void **state)
{
	static const unsigned shows[] = {0, 0, 2};

	(void)state;
	vm.shows = shows;
	vm.nshows = 3;
	assert_int_equal(run_wait(&(struct config_screen){.scanout = 1}, 0), EXIT_OK);
	assert_int_equal(vm.at, 2);
	assert_string_equal(said, "");
	for (unsigned i = 0; i < vm.nasked; i++) {
		assert_int_equal(number(i, "scanout"), 1);
		/* For ever. */
		assert_int_equal(number(i, "timeout_ms"), -1);
	}
}

static void test_client_wait_for_a_screen_that_stays_dark(void **state)
{
	static const unsigned dark[] = {0};

	(void)state;
	vm.shows = dark;
	vm.nshows = 1;
	assert_int_equal(run_wait(&(struct config_screen){.scanout = 0}, 400), EXIT_TIMEOUT);
	assert_string_equal(said, "web: the guest has shown nothing\n");
	assert_false(exists("web-last.png"));
	/* It sleeps in the meantime. */
	assert_string_equal(field(1, "for"), "frame");
	assert_in_range(number(1, "timeout_ms"), 100, 400);
	assert_true(vm.nasked < 10);
}

static void test_client_wait_for_a_picture_looks_at_each_frame_once(void **state)
{
	static const unsigned shows[] = {1, 0, 2, 4, 3};
	const struct config_screen want = {.image = image};
	json_int_t frame = 7;

	(void)state;
	vm.shows = shows;
	vm.nshows = 5;
	assert_int_equal(run_wait(&want, 10000), EXIT_OK);
	assert_int_equal(vm.at, 4);
	assert_string_equal(said, "");
	assert_false(exists("web-last.png"));
	for (unsigned i = 0; i < vm.nasked; i++) {
		if (i == 0 || strcmp(field(i, "do"), "screenshot") == 0) {
			/* The pointer is not looked at. */
			assert_int_equal(number(i, "cursor"), false);
			continue;
		}
		assert_string_equal(field(i, "for"), "frame");
		assert_true(number(i, "timeout_ms") > 0 && number(i, "timeout_ms") <= 10000);
		assert_int_equal(number(i, "after"), frame);
		frame++;
	}
	assert_int_equal(asked("screenshot", NULL), 5);
	assert_int_equal(asked("wait", "frame"), 4);
}

static void test_client_wait_says_what_differs(void **state)
{
	static const unsigned shows[] = {0, 4, 2};
	const struct config_screen want = {.image = image};
	uint32_t width, height;
	uint8_t *read;
	char err[200];

	(void)state;
	vm.shows = shows;
	vm.nshows = 3;
	assert_int_equal(run_wait(&want, 600), EXIT_EXPECT);
	assert_string_equal(said, "web: 100.00 % of the pixels differ, 0.00 % may\nit shows ./web-last.png; what differs: ./web-diff.png\n");
	expect_file("web-last.png", 2);
	assert_int_equal(png_file_read("web-diff.png", &read, &width, &height, err, sizeof(err)), 0);
	assert_memory_equal(read, ((const uint8_t[]){0, 0, 255}), 3);
	free(read);
}

static void test_client_wait_for_a_picture_that_cannot_be_read(void **state)
{
	char missing[] = "missing.png";
	const struct config_screen want = {.image = missing};

	(void)state;
	assert_int_equal(run_wait(&want, 60), EXIT_USAGE);
	assert_string_equal(said, "missing.png: No such file or directory\n");
	assert_int_equal(vm.nasked, 0);
}

static void test_client_wait_until_still(void **state)
{
	const struct config_screen want = {.stable_ns = 300 * MS - 999999, .region = {1, 2, 3, 4}, .scanout = 1};
	const json_t *region;

	(void)state;
	vm.is_still = true;
	assert_int_equal(run_wait(&want, 0), EXIT_OK);
	assert_int_equal(asked("wait", "stable"), 1);
	assert_string_equal(field(vm.nasked - 1, "for"), "stable");
	/* Never shorter than what was asked for. */
	assert_int_equal(number(vm.nasked - 1, "stable_ms"), 300);
	assert_int_equal(number(vm.nasked - 1, "scanout"), 1);
	assert_int_equal(number(vm.nasked - 1, "picture"), true);
	assert_int_equal(number(vm.nasked - 1, "timeout_ms"), -1);
	region = json_object_get(vm.asked[vm.nasked - 1], "region");
	assert_int_equal(json_array_size(region), 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(json_integer_value(json_array_get(region, i)), i + 1);
	}
	assert_string_equal(said, "");
}

/* Its last picture, and what has changed between two of those that follow. */
static void test_client_wait_shows_what_moves(void **state)
{
	static const unsigned shows[] = {5, 5, 6};
	const struct config_screen want = {.stable_ns = 500 * MS};

	(void)state;
	vm.shows = shows;
	vm.nshows = 3;
	assert_int_equal(run_wait(&want, 40), EXIT_EXPECT);
	assert_string_equal(said, "web: it was never still for 500 ms\nit shows ./web-last.png; what moves: ./web-diff.png\n");
	expect_file("web-last.png", 6);
	assert_true(exists("web-diff.png"));
	/* Whoever has seen it move looks no longer. */
	assert_int_equal(vm.at, 2);
}

/* For how long it looks again when nothing moves then. */
static void expect_patience(uint64_t stable_ms, json_int_t patience_ms)
{
	const struct config_screen want = {.stable_ns = stable_ms * MS};
	unsigned last;

	assert_int_equal(run_wait(&want, 1), EXIT_EXPECT);
	assert_non_null(strstr(said, "it shows ./web-last.png\n"));
	assert_false(exists("web-diff.png"));
	last = vm.nasked - 1;
	assert_string_equal(field(last, "do"), "wait");
	assert_string_equal(field(last, "for"), "frame");
	assert_in_range(number(last, "timeout_ms"), patience_ms / 4, patience_ms);
}

static void test_client_wait_looks_a_moment_for_what_moves(void **state)
{
	(void)state;
	expect_patience(1, 200);
}

static void test_client_wait_does_not_look_for_ever_for_what_moves(void **state)
{
	(void)state;
	expect_patience(3600000, 2000);
}

static void test_client_wait_for_a_region_that_is_not_there(void **state)
{
	static const unsigned shows[] = {5, 6};
	const struct config_screen want = {.stable_ns = 500 * MS, .region = {1, 0, W, H}};

	(void)state;
	vm.shows = shows;
	vm.nshows = 2;
	assert_int_equal(run_wait(&want, 40), EXIT_EXPECT);
	assert_string_equal(said, "web: the region is not inside the screen, which has 20x10 pixels: waiting for one that it is in\n"
		"web: the region 1,0,20,10 is not inside the screen, which has 20x10 pixels\nit shows ./web-last.png\n");
	assert_false(exists("web-diff.png"));
	/* At first, and at the end: nobody looks for what moves. */
	assert_int_equal(asked("screenshot", NULL), 2);
	assert_int_equal(asked("wait", "frame"), 0);
}

static void test_client_wait_for_an_output_that_is_not_there(void **state)
{
	const struct config_screen want = {.stable_ns = 500 * MS, .scanout = 3}, with_region = {.stable_ns = 500 * MS, .scanout = 3, .region = {0, 0, 1, 1}};

	(void)state;
	assert_int_equal(run_wait(&want, 10000), EXIT_FAILED);
	assert_string_equal(said, "web: scanout: expected 0..2\n");
	said[0] = '\0';
	assert_int_equal(run_wait(&with_region, 10000), EXIT_FAILED);
	assert_string_equal(said, "web: scanout: expected 0..2\n");
}

static void test_client_wait_for_a_vm_that_ends(void **state)
{
	const struct config_screen want = {.stable_ns = 500 * MS};

	(void)state;
	vm.ends = true;
	assert_int_equal(run_wait(&want, 10000), EXIT_FAILED);
	assert_string_equal(said, "web: it ended before it answered\n");
}

/* It says so, or it is gone: what it showed until then is kept, in a folder that is made for it. */
static void test_client_wait_keeps_the_last_picture_of_a_vm_that_ends(void **state)
{
	static const unsigned shows[] = {1, 4, 5};
	const struct config_screen want = {.image = image};

	(void)state;
	vm.shows = shows;
	vm.nshows = 3;
	vm.ends_at = 5;
	assert_int_equal(run_wait_into(&want, 10000, "made/for/it"), EXIT_FAILED);
	assert_string_equal(said, "web: the VM has ended: poweroff\nweb: 100.00 % of the pixels differ, 0.00 % may\n"
		"it showed made/for/it/web-last.png; what differs: made/for/it/web-diff.png\n");
	expect_file("made/for/it/web-last.png", 4);
	assert_true(exists("made/for/it/web-diff.png"));
}

static void test_client_wait_keeps_the_last_picture_of_a_vm_that_vanishes(void **state)
{
	const struct config_screen want = {.stable_ns = 20 * MS, .image = image};

	(void)state;
	vm.is_still = true;
	vm.still_answers = 1;
	vm.ends = true;
	assert_int_equal(run_wait(&want, 10000), EXIT_FAILED);
	assert_non_null(strstr(said, "it showed ./web-last.png; what differs: ./web-diff.png\n"));
	expect_file("web-last.png", 1);
	assert_true(exists("web-diff.png"));
}

/* Too late while the guest is being reset: nobody can be asked, but there was a picture before. */
static void test_client_wait_keeps_the_last_picture_of_a_vm_that_only_resets(void **state)
{
	const struct config_screen want = {.stable_ns = 20 * MS, .image = image};

	(void)state;
	vm.is_still = true;
	vm.still_answers = 1;
	vm.resets = 1000;
	assert_int_equal(run_wait(&want, 300), EXIT_EXPECT);
	assert_string_equal(said, "web: 100.00 % of the pixels differ, 0.00 % may\nit showed ./web-last.png; what differs: ./web-diff.png\n");
	expect_file("web-last.png", 1);
}

static void test_client_wait_into_a_folder_that_cannot_be_made(void **state)
{
	const struct config_screen want = {.image = image};

	(void)state;
	assert_int_equal(run_wait_into(&want, 1, "image.png/folder"), EXIT_EXPECT);
	assert_non_null(strstr(said, "--artifacts image.png/folder: Not a directory\n"));
}

static void test_client_wait_goes_on_after_a_reset(void **state)
{
	static const unsigned shows[] = {2, 0, 4, 3};
	const struct config_screen want = {.stable_ns = 20 * MS, .image = image};

	(void)state;
	vm.shows = shows;
	vm.nshows = 4;
	vm.is_still = true;
	vm.resets = 3;
	assert_int_equal(run_wait(&want, 0), EXIT_OK);
	assert_int_equal(vm.resets, 0);
	assert_string_equal(said, "");
}

/* One that is reset all the time is waited for until it is too late, and not in a hurry. */
static void test_client_wait_for_a_vm_that_only_resets(void **state)
{
	const struct config_screen want = {.stable_ns = 20 * MS};

	(void)state;
	vm.resets = 1000;
	assert_int_equal(run_wait(&want, 300), EXIT_TIMEOUT);
	assert_string_equal(said, "web: the guest has shown nothing\n");
	assert_in_range(1000 - vm.resets, 2, 16);
}

static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 100; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
	}
	return n;
}

/* Neither descriptors nor memory of the pictures it has looked at. */
static void test_client_wait_keeps_nothing(void **state)
{
	static unsigned shows[100];
	const struct config_screen want = {.image = image};
	unsigned before = open_files();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		shows[i] = i < 99 ? 10 + i % 3 : 3;
	}
	vm.shows = shows;
	vm.nshows = 100;
	assert_int_equal(run_wait(&want, 0), EXIT_OK);
	/* The VM's end of the connection goes a little later. */
	for (unsigned i = 0; i < 1000 && open_files() != before; i++) {
		usleep(1000);
	}
	assert_int_equal(open_files(), before);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(test_client_screenshot_is_a_file),
		T(test_client_screenshot_of_another_output_without_cursor),
		T(test_client_screenshot_of_nothing),
		T(test_client_screenshot_into_no_file),
		T(test_client_picture_without_memory),
		T(test_client_picture_larger_than_its_memory),
		T(test_client_picture_of_rows_that_overlap),
		T(test_client_picture_of_rows_from_behind),
		T(test_client_picture_without_width),
		T(test_client_picture_of_negative_height),
		T(test_client_picture_in_another_format),
		T(test_client_wait_for_the_first_frame),
		T(test_client_wait_for_a_screen_that_stays_dark),
		T(test_client_wait_for_a_picture_looks_at_each_frame_once),
		T(test_client_wait_says_what_differs),
		T(test_client_wait_for_a_picture_that_cannot_be_read),
		T(test_client_wait_until_still),
		T(test_client_wait_shows_what_moves),
		T(test_client_wait_looks_a_moment_for_what_moves),
		T(test_client_wait_does_not_look_for_ever_for_what_moves),
		T(test_client_wait_for_a_region_that_is_not_there),
		T(test_client_wait_for_an_output_that_is_not_there),
		T(test_client_wait_for_a_vm_that_ends),
		T(test_client_wait_keeps_the_last_picture_of_a_vm_that_ends),
		T(test_client_wait_keeps_the_last_picture_of_a_vm_that_vanishes),
		T(test_client_wait_keeps_the_last_picture_of_a_vm_that_only_resets),
		T(test_client_wait_into_a_folder_that_cannot_be_made),
		T(test_client_wait_goes_on_after_a_reset),
		T(test_client_wait_for_a_vm_that_only_resets),
		T(test_client_wait_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
