/* SPDX-License-Identifier: MIT */
/* A connection that ends, over a real socket: whether the viewer ends with it, tries again, and gives up. Without SDL, and without waiting: time is what the test says. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "display/view_sdl_priv.h"
#include "tests/support/viewmon.h"
#include "vmm/clock.h"

#define BEGIN_NS (1000 * CLOCK_NS_PER_S)

static char dir[] = "/tmp/view_link_test.XXXXXX", path[64], error[256];
static struct viewmon m;
static struct app app;
static struct view_options options;
static int listener;
static uint64_t now_ns;

void view_stop(struct app *a, enum view_exit how, const char *fmt, ...)
{
	va_list ap;

	assert_false(a->done);
	a->done = true;
	a->exit = how;
	va_start(ap, fmt);
	if (fmt) {
		vsnprintf(error, sizeof(error), fmt, ap);
	}
	va_end(ap);
}

static void at(uint64_t ns)
{
	now_ns = ns;
	clock_set_test_ns(ns);
}

/* As the loop does it: at each moment that is due, until @ns. Return: how often it was tried. */
static unsigned wait_until(uint64_t ns)
{
	unsigned tries = 0;

	while (!app.done && app.retry_ns && app.retry_ns <= ns) {
		assert_true(app.retry_ns >= now_ns);
		at(app.retry_ns);
		tries++;
		view_link_try(&app, now_ns);
	}
	at(ns);
	return tries;
}

/* A monitor at the path. */
static void listen_there(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
}

static void stop_listening(void)
{
	if (listener >= 0) {
		close(listener);
		unlink(path);
	}
	listener = -1;
}

/* It has taken the connection, and hears the viewer's hello. */
static void expect_hello(void)
{
	if (listener >= 0) {
		close(m.fd);
		m.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		assert_true(m.fd >= 0);
	}
	assert_true(app.conn.fd >= 0);
	assert_non_null(viewmon_read(&m, VIEWER_CLIENT_HELLO));
	assert_int_equal(app.retry_ns, 0);
}

static void hear(void)
{
	view_conn_read(&app.conn);
	view_link_ended(&app);
}

static void say_bye(uint32_t reason)
{
	viewmon_bye(&m, reason, "played");
	hear();
}

/* Without a word. */
static void hang_up(void)
{
	close(m.fd);
	m.fd = -1;
	hear();
}

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/viewer.sock", dir);
	listener = -1;
	error[0] = '\0';
	app = (struct app){.o = &options};
	options = (struct view_options){.socket = path, .fd = -1};
	at(BEGIN_NS);
	viewmon_init(&m);
	view_conn_init(&app.conn, m.viewer_fd, VIEW_CLIENT_NAME, false);
	m.viewer_fd = -1;
	view_init(&app.view, &app.conn, VIEW_SCALE, false, "web");
	viewmon_hello(&m, 1);
	hear();
	assert_false(app.done);
	assert_non_null(viewmon_read(&m, VIEWER_CLIENT_HELLO));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	view_conn_finish(&app.conn);
	viewmon_finish(&m);
	stop_listening();
	clock_set_test_ns(0);
	return 0;
}

static void test_view_link_a_vm_that_restarts(void **state)
{
	(void)state;
	say_bye(VIEWER_BYE_RESTART);
	assert_int_equal(app.conn.fd, -1);
	assert_true(wait_until(BEGIN_NS + VIEW_RESTART_NS - VIEW_RETRY_NS) > 100);
	assert_false(app.done);
	listen_there();
	app.said_imports = true;
	assert_int_equal(wait_until(BEGIN_NS + VIEW_RESTART_NS), 1);
	expect_hello();
	assert_false(app.done || app.said_imports);
	/* The next time it has all of the time again. */
	stop_listening();
	hang_up();
	wait_until(now_ns + VIEW_RESTART_NS - VIEW_RETRY_NS);
	assert_false(app.done);
	listen_there();
	wait_until(now_ns + VIEW_RETRY_NS);
	expect_hello();
}

