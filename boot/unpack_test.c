/* SPDX-License-Identifier: MIT */
/* What the usual programs pack is unpacked; what is broken, too long or hostile ends in the process that unpacks, and the caller only hears of it. */
#include "boot/unpack.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/clock.h"

#define PLAIN_LEN 300000u
#define LATE_NS (200 * CLOCK_NS_PER_MS)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint8_t plain[PLAIN_LEN], packed[PLAIN_LEN], out[PLAIN_LEN + 1];
static char why[256];

static const struct {
	enum unpack_format format;
	const char *command;
} formats[] = {
	{UNPACK_GZIP, "gzip -nc"},
	{UNPACK_XZ, "xz -zc --check=crc32 --x86 --lzma2=dict=32MiB"},
	{UNPACK_XZ, "xz -zc -T1 --check=crc32 --x86 --lzma2=preset=0,dict=128MiB"}, /* Linux 6.12; what is unpacked with depends on the dictionary alone */
	{UNPACK_ZSTD, "zstd -19 -q -c"},
};

/* Return: bytes in @packed, with four more behind it, as in a bzImage. */
static size_t pack(const char *command)
{
	char line[128], in[] = "/tmp/unpack_test.XXXXXX";
	int fd = mkstemp(in);
	size_t len;
	FILE *f;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, plain, sizeof(plain)), sizeof(plain));
	close(fd);
	snprintf(line, sizeof(line), "%s < %s", command, in);
	f = popen(line, "r");
	assert_non_null(f);
	len = fread(packed, 1, sizeof(packed) - 4, f);
	assert_int_equal(pclose(f), 0);
	unlink(in);
	memset(packed + len, 0x55, 4);
	return len + 4;
}

/* Into @out. Return: what unpack says. */
static int unpacked(enum unpack_format format, size_t len, size_t out_len)
{
	int fd = memfd_create("unpack_test", MFD_CLOEXEC), r;

	why[0] = '\0';
	memset(out, 0, sizeof(out));
	r = unpack(format, packed, len, out_len, fd, 0, why, sizeof(why));
	if (r == 0) {
		assert_int_equal(pread(fd, out, sizeof(out), 0), out_len);
	}
	close(fd);
	return r;
}

static int setup(void **state)
{
	(void)state;
	for (uint32_t i = 0, x = 1; i < PLAIN_LEN; i++, x = x * 1664525 + 1013904223) {
		plain[i] = i % 1000 < 500 ? (uint8_t)(x >> 24) : (uint8_t)(i / 1000);
	}
	return 0;
}

static void test_unpack_all_formats(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(formats); i++) {
		size_t len = pack(formats[i].command);

		assert_int_equal(unpack_format(packed, len), formats[i].format);
		if (unpacked(formats[i].format, len, PLAIN_LEN) != 0 || memcmp(out, plain, PLAIN_LEN) != 0) {
			fail_msg("%s: %s", formats[i].command, why);
		}
	}
}

static void test_unpack_broken_streams_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(formats); i++) {
		size_t len = pack(formats[i].command), off[] = {30, len / 2, len - 9};

		for (size_t k = 0; k < COUNT(off); k++) {
			packed[off[k]] ^= 0x10;
			/* What still decodes has another checksum. */
			if (unpacked(formats[i].format, len, PLAIN_LEN) != -EINVAL) {
				fail_msg("%s: byte %zu", formats[i].command, off[k]);
			}
			packed[off[k]] ^= 0x10;
		}
		for (size_t cut = 0; cut < len - 20; cut += len / 7) {
			if (unpacked(formats[i].format, cut, PLAIN_LEN) != -EINVAL || !why[0]) {
				fail_msg("%s cut to %zu", formats[i].command, cut);
			}
		}
	}
}

static void test_unpack_to_another_length_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(formats); i++) {
		size_t len = pack(formats[i].command);

		assert_int_equal(unpacked(formats[i].format, len, PLAIN_LEN - 1), -EINVAL);
		assert_int_equal(unpacked(formats[i].format, len, PLAIN_LEN + 1), -EINVAL);
		assert_int_equal(unpacked(formats[i].format, len, 0), -EINVAL);
		assert_int_equal(unpacked(formats[i].format, len, UNPACK_MAX + 1u), -EINVAL);
	}
	assert_int_equal(unpacked(UNPACK_UNKNOWN, 100, 100), -EINVAL);
}

/* More than the arena has: xz says what it wants in its header, and does not get it. */
static void test_unpack_wants_too_much_memory(void **state)
{
	size_t len;

	(void)state;
	len = pack("xz -zc --lzma2=preset=0,dict=512MiB");
	assert_int_equal(unpacked(UNPACK_XZ, len, PLAIN_LEN), -EINVAL);
	assert_string_equal(why, "its compressed part is broken");
}

