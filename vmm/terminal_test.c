/* SPDX-License-Identifier: MIT */
/*
 * The terminal against real pseudo-terminals, pipes and files: modes, keys, flow control, and that
 * the mode comes back on every way out. Job control runs in a child with its own session.
 */
#include "vmm/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/tty.h"

/* A device that takes @room more bytes of input and has as much output as the test gives it. */
struct device {
	struct stream stream;
	size_t room, len;
	unsigned breaks, output_ready;
	uint16_t cols, rows;
	char got[65536];
};

static struct loop loop;
static struct terminal t;
static struct device serial, console;
static unsigned kills, buttons, lines_logged;
static int master, slave;

static struct device *device_from(struct stream *s)
{
	return (struct device *)s;
}

static void dev_output_ready(struct stream *s)
{
	device_from(s)->output_ready++;
}

static size_t dev_input(struct stream *s, const uint8_t *buf, size_t len)
{
	struct device *d = device_from(s);

	len = len < d->room ? len : d->room;
	memcpy(d->got + d->len, buf, len);
	d->len += len;
	d->room -= len;
	return len;
}

static void dev_break(struct stream *s)
{
	device_from(s)->breaks++;
}

static void dev_resize(struct stream *s, uint16_t cols, uint16_t rows)
{
	device_from(s)->cols = cols;
	device_from(s)->rows = rows;
}

static const struct stream_ops dev_ops = {
	.output_ready = dev_output_ready,
	.input = dev_input,
	.send_break = dev_break,
	.resize = dev_resize,
};

static void on_kill(void *ctx)
{
	(void)ctx;
	kills++;
}

static void on_power_button(void *ctx)
{
	(void)ctx;
	buttons++;
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines_logged++;
}

static int setup(void **state)
{
	struct winsize w = {.ws_col = 100, .ws_row = 30};

	(void)state;
	kills = buttons = lines_logged = 0;
	memset(&serial, 0, sizeof(serial));
	memset(&console, 0, sizeof(console));
	stream_init(&serial.stream, "serial", &dev_ops);
	stream_init(&console.stream, "console", &dev_ops);
	serial.stream.open = true;
	serial.room = console.room = sizeof(serial.got);
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	fcntl(master, F_SETFL, O_NONBLOCK);
	return loop_init(&loop);
}

static int teardown(void **state)
{
	(void)state;
	log_set_hook(NULL);
	clock_set_test_ns(0);
	terminal_close(&t);
	terminal_close(&t);
	loop_finish(&loop);
	close(master);
	close(slave);
	return 0;
}

static void open_on(int in_fd, int out_fd)
{
	const struct terminal_config config = {
		.in_fd = in_fd,
		.out_fd = out_fd,
		.message_fd = slave,
		.escape = 1,
		.on_kill = on_kill,
		.on_power_button = on_power_button,
	};

	assert_int_equal(terminal_open(&t, &loop, &config), 0);
}

static void open_on_pty(void)
{
	open_on(slave, slave);
	terminal_attach(&t, &serial.stream);
}

static void serve(void)
{
	for (int i = 0; i < 8; i++) {
		loop_run_once(&loop, 1);
	}
}

#define ARRIVES_MS 5000 /* the kernel carries a terminal's bytes by a thread of its own, which a busy machine runs late */

static void type(const char *text, size_t len)
{
	int before = 0, there = 0;

	assert_int_equal(ioctl(slave, FIONREAD, &before), 0);
	assert_int_equal(write(master, text, len), len);
	for (int ms = 0; there < before + (int)len; ms++) {
		assert_in_range(ms, 0, ARRIVES_MS);
		assert_int_equal(ioctl(slave, FIONREAD, &there), 0);
		usleep(there < before + (int)len ? 1000 : 0);
	}
	serve();
}

static size_t put(struct device *d, const char *text)
{
	return stream_write(&d->stream, (const uint8_t *)text, strlen(text));
}

