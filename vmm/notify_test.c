/* SPDX-License-Identifier: MIT */
/* A service manager's socket, by path and by abstract name; and none. */
#include "vmm/notify.h"

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

/* @name: as in NOTIFY_SOCKET. */
static int listen_on(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));

	memcpy(addr.sun_path, name, strlen(name));
	if (name[0] == '@') {
		addr.sun_path[0] = '\0';
	}
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, name[0] == '@' ? len : sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void test_notify_reaches_who_listens(void **state)
{
	char name[64], got[64];
	int fd;

	(void)state;
	for (int abstract = 0; abstract < 2; abstract++) {
		snprintf(name, sizeof(name), abstract ? "@notify_test.%d" : "/tmp/notify_test.%d", getpid());
		fd = listen_on(name);
		memset(got, 0, sizeof(got));
		notify("READY=1\nSTATUS=x");
		assert_int_equal(recv(fd, got, sizeof(got), 0), 16);
		assert_string_equal(got, "READY=1\nSTATUS=x");
		close(fd);
	}
	snprintf(name, sizeof(name), "/tmp/notify_test.%d", getpid());
	unlink(name);
}

/* Somebody who never reads does not hold us up. */
static void test_notify_never_blocks(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@notify_test.%d", getpid());
	fd = listen_on(name);
	for (int i = 0; i < 100000; i++) {
		notify("STATUS=again");
	}
	close(fd);
	notify("STATUS=nobody");
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify("x");
	setenv("NOTIFY_SOCKET", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
	notify("x");
	unsetenv("NOTIFY_SOCKET");
	notify("x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify_reaches_who_listens),
		cmocka_unit_test(test_notify_never_blocks),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