static void test_view_link_gives_up(void **state)
{
	(void)state;
	/* With its word that it starts again, and without. */
	for (unsigned i = 0; i < 2; i++) {
		if (i > 0) {
			tear_down(state);
			set_up(state);
			hang_up();
		} else {
			say_bye(VIEWER_BYE_RESTART);
		}
		/* Not before it is time, and so often. */
		assert_false(view_link_try(&app, now_ns + VIEW_RETRY_NS - 1));
		assert_int_equal(app.retry_ns, now_ns + VIEW_RETRY_NS);
		assert_true(wait_until(BEGIN_NS + VIEW_RESTART_NS - 1) < VIEW_RESTART_NS / VIEW_RETRY_NS);
		assert_false(app.done);
		assert_int_equal(wait_until(BEGIN_NS + VIEW_RESTART_NS + VIEW_RETRY_NS), 1);
		assert_true(app.done);
		assert_int_equal(app.exit, VIEW_EXIT_FAILED);
		assert_string_equal(error, "the VM has gone and did not come back");
	}
}

/* A monitor that is stopped: as many wait in its queue as fit, and the next one would wait for it. Return: the last that fit. */
static int fill_queue(void)
{
	int last = -1, fd;

	while ((fd = view_conn_connect(path)) >= 0) {
		if (last >= 0) {
			close(last);
		}
		last = fd;
	}
	assert_int_equal(fd, -EAGAIN);
	assert_true(last >= 0);
	return last;
}

static void take_all(void)
{
	int fd;

	assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(fd);
	}
}

static void test_view_link_a_stopped_monitor_with_a_full_queue(void **state)
{
	(void)state;
	/* Goes on, and gives up; this program with it if it had to wait. */
	for (unsigned i = 0; i < 2; i++) {
		int last;

		if (i > 0) {
			tear_down(state);
			set_up(state);
		}
		listen_there();
		last = fill_queue();
		alarm(20);
		if (i == 0) {
			hang_up();
		} else {
			view_conn_finish(&app.conn);
			view_link_begin(&app, now_ns);
			assert_int_equal(app.retry_ns, now_ns);
		}
		assert_true(wait_until(BEGIN_NS + VIEW_RESTART_NS - 1) > 100);
		assert_false(app.done);
		assert_int_equal(app.conn.fd, -1);
		if (i == 0) {
			take_all();
			assert_int_equal(wait_until(now_ns + VIEW_RETRY_NS), 1);
			expect_hello();
		} else {
			wait_until(BEGIN_NS + VIEW_RESTART_NS + VIEW_RETRY_NS);
			assert_true(app.done);
			assert_int_equal(app.exit, VIEW_EXIT_FAILED);
			assert_string_equal(error, "the VM takes no viewers: its monitor is stopped");
		}
		alarm(0);
		close(last);
	}
}

static void test_view_link_waits_for_ever(void **state)
{
	static const uint32_t byes[] = {VIEWER_BYE_END, VIEWER_BYE_RESTART, 0};

	(void)state;
	options.waits = true;
	for (unsigned i = 0; i < 3; i++) {
		if (byes[i]) {
			say_bye(byes[i]);
		} else {
			hang_up();
		}
		wait_until(now_ns + 100 * VIEW_RESTART_NS);
		assert_false(app.done);
		listen_there();
		wait_until(now_ns + VIEW_RETRY_NS);
		expect_hello();
		viewmon_hello(&m, 1);
		hear();
		stop_listening();
	}
}

static void test_view_link_ends_with_the_vm(void **state)
{
	(void)state;
	say_bye(VIEWER_BYE_END);
	assert_true(app.done);
	assert_int_equal(app.exit, VIEW_EXIT_ENDED);
	assert_string_equal(error, "");
}

static void test_view_link_a_refusal_is_not_tried_again(void **state)
{
	(void)state;
	options.waits = true;
	say_bye(VIEWER_BYE_FULL);
	assert_true(app.done);
	assert_int_equal(app.exit, VIEW_EXIT_FAILED);
	assert_non_null(strstr(error, "played"));
	assert_int_equal(app.retry_ns, 0);
}

/* A descriptor that was inherited: the same one is greeted again, and when it ends there is none to try. */
static void test_view_link_an_inherited_descriptor(void **state)
{
	int fd = app.conn.fd;

	(void)state;
	options.socket = NULL;
	say_bye(VIEWER_BYE_RESTART);
	assert_int_equal(app.conn.fd, fd);
	expect_hello();
	assert_false(app.done);
	hang_up();
	assert_true(app.done);
	assert_int_equal(app.exit, VIEW_EXIT_FAILED);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_view_link_a_vm_that_restarts),
		T(test_view_link_gives_up),
		T(test_view_link_a_stopped_monitor_with_a_full_queue),
		T(test_view_link_waits_for_ever),
		T(test_view_link_ends_with_the_vm),
		T(test_view_link_a_refusal_is_not_tried_again),
		T(test_view_link_an_inherited_descriptor),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