/* What is on the screen since the last call, which is @want, or ends in it once all has arrived. */
static const char *screen(const char *want)
{
	static char text[8192];
	size_t len = 0, want_len = strlen(want);

	for (int ms = 0; ms < ARRIVES_MS; ms += 8) {
		ssize_t n;

		serve();
		n = read(master, text + len, sizeof(text) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
		if (len >= want_len && memcmp(text + len - want_len, want, want_len) == 0) {
			break;
		}
	}
	text[len] = '\0';
	return text;
}

static void assert_screen(const char *want)
{
	assert_string_equal(screen(want), want);
}

static bool is_raw(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(slave, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
}

static void test_terminal_is_raw_from_the_first_stream_to_close(void **state)
{
	struct termios before = {0}, after = {0};

	(void)state;
	tcgetattr(slave, &before);
	open_on(slave, slave);
	assert_false(is_raw());
	terminal_attach(&t, &serial.stream);
	assert_true(is_raw());
	terminal_close(&t);
	tcgetattr(slave, &after);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void test_terminal_restore_is_idempotent(void **state)
{
	(void)state;
	tty_restore();
	open_on_pty();
	tty_restore();
	assert_false(is_raw());
	tty_restore();
	assert_false(is_raw());
}

static void test_terminal_flags_of_shared_descriptors_stay(void **state)
{
	(void)state;
	open_on_pty();
	put(&serial, "x");
	type("y", 1);
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
}

static void test_terminal_output_and_input_pass_unchanged(void **state)
{
	(void)state;
	open_on_pty();
	put(&serial, "login:\r\n# \033[1m\n");
	assert_screen("login:\r\n# \033[1m\n");
	type("a\003\032\034\021\023\r\n\x7f", 9);
	assert_int_equal(serial.len, 9);
	assert_memory_equal(serial.got, "a\003\032\034\021\023\r\n\x7f", 9);
}

static void test_terminal_escape_commands(void **state)
{
	(void)state;
	open_on_pty();
	type("a\001xb", 4);
	assert_int_equal(kills, 1);
	type("\001s", 2);
	assert_int_equal(buttons, 1);
	type("\001b", 2);
	assert_int_equal(serial.breaks, 1);
	type("\001a\001\001", 4);
	assert_int_equal(serial.len, 4);
	assert_memory_equal(serial.got, "ab\001\001", 4);
	type("\001h", 2);
	assert_non_null(strstr(screen("send Ctrl-A\r\n"), "Ctrl-A s  press the power button\r\n"));
}

static void test_terminal_split_escape_is_one_command(void **state)
{
	(void)state;
	open_on_pty();
	type("\001", 1);
	type("x", 1);
	assert_int_equal(kills, 1);
	assert_int_equal(serial.len, 0);
}

static void test_terminal_hint_is_shown_once_before_output(void **state)
{
	struct terminal_config config = {.in_fd = slave,
		.out_fd = slave,
		.message_fd = slave,
		.escape = 0x1d,
		.hint = true,
		.on_kill = on_kill,
		.on_power_button = on_power_button};
	const char *text;

	(void)state;
	assert_int_equal(terminal_open(&t, &loop, &config), 0);
	terminal_attach(&t, &serial.stream);
	terminal_attach(&t, &console.stream);
	text = screen("lists more keys\r\n");
	assert_non_null(strstr(text, "Ctrl-] x ends the VM"));
	assert_null(strstr(strstr(text, "Ctrl-] x") + 1, "Ctrl-] x"));
}

static void test_terminal_shows_console_once_open_and_serial_after_reset(void **state)
{
	(void)state;
	open_on_pty();
	terminal_attach(&t, &console.stream);
	put(&serial, "S1");
	assert_screen("S1");
	type("1", 1);
	stream_set_open(&console.stream, true);
	assert_int_equal(serial.output_ready, 1);
	put(&console, "C1");
	assert_int_equal(put(&serial, "S2"), 2);
	assert_screen("C1");
	type("2", 1);
	stream_set_open(&console.stream, false);
	put(&serial, "S3");
	assert_screen("S3");
	type("3", 1);
	assert_int_equal(serial.len, 2);
	assert_memory_equal(serial.got, "13", 2);
	assert_int_equal(console.len, 1);
	assert_int_equal(console.got[0], '2');
}

static void test_terminal_input_held_for_serial_goes_to_the_console(void **state)
{
	(void)state;
	open_on_pty();
	terminal_attach(&t, &console.stream);
	serial.room = 0;
	type("early", 5);
	stream_set_open(&console.stream, true);
	assert_int_equal(console.len, 5);
	assert_memory_equal(console.got, "early", 5);
}

static void test_terminal_keys_wait_for_the_guest(void **state)
{
	(void)state;
	open_on_pty();
	serial.room = 3;
	type("hello", 5);
	assert_int_equal(serial.len, 3);
	serial.room = 100;
	stream_input_ready(&serial.stream);
	assert_int_equal(serial.len, 5);
	assert_memory_equal(serial.got, "hello", 5);
}

static void test_terminal_commands_work_when_the_guest_takes_nothing(void **state)
{
	char many[TERMINAL_INPUT_MAX / 2];

	(void)state;
	log_set_hook(on_log);
	open_on_pty();
	serial.room = 0;
	memset(many, 'k', sizeof(many));
	type(many, sizeof(many));
	type(many, sizeof(many));
	type("dropped\001x", 9);
	assert_int_equal(kills, 0);
	clock_set_test_ns(clock_now_ns() + TERMINAL_STUCK_NS);
	serve();
	assert_int_equal(kills, 1);
	assert_int_equal(lines_logged, 1);
	serial.room = sizeof(serial.got);
	stream_input_ready(&serial.stream);
	assert_int_equal(serial.len, TERMINAL_INPUT_MAX);
	type("again", 5);
	assert_memory_equal(serial.got + serial.len - 5, "again", 5);
}

static void test_terminal_size_is_told_and_follows(void **state)
{
	struct winsize w = {.ws_col = 132, .ws_row = 43};

	(void)state;
	open_on_pty();
	assert_int_equal(serial.cols, 100);
	assert_int_equal(serial.rows, 30);
	ioctl(master, TIOCSWINSZ, &w);
	terminal_signal(&t, SIGWINCH);
	assert_int_equal(serial.cols, 132);
	assert_int_equal(serial.rows, 43);
}

static void test_terminal_messages_do_not_smear(void **state)
{
	int saved = dup(STDERR_FILENO);

	(void)state;
	open_on_pty();
	put(&serial, "half a line");
	assert_screen("half a line");
	dup2(slave, STDERR_FILENO);
	log_msg(LOG_ERR, "one");
	log_msg(LOG_ERR, "two");
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_screen("\r\ntinyvmm: error: one\n\r\rtinyvmm: error: two\n\r");
}

static void test_terminal_stuck_output_holds_the_device_up_and_loses_nothing(void **state)
{
	static char big[OUTFD_MAX + 65536];
	size_t sent = 0, seen = 0;
	char buf[4096];
	ssize_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++) {
		big[i] = (char)('a' + i % 23);
	}
	open_on_pty();
	sent = stream_write(&serial.stream, (const uint8_t *)big, sizeof(big));
	assert_true(sent < sizeof(big));
	while (seen < sizeof(big)) {
		loop_run_once(&loop, 0);
		n = read(master, buf, sizeof(buf));
		if (n > 0) {
			assert_memory_equal(buf, big + seen, n);
			seen += (size_t)n;
		}
		if (serial.output_ready) {
			serial.output_ready = 0;
			sent += stream_write(
				&serial.stream, (const uint8_t *)big + sent, sizeof(big) - sent);
		}
	}
	assert_int_equal(sent, sizeof(big));
}

static void test_terminal_flush_of_a_stuck_output_ends(void **state)
{
	static uint8_t big[OUTFD_MAX];
	uint64_t start = clock_now_ns();

	(void)state;
	open_on_pty();
	stream_write(&serial.stream, big, sizeof(big));
	terminal_flush(&t, 50);
	assert_true(clock_now_ns() - start < 2 * CLOCK_NS_PER_S);
	assert_true(outfd_room(&t.out) < OUTFD_MAX);
}

static void test_terminal_dead_reader_ends_the_showing(void **state)
{
	int p[2];

	(void)state;
	log_set_hook(on_log);
	assert_int_equal(pipe(p), 0);
	open_on(slave, p[1]);
	terminal_attach(&t, &serial.stream);
	close(p[0]);
	assert_int_equal(put(&serial, "nobody"), 6);
	serve();
	assert_int_equal(put(&serial, "nobody"), 6);
	assert_int_equal(lines_logged, 1);
	close(p[1]);
}

static void test_terminal_full_pipe_calls_back_when_read(void **state)
{
	static char big[200000];
	char buf[65536];
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	open_on(-1, p[1]);
	terminal_attach(&t, &serial.stream);
	assert_int_equal(fcntl(p[1], F_GETFL) & O_NONBLOCK, 0);
	while (stream_write(&serial.stream, (uint8_t *)big, sizeof(big)) > 0) {
	}
	serve();
	assert_int_equal(serial.output_ready, 0);
	assert_true(read(p[0], buf, sizeof(buf)) > 0);
	serve();
	assert_int_equal(serial.output_ready, 1);
	close(p[0]);
	close(p[1]);
}

static void test_terminal_fast_output_calls_back_after_filling_up(void **state)
{
	static char big[2 * OUTFD_MAX];
	int null = open("/dev/null", O_WRONLY);

	(void)state;
	open_on(-1, null);
	terminal_attach(&t, &serial.stream);
	assert_int_equal(stream_write(&serial.stream, (uint8_t *)big, sizeof(big)), OUTFD_MAX);
	assert_int_equal(serial.output_ready, 0);
	serve();
	assert_int_equal(serial.output_ready, 1);
	close(null);
}

static void test_terminal_reader_that_dies_while_full_frees_the_device(void **state)
{
	static char big[200000];
	int p[2];

	(void)state;
	log_set_hook(on_log);
	assert_int_equal(pipe(p), 0);
	open_on(-1, p[1]);
	terminal_attach(&t, &serial.stream);
	while (stream_write(&serial.stream, (uint8_t *)big, sizeof(big)) > 0) {
	}
	close(p[0]);
	serve();
	assert_int_equal(serial.output_ready, 1);
	assert_int_equal(put(&serial, "x"), 1);
	close(p[1]);
}

static void test_terminal_pipe_input_is_not_lost_and_not_interpreted(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	open_on(p[0], slave);
	serial.room = 0;
	terminal_attach(&t, &serial.stream);
	assert_false(is_raw());
	assert_int_equal(write(p[1], "ls\001x\n", 5), 5);
	close(p[1]);
	serve();
	serial.room = 2;
	stream_input_ready(&serial.stream);
	serial.room = 100;
	stream_input_ready(&serial.stream);
	serve();
	assert_int_equal(serial.len, 5);
	assert_memory_equal(serial.got, "ls\001x\n", 5);
	assert_int_equal(kills, 0);
	assert_int_equal(t.in.fd, -1); /* its end was seen */
	close(p[0]);
}

static void test_terminal_file_input_is_read_to_its_end(void **state)
{
	int fd = memfd_create("input", 0);
	static char big[3 * TERMINAL_INPUT_MAX];

	(void)state;
	memset(big, 'f', sizeof(big));
	assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
	lseek(fd, 0, SEEK_SET);
	open_on(fd, slave);
	serial.room = TERMINAL_INPUT_MAX + 1;
	terminal_attach(&t, &serial.stream);
	serve();
	assert_int_equal(serial.len, TERMINAL_INPUT_MAX + 1);
	serial.room = sizeof(serial.got) - serial.len;
	stream_input_ready(&serial.stream);
	serve();
	assert_int_equal(serial.len, sizeof(big));
	assert_int_equal(t.in.fd, -1);
	close(fd);
}

static void test_terminal_socket_input_and_output(void **state)
{
	int sv[2];
	char buf[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	open_on(sv[0], sv[0]);
	terminal_attach(&t, &serial.stream);
	assert_int_equal(write(sv[1], "in", 2), 2);
	serve();
	assert_int_equal(serial.len, 2);
	put(&serial, "out");
	assert_int_equal(read(sv[1], buf, sizeof(buf)), 3);
	assert_int_equal(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0);
	close(sv[0]);
	close(sv[1]);
}

static void test_terminal_null_and_closed_descriptors_are_silence(void **state)
{
	int null = open("/dev/null", O_RDWR);

	(void)state;
	log_set_hook(on_log);
	open_on(null, null);
	terminal_attach(&t, &serial.stream);
	assert_int_equal(put(&serial, "x"), 1);
	serve();
	assert_int_equal(t.in.fd, -1);
	terminal_close(&t);
	close(null);
	open_on(null, null); /* closed now */
	terminal_attach(&t, &serial.stream);
	assert_int_equal(put(&serial, "x"), 1);
	serve();
	assert_int_equal(t.in.fd, -1);
	assert_int_equal(lines_logged, 0);
}

static void test_terminal_hang_up_ends_the_input_without_spinning(void **state)
{
	(void)state;
	log_set_hook(on_log);
	open_on_pty();
	close(master);
	serve();
	assert_int_equal(t.in.fd, -1);
	assert_int_equal(put(&serial, "x"), 1);
	serve();
	master = open("/dev/null", O_RDWR);
}

/* The shell's side of the tests below: a session of its own on the slave. */
static void become_session(void)
{
	setsid();
	assert_int_equal(ioctl(slave, TIOCSCTTY, 0), 0);
}

static void test_terminal_fatal_signal_restores_and_still_kills(void **state)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGTRAP, SIGQUIT, SIGALRM, SIGXCPU, SIGUSR2};
	const unsigned n = sizeof(signals) / sizeof(signals[0]);

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			for (unsigned k = 0; k < n; k++) {
				signal(signals[k], SIG_DFL); /* cmocka's and the sanitizers' */
			}
			open_on_pty();
			if (!is_raw()) {
				_exit(99);
			}
			raise(signals[i]);
			_exit(98);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_false(is_raw());
	}
}

