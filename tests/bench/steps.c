/* SPDX-License-Identifier: MIT */
/*
 * steps PID: counts the instructions that a monitor's main thread takes from a wake to the interrupt it gives its guest, by executing them one at a time (ptrace). What the kernel does in a system
 * call is none of them. An instruction that repeats itself (rep stos, rep movs) is one, however much it fills or copies. So is reading the clock, which is not stepped through: the kernel's vdso begins anew
 * when a tick comes meanwhile, and in steps that is each time, for ever. For each line on standard input:
 *
 *   "armed"                     the thread sleeps: whatever wakes it now begins the count, so this is when to send the event
 *   "busy N NUMBER:TIMES ..."   it has not slept for a minute: nothing is counted. What it did in N instructions: which system calls, how often each
 *   "steps N CALLS"             N instructions later, CALLS of them system calls, the interrupt was given: a write of 8 bytes to an eventfd, or one of KVM's ioctls for it. Had it gone back to sleep for 30
 *                               milliseconds before that, what woke it was something else, and the count began anew
 *   "none"                      it sleeps again, for five seconds, and has given no interrupt
 *
 * The end of its input ends it; the thread goes on as before.
 */
#include <err.h>
#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEEN_SIZE 65536 /* a power of two; more instructions than a monitor has on this way */
#define SYSCALL_OPCODE 0x050fu
#define REPEAT_MAX (1u << 20) /* bytes */
#define EFLAGS_DF 0x400u
#define ASLEEP_MS 30 /* in a call that waits for events for this long: nothing else is to be done */
#define NONE_MS 5000
#define BUSY_MS 60000
#define REST_MS 500
#define CALLS_MAX 512u /* numbers of system calls */

static pid_t pid;
static bool is_under_way; /* a step, in a call that takes its time */
static uint64_t last_rip; /* where it stands; 0: to be asked for */
static uint64_t vdso, vdso_end; /* in the monitor */

enum kind { PLAIN, CALL, MOVS, STOS };

/* What is at an address: looked up once each. */
static struct seen {
	uint64_t rip;
	enum kind kind;
	unsigned len, unit; /* of MOVS and STOS: bytes of the instruction, and that it handles at once */
} seen[SEEN_SIZE];

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void decode(struct seen *s)
{
	uint64_t text = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, s->rip, NULL);
	bool is_wide = (text >> 8 & 0xff) == 0x48; /* REX.W */
	uint8_t opcode = (uint8_t)(text >> (is_wide ? 16 : 8));

	if ((text & 0xffff) == SYSCALL_OPCODE) {
		s->kind = CALL;
	} else if ((text & 0xff) == 0xf3 && ((opcode & 0xfe) == 0xa4 || (opcode & 0xfe) == 0xaa)) {
		s->kind = (opcode & 0xfe) == 0xa4 ? MOVS : STOS;
		s->len = is_wide ? 3 : 2;
		s->unit = opcode & 1 ? (is_wide ? 8 : 4) : 1;
	}
}

static const struct seen *look(uint64_t rip)
{
	unsigned i = (unsigned)(rip * 0x9e3779b97f4a7c15ull >> 48) % SEEN_SIZE;

	while (seen[i].rip && seen[i].rip != rip) {
		i = (i + 1) % SEEN_SIZE;
	}
	if (!seen[i].rip) {
		seen[i].rip = rip;
		decode(&seen[i]);
	}
	return &seen[i];
}

static uint64_t get_rip(void)
{
	if (!last_rip) {
		last_rip = (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);
	}
	return last_rip;
}

/* @len bytes of the monitor's memory. */
static bool read_memory(void *to, uint64_t from, size_t len)
{
	struct iovec here = {to, len}, there = {(void *)(uintptr_t)from, len};

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static bool write_memory(uint64_t to, const void *from, size_t len)
{
	struct iovec here = {(void *)(uintptr_t)from, len}, there = {(void *)(uintptr_t)to, len};

	return process_vm_writev(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/* Does what the repeating instruction @s does, which is stepped through turn by turn otherwise: a monitor that clears its stack takes tens of thousands of them. Return: false when it is to be stepped. */
static bool repeat(const struct seen *s)
{
	static uint8_t bytes[REPEAT_MAX];
	struct user_regs_struct r;
	uint64_t len;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) < 0 || r.rcx > REPEAT_MAX / s->unit || (r.eflags & EFLAGS_DF)) {
		return false;
	}
	len = r.rcx * s->unit;
	if (s->kind == MOVS) {
		/* What has been copied may be to be copied again. */
		if ((r.rdi > r.rsi && r.rdi - r.rsi < len) || !read_memory(bytes, r.rsi, len)) {
			return false;
		}
		r.rsi += len;
	} else {
		for (uint64_t i = 0; i < len; i++) {
			bytes[i] = (uint8_t)(r.rax >> i % s->unit * 8);
		}
	}
	if (!write_memory(r.rdi, bytes, len)) {
		return false;
	}
	r.rdi += len;
	r.rcx = 0;
	r.rip += s->len;
	last_rip = r.rip;
	return ptrace(PTRACE_SETREGS, pid, NULL, &r) == 0;
}

static void find_vdso(void)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
			vdso = from;
			vdso_end = to;
		}
	}
	if (f) {
		fclose(f);
	}
}

static bool is_in_vdso(void)
{
	return get_rip() >= vdso && get_rip() < vdso_end;
}

static void set_debug_register(unsigned i, uint64_t value)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + i * sizeof(long), value) < 0) {
		err(1, "PTRACE_POKEUSER");
	}
}

