/* SPDX-License-Identifier: MIT */
/* Who may connect, and a process that has no descriptors left. Real sockets and processes. */
#include "vmm/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/dial.h"
#include "vmm/clock.h"
#include "vmm/log.h"

static struct loop loop;
static struct listener listener;
static char path[64];
static int fd, taken[8];
static unsigned ntaken;
static pid_t last_pid;
static char said[256];
static unsigned nsaid;

static void keep(enum log_level level, const char *line)
{
	(void)level;
	snprintf(said, sizeof(said), "%s", line);
	nsaid++;
}

static void want_said(const char *text)
{
	if (nsaid != 1 || !strstr(said, text)) {
		fail_msg("said %u times, last \"%s\", not \"%s\"", nsaid, said, text);
	}
	nsaid = 0;
}

static void on_peer(struct listener *l, int peer, pid_t pid)
{
	assert_ptr_equal(l, &listener);
	assert_true(fcntl(peer, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(peer, F_GETFD) & FD_CLOEXEC);
	taken[ntaken++] = peer;
	last_pid = pid;
}

static int setup(void **state)
{
	(void)state;
	ntaken = nsaid = 0;
	log_set_hook(keep);
	snprintf(path, sizeof(path), "/tmp/listener_test.%d", getpid());
	fd = listener_open(path, SOCK_STREAM, 4);
	return fd < 0 || loop_init(&loop) < 0 || listener_init(&listener, &loop, fd, "test", on_peer) < 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ntaken; i++) {
		close(taken[i]);
	}
	listener_finish(&listener);
	loop_finish(&loop);
	close(fd);
	unlink(path);
	log_set_hook(NULL);
	return nsaid != 0;
}

static void test_listener_hands_on_who_connects(void **state)
{
	int s = dial(path, SOCK_STREAM | SOCK_NONBLOCK);

	(void)state;
	loop_run_once(&loop, 1000);
	assert_int_equal(ntaken, 1);
	assert_int_equal(last_pid, getpid());
	close(s);
}

static void test_listener_s_socket_is_private(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_listener_a_path_that_is_too_long(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(listener_open(name, SOCK_STREAM, 1), -ENAMETOOLONG);
	want_said("x: File name too long");
}

/* As user 65534. Return: whether the other end hung up. */
static bool is_turned_away(const uid_t *allow, unsigned n)
{
	bool hung_up;
	char byte;
	int s;

	listener.allow = allow;
	listener.nallow = n;
	assert_int_equal(seteuid(65534), 0);
	s = dial(path, SOCK_STREAM | SOCK_NONBLOCK);
	assert_int_equal(seteuid(0), 0);
	loop_run_once(&loop, 1000);
	hung_up = recv(s, &byte, 1, MSG_DONTWAIT) == 0;
	close(s);
	return hung_up;
}

static void test_listener_other_users_are_turned_away(void **state)
{
	const uid_t nobody = 65534, somebody = 65533;

	(void)state;
	if (geteuid() != 0) {
		skip();
	}
	assert_int_equal(chmod(path, 0666), 0);
	assert_true(is_turned_away(NULL, 0));
	want_said("test: user 65534 may not connect");
	assert_true(is_turned_away(&somebody, 1));
	want_said("test: user 65534 may not connect");
	assert_int_equal(ntaken, 0);
	assert_false(is_turned_away(&nobody, 1));
	assert_int_equal(ntaken, 1);
}

/* Turns of the loop in @ms. */
static unsigned turns(unsigned ms)
{
	uint64_t end = clock_now_ns() + ms * (uint64_t)CLOCK_NS_PER_MS;
	unsigned n = 0;

	for (; clock_now_ns() < end; n++) {
		loop_run_once(&loop, (int)((end - clock_now_ns()) / CLOCK_NS_PER_MS) + 1);
	}
	return n;
}

/* Return: the limit as it was. */
static struct rlimit leave_no_descriptors(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void test_listener_without_descriptors_rests_and_then_serves(void **state)
{
	int s = dial(path, SOCK_STREAM | SOCK_NONBLOCK);
	struct rlimit before = leave_no_descriptors();

	(void)state;
	assert_in_range(turns(350), 1, 12);
	/* Once, however long it lasts. */
	want_said("test: connections wait: Too many open files");
	assert_int_equal(ntaken, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	turns(250);
	assert_int_equal(ntaken, 1);
	close(s);
}

static void test_listener_ends_while_it_rests(void **state)
{
	int s = dial(path, SOCK_STREAM | SOCK_NONBLOCK);
	struct rlimit before = leave_no_descriptors();

	(void)state;
	loop_run_once(&loop, 1000);
	want_said("test: connections wait: Too many open files");
	listener_finish(&listener);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	turns(150);
	assert_int_equal(ntaken, 0);
	close(s);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_listener_hands_on_who_connects),
		WITH(test_listener_s_socket_is_private),
		WITH(test_listener_a_path_that_is_too_long),
		WITH(test_listener_other_users_are_turned_away),
		WITH(test_listener_without_descriptors_rests_and_then_serves),
		WITH(test_listener_ends_while_it_rests),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