static void test_terminal_stops_cooked_and_continues_raw(void **state)
{
	int status;
	pid_t child, shell;

	(void)state;
	shell = fork();
	if (shell == 0) {
		/* A parent in the same session and another group: the child's group is not
		 * orphaned. */
		become_session();
		signal(SIGTTOU, SIG_IGN);
		child = fork();
		if (child == 0) {
			sigset_t set;

			setpgid(0, 0);
			tcsetpgrp(slave, getpid());
			sigemptyset(&set);
			terminal_signals(&set);
			sigprocmask(SIG_BLOCK, &set, NULL);
			open_on_pty();
			if (!is_raw()) {
				_exit(1);
			}
			terminal_signal(&t, SIGTSTP);
			_exit(is_raw() ? 42 : 2);
		}
		if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status)) {
			_exit(3);
		}
		if (WSTOPSIG(status) != SIGTSTP || is_raw()) {
			_exit(4);
		}
		tcsetpgrp(slave, child);
		kill(child, SIGCONT);
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
			_exit(5);
		}
		_exit(WEXITSTATUS(status));
	}
	assert_int_equal(waitpid(shell, &status, 0), shell);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void test_terminal_signals_without_a_terminal(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct terminal none = {0};
		sigset_t set;

		setpgid(0, 0); /* this process's parent is in the same session: not orphaned */
		sigemptyset(&set);
		terminal_signals(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		terminal_signal(&none, SIGWINCH);
		terminal_signal(&none, SIGCONT);
		terminal_signal(&none, SIGTSTP);
		_exit(42);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGCONT);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void notice_by_signal(void)
{
	terminal_signal(&t, SIGCONT);
}

static void notice_by_key(void)
{
	type("ls\n", 3);
}

static void notice_by_output(void)
{
	put(&serial, "x");
}

static void come_to_the_foreground(void (*how_to_notice)(void))
{
	int status;
	pid_t child, shell;

	shell = fork();
	if (shell == 0) {
		become_session();
		child = fork();
		if (child == 0) {
			sigset_t set;

			setpgid(0, 0);
			sigemptyset(&set);
			terminal_signals(&set);
			sigprocmask(SIG_BLOCK, &set, NULL);
			open_on_pty();
			type("for the shell\n", 14);
			put(&serial, "x");
			if (is_raw() || serial.len > 0) {
				_exit(1);
			}
			tcsetpgrp(slave, getpid());
			how_to_notice();
			_exit(is_raw() && t.in.events == EPOLLIN ? 42 : 2);
		}
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
			_exit(5);
		}
		_exit(WEXITSTATUS(status));
	}
	assert_int_equal(waitpid(shell, &status, 0), shell);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void test_terminal_in_the_background_neither_raw_nor_read(void **state)
{
	(void)state;
	come_to_the_foreground(notice_by_signal);
}

static void test_terminal_brought_to_the_front_is_noticed_by_a_key(void **state)
{
	(void)state;
	come_to_the_foreground(notice_by_key);
}

static void test_terminal_brought_to_the_front_is_noticed_by_output(void **state)
{
	(void)state;
	come_to_the_foreground(notice_by_output);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_terminal_is_raw_from_the_first_stream_to_close),
		T(test_terminal_restore_is_idempotent),
		T(test_terminal_flags_of_shared_descriptors_stay),
		T(test_terminal_output_and_input_pass_unchanged),
		T(test_terminal_escape_commands),
		T(test_terminal_split_escape_is_one_command),
		T(test_terminal_hint_is_shown_once_before_output),
		T(test_terminal_shows_console_once_open_and_serial_after_reset),
		T(test_terminal_input_held_for_serial_goes_to_the_console),
		T(test_terminal_keys_wait_for_the_guest),
		T(test_terminal_commands_work_when_the_guest_takes_nothing),
		T(test_terminal_size_is_told_and_follows),
		T(test_terminal_messages_do_not_smear),
		T(test_terminal_stuck_output_holds_the_device_up_and_loses_nothing),
		T(test_terminal_flush_of_a_stuck_output_ends),
		T(test_terminal_dead_reader_ends_the_showing),
		T(test_terminal_full_pipe_calls_back_when_read),
		T(test_terminal_fast_output_calls_back_after_filling_up),
		T(test_terminal_reader_that_dies_while_full_frees_the_device),
		T(test_terminal_pipe_input_is_not_lost_and_not_interpreted),
		T(test_terminal_file_input_is_read_to_its_end),
		T(test_terminal_socket_input_and_output),
		T(test_terminal_null_and_closed_descriptors_are_silence),
		T(test_terminal_hang_up_ends_the_input_without_spinning),
		T(test_terminal_fatal_signal_restores_and_still_kills),
		T(test_terminal_stops_cooked_and_continues_raw),
		T(test_terminal_signals_without_a_terminal),
		T(test_terminal_in_the_background_neither_raw_nor_read),
		T(test_terminal_brought_to_the_front_is_noticed_by_a_key),
		T(test_terminal_brought_to_the_front_is_noticed_by_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
