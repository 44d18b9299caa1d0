/* SPDX-License-Identifier: MIT */
#include "vmm/boot_trace.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "vmm/clock.h"

#define INIT_LINE " as init process"

static struct {
	uint64_t begin_ns;
	bool is_on;
	unsigned n; /* atomic; may be more than there is room for */
	struct mark {
		uint64_t ns;
		char text[80];
	} mark[BOOT_TRACE_MAX];
} trace;

void boot_trace_begin(void)
{
	trace.begin_ns = clock_now_ns();
}

/* What the kernel and the linker did before main is known only as processor time, which little else has been able to use. */
void boot_trace_enable(void)
{
	struct timespec t = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	/* Less what was used since main began: at most all that has passed. */
	t.tv_nsec += (long)t.tv_sec * (long)CLOCK_NS_PER_S;
	t.tv_nsec -= (long)(clock_now_ns() - trace.begin_ns);
	trace.begin_ns -= t.tv_nsec > 0 ? (uint64_t)t.tv_nsec : 0;
	trace.n = 0;
	trace.is_on = true;
}

void boot_trace_mark(const char *fmt, ...)
{
	unsigned i;
	va_list ap;

	if (!trace.is_on) {
		return;
	}
	i = __atomic_fetch_add(&trace.n, 1, __ATOMIC_RELAXED);
	if (i >= BOOT_TRACE_MAX) {
		return;
	}
	trace.mark[i].ns = clock_now_ns();
	va_start(ap, fmt);
	vsnprintf(trace.mark[i].text, sizeof(trace.mark[i].text), fmt, ap);
	va_end(ap);
}

static size_t sink_room(struct stream_sink *k)
{
	(void)k;
	return SIZE_MAX;
}

static void sink_write(struct stream_sink *sink, const uint8_t *buf, size_t len)
{
	struct boot_trace_sink *k = (struct boot_trace_sink *)((char *)sink - offsetof(struct boot_trace_sink, sink));

	if (!k->has_spoken && len > 0) {
		k->has_spoken = true;
		boot_trace_mark("guest: first words on the %s", sink->stream->name);
	}
	for (size_t i = 0; i < len && !k->has_init; i++) {
		if (buf[i] == '\n') {
			k->line[k->len] = '\0';
			k->len = 0;
			if (strstr(k->line, INIT_LINE)) {
				k->has_init = true;
				boot_trace_mark("guest: init, says the kernel on the %s", sink->stream->name);
			}
		} else if (k->len < sizeof(k->line) - 1 && buf[i] != '\0') {
			k->line[k->len++] = (char)buf[i];
		}
	}
}

void boot_trace_watch(struct boot_trace_sink *k, struct stream *s)
{
	static const struct stream_sink_ops ops = {.room = sink_room, .write = sink_write};

	if (trace.is_on) {
		*k = (struct boot_trace_sink){.len = 0};
		stream_attach(s, &k->sink, &ops);
	}
}

static void print_one(FILE *out, uint64_t ns, uint64_t before, const char *text)
{
	fprintf(out, "tinyvmm: trace boot %10.1f ms  +%-8.1f %s\n", (double)ns / CLOCK_NS_PER_MS, (double)(ns - before) / CLOCK_NS_PER_MS, text);
}

void boot_trace_print(FILE *out)
{
	const unsigned n = trace.n < BOOT_TRACE_MAX ? trace.n : BOOT_TRACE_MAX;
	uint64_t last = trace.begin_ns;

	if (!trace.is_on) {
		return;
	}
	print_one(out, 0, 0, "exec");
	/* Threads may have overtaken each other between the number and the time. */
	for (unsigned done = 0; done < n; done++) {
		unsigned next = 0;

		for (unsigned i = 1; i < n; i++) {
			next = trace.mark[i].ns < trace.mark[next].ns ? i : next;
		}
		print_one(out, trace.mark[next].ns - trace.begin_ns, last - trace.begin_ns, trace.mark[next].text);
		last = trace.mark[next].ns;
		trace.mark[next].ns = UINT64_MAX;
	}
	if (trace.n > n) {
		fprintf(out, "tinyvmm: trace boot: %u more\n", trace.n - n);
	}
	trace.is_on = false;
}