static void test_unpack_where_it_cannot_be_written(void **state)
{
	size_t len;
	int fd[2];

	(void)state;
	len = pack("gzip -nc");
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(unpack(UNPACK_GZIP, packed, len, PLAIN_LEN, fd[0], 0, why, sizeof(why)), -ENOSPC);
	close(fd[0]);
	close(fd[1]);
}

static void test_unpack_knows_formats(void **state)
{
	(void)state;
	assert_int_equal(unpack_format((const uint8_t *)"\x1f\x8b\x08", 3), UNPACK_GZIP);
	assert_int_equal(unpack_format((const uint8_t *)"\x1f\x8b\x08", 2), UNPACK_UNKNOWN);
	assert_int_equal(unpack_format((const uint8_t *)"BZh9", 4), UNPACK_UNKNOWN);
	assert_int_equal(unpack_format((const uint8_t *)"", 0), UNPACK_UNKNOWN);
}

/* A zlib whose inflate has been taken over: it does what its environment says. */
static const char hostile_zlib[] =
	"#include <stdlib.h>\n#include <string.h>\n#include <fcntl.h>\n#include <unistd.h>\n#include <sys/socket.h>\n"
	"int inflateInit2_(void *z, int w, const char *v, int n) { (void)z, (void)w, (void)v, (void)n; return 0; }\n"
	"int inflate(void *z, int f) { const char *what = getenv(\"HOSTILE\"); (void)z, (void)f;\n"
	"if (!strcmp(what, \"open\")) open(\"/etc/passwd\", O_RDONLY);\n"
	"if (!strcmp(what, \"fork\")) fork();\n"
	"if (!strcmp(what, \"socket\")) socket(AF_UNIX, SOCK_STREAM, 0);\n"
	"if (!strcmp(what, \"kill\")) execl(\"/bin/true\", \"true\", NULL);\n"
	"if (!strcmp(what, \"long\")) for (char x[64];;) if (write(0, x, sizeof(x)) < 0) return 1;\n"
	"if (!strcmp(what, \"stay\") || !strcmp(what, \"late\")) for (;;);\n"
	"if (!strcmp(what, \"other\")) for (int i = 1; i < 200; i++) if (write(i, \"x\", 1) == 1) return 1;\n"
	"return -3; }\n";

static char hostile_dir[32];

static int set_up_hostile(void **state)
{
	char line[128];
	FILE *f;

	(void)state;
	snprintf(hostile_dir, sizeof(hostile_dir), "/tmp/unpack_test.XXXXXX");
	assert_non_null(mkdtemp(hostile_dir));
	snprintf(line, sizeof(line), "gcc -shared -fPIC -o %s/libz.so.1 -x c - 2>&1", hostile_dir);
	f = popen(line, "w");
	assert_non_null(f);
	fputs(hostile_zlib, f);
	assert_int_equal(pclose(f), 0);
	return 0;
}

static int tear_down_hostile(void **state)
{
	char line[128];

	(void)state;
	snprintf(line, sizeof(line), "rm -r %s", hostile_dir);
	return system(line);
}

/* In a program of its own, which finds that library before the real one: the linker reads LD_LIBRARY_PATH when a program begins. */
static void taken_over(const char *to, char said[256])
{
	char line[512], self[256] = "";
	FILE *f;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(line, sizeof(line), "HOSTILE=%s LD_LIBRARY_PATH=%s %s hostile %s", to, hostile_dir, self, to);
	f = popen(line, "r");
	assert_non_null(f);
	assert_non_null(fgets(said, 256, f));
	assert_int_equal(pclose(f), 0);
}

static void test_unpack_a_decoder_that_was_taken_over_can_do_nothing(void **state)
{
	static const char *const killed[] = {"open", "fork", "socket", "kill"};
	char said[256];

	(void)state;
	for (size_t i = 0; i < COUNT(killed); i++) {
		taken_over(killed[i], said);
		assert_string_equal(said, "-22 the process that unpacks it was ended by signal 9\n");
	}
	/* No descriptor but the one file, whose number is 0. */
	taken_over("other", said);
	assert_string_equal(said, "-22 its compressed part is broken\n");
}

/* Nor write more than it should, be there for ever, or leave what it has in memory behind. */
static void test_unpack_a_decoder_that_was_taken_over_has_limits(void **state)
{
	char said[256];

	(void)state;
	taken_over("long", said);
	assert_string_equal(said, "-22 the process that unpacks it was ended by signal 25\n");
	taken_over("stay", said);
	assert_string_equal(said, "cpu=120 file=100 core=0\n");
}