/* Out of a function of the vdso that has just been called, at its own pace. Only this thread stops at the breakpoint. */
static void leave_vdso(void)
{
	uint64_t rsp = (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rsp), NULL), back;
	int status;

	if (!read_memory(&back, rsp, sizeof(back))) {
		errx(1, "the stack cannot be read");
	}
	set_debug_register(0, back);
	set_debug_register(7, 1);
	if (ptrace(PTRACE_CONT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) {
		errx(1, "the monitor has ended");
	}
	set_debug_register(7, 0);
	last_rip = 0;
}

static bool is_eventfd(uint64_t fd)
{
	char path[64], name[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0) {
		return false;
	}
	name[n] = '\0';
	return strstr(name, "[eventfd]");
}

/* @eventfds: an interrupt is one of those, too. Others wake threads with them. */
static bool is_interrupt(const struct user_regs_struct *r, bool eventfds)
{
	if (r->rax == SYS_ioctl) {
		return (uint32_t)r->rsi == KVM_IRQ_LINE || (uint32_t)r->rsi == KVM_IRQ_LINE_STATUS || (uint32_t)r->rsi == KVM_SIGNAL_MSI;
	}
	return eventfds && r->rax == SYS_write && r->rdx == sizeof(uint64_t) && is_eventfd(r->rdi);
}

static bool is_wait(const struct user_regs_struct *r)
{
	return r->rax == SYS_epoll_wait || r->rax == SYS_epoll_pwait || r->rax == SYS_ppoll || r->rax == SYS_poll;
}

/* One instruction, or one turn of one. Return: false when it takes more than @ms, and goes on; -1: however long it takes. */
static bool step(int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms;
	const struct seen *at = is_under_way ? NULL : look(get_rip());
	int status;
	pid_t r;

	if (at && (at->kind == MOVS || at->kind == STOS) && repeat(at)) {
		return true;
	}
	if (at && is_in_vdso()) {
		leave_vdso();
		return true;
	}
	if (!is_under_way && ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0) {
		err(1, "PTRACE_SINGLESTEP");
	}
	is_under_way = true;
	last_rip = 0;
	/* Looking again and again would take the processor that it needs. */
	while ((r = waitpid(pid, &status, __WALL | (ms < 0 ? 0 : WNOHANG))) == 0) {
		if (now_ms() >= end) {
			return false;
		}
		poll(NULL, 0, 1);
	}
	if (r < 0 || !WIFSTOPPED(status)) {
		errx(1, "the monitor has ended");
	}
	is_under_way = false;
	return true;
}

static bool is_at_call(struct user_regs_struct *regs)
{
	return look(get_rip())->kind == CALL && ptrace(PTRACE_GETREGS, pid, NULL, regs) == 0;
}

/* Stops it wherever it is. */
static void stop(void)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid) {
		err(1, "PTRACE_INTERRUPT");
	}
	is_under_way = false;
	last_rip = 0;
}

static void say_busy(uint64_t steps, const unsigned times[CALLS_MAX])
{
	printf("busy %llu", (unsigned long long)steps);
	for (unsigned call = 0; call < CALLS_MAX; call++) {
		if (times[call]) {
			printf(" %u:%u", call, times[call]);
		}
	}
	printf("\n");
}

/* Lets it do what is to be done, at its own pace, and then stops it in a wait that is long enough. Return: false when it has no end of things to do, which is said. */
static bool arm(void)
{
	unsigned times[CALLS_MAX] = {0};
	struct user_regs_struct regs;
	uint64_t end = now_ms() + BUSY_MS, steps = 0;

	if (is_under_way) {
		stop();
	}
	do {
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		poll(NULL, 0, REST_MS);
		stop();
	} while (is_in_vdso());
	while (now_ms() < end) {
		bool is_one = is_at_call(&regs);
		bool waits = is_one && is_wait(&regs);

		if (!step(waits ? ASLEEP_MS : -1)) {
			return true;
		}
		steps++;
		if (is_one && regs.rax < CALLS_MAX) {
			times[regs.rax]++;
		}
	}
	say_busy(steps, times);
	return false;
}

static void count(bool eventfds)
{
	struct user_regs_struct regs;
	uint64_t steps = 0, calls = 0;

	if (!step(NONE_MS)) {
		puts("none");
		return;
	}
	for (;;) {
		uint64_t rip = get_rip();
		bool is_one = is_at_call(&regs);
		bool waits = is_one && is_wait(&regs), done = is_one && is_interrupt(&regs, eventfds);

		if (!step(waits ? ASLEEP_MS : -1)) {
			if (!step(NONE_MS)) {
				puts("none");
				return;
			}
			steps = 0;
			calls = 0;
			continue;
		}
		steps += is_one || get_rip() != rip;
		calls += is_one;
		if (done) {
			printf("steps %llu %llu\n", (unsigned long long)steps, (unsigned long long)calls);
			return;
		}
	}
}

int main(int argc, char **argv)
{
	char line[16];
	int status;
	bool eventfds = argc == 3 && strcmp(argv[2], "eventfd") == 0;

	if (argc != 3) {
		errx(2, "usage: steps PID eventfd|ioctl");
	}
	pid = atoi(argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid) {
		err(1, "%s", argv[1]);
	}
	find_vdso();
	while (fgets(line, sizeof(line), stdin)) {
		if (!arm()) {
			continue;
		}
		puts("armed");
		count(eventfds);
	}
	/* Out of a step that sleeps, too: whoever is left in one is killed by its end. */
	if (is_under_way) {
		stop();
	}
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return 0;
}