static void test_unpack_a_decoder_that_was_taken_over_has_until_the_deadline(void **state)
{
	const uint64_t begun = clock_now_ns();
	char said[256];

	(void)state;
	taken_over("late", said);
	assert_string_equal(said, "-110 no time was left for it\n");
	assert_true(clock_now_ns() - begun >= LATE_NS);
}

/* One that is in time is as without any. */
static void test_unpack_before_the_deadline(void **state)
{
	int fd = memfd_create("unpack_test", MFD_CLOEXEC);
	size_t len = pack("gzip -nc");

	(void)state;
	assert_int_equal(unpack(UNPACK_GZIP, packed, len, PLAIN_LEN, fd, clock_now_ns() + 3600 * CLOCK_NS_PER_S, why, sizeof(why)), 0);
	assert_int_equal(pread(fd, out, sizeof(out), 0), PLAIN_LEN);
	assert_memory_equal(out, plain, PLAIN_LEN);
	assert_int_equal(unpack(UNPACK_GZIP, packed, len, PLAIN_LEN + 1, fd, clock_now_ns() + 3600 * CLOCK_NS_PER_S, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, "its compressed part is broken");
	close(fd);
}

/* The hard limit that /proc/PID/limits has in @line, whose beginning is @name. */
static long limit(const char *line, const char *name)
{
	long soft, hard;

	return strncmp(line, name, strlen(name)) == 0 && sscanf(line + strlen(name), "%ld %ld", &soft, &hard) == 2 && soft == hard ? hard : -1;
}

/* When the process that unpacks is confined: says which limits it has, and ends it. */
static void watch(pid_t parent)
{
	char path[64], line[256] = "", children[64], *rest = line;
	long cpu = -1, file = -1, core = -1;
	pid_t pid = 0;
	bool is_confined = false;
	FILE *f;

	snprintf(children, sizeof(children), "/proc/%d/task/%d/children", parent, parent);
	while (!is_confined) {
		usleep(10000);
		f = fopen(children, "re");
		pid = f && fgets(line, sizeof(line), f) ? (pid_t)strtol(line, &rest, 10) : 0;
		pid = pid == getpid() ? (pid_t)strtol(rest, NULL, 10) : pid;
		if (f) {
			fclose(f);
		}
		snprintf(path, sizeof(path), "/proc/%d/status", pid);
		f = pid > 0 ? fopen(path, "re") : NULL;
		while (f && fgets(line, sizeof(line), f)) {
			is_confined |= strcmp(line, "Seccomp:\t1\n") == 0;
		}
		if (f) {
			fclose(f);
		}
	}
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		cpu = limit(line, "Max cpu time") >= 0 ? limit(line, "Max cpu time") : cpu;
		file = limit(line, "Max file size") >= 0 ? limit(line, "Max file size") : file;
		core = limit(line, "Max core file size") >= 0 ? limit(line, "Max core file size") : core;
	}
	printf("cpu=%ld file=%ld core=%ld\n", cpu, file, core);
	fflush(stdout);
	kill(pid, SIGKILL);
	_exit(0);
}

static int hostile(const char *to)
{
	const pid_t self = getpid();
	int r;

	if (strcmp(to, "stay") == 0 && fork() == 0) {
		watch(self);
	}
	memcpy(packed, "\x1f\x8b\x08", 3);
	r = unpack(UNPACK_GZIP, packed, 100, 100, memfd_create("unpack_test", MFD_CLOEXEC), strcmp(to, "late") == 0 ? clock_now_ns() + LATE_NS : 0, why, sizeof(why));
	/* Somebody else says something then. */
	if (strcmp(to, "stay") != 0) {
		printf("%d %s\n", r, why);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unpack_knows_formats),
		cmocka_unit_test(test_unpack_all_formats),
		cmocka_unit_test(test_unpack_broken_streams_are_refused),
		cmocka_unit_test(test_unpack_to_another_length_is_refused),
		cmocka_unit_test(test_unpack_wants_too_much_memory),
		cmocka_unit_test(test_unpack_where_it_cannot_be_written),
		cmocka_unit_test(test_unpack_before_the_deadline),
		cmocka_unit_test_setup_teardown(test_unpack_a_decoder_that_was_taken_over_can_do_nothing, set_up_hostile, tear_down_hostile),
		cmocka_unit_test_setup_teardown(test_unpack_a_decoder_that_was_taken_over_has_limits, set_up_hostile, tear_down_hostile),
		cmocka_unit_test_setup_teardown(test_unpack_a_decoder_that_was_taken_over_has_until_the_deadline, set_up_hostile, tear_down_hostile),
	};

	return argc > 2 && strcmp(argv[1], "hostile") == 0 ? hostile(argv[2]) : cmocka_run_group_tests(tests, setup, NULL);
}
