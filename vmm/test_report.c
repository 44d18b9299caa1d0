/* SPDX-License-Identifier: MIT */
#include "vmm/test_report.h"

#include <string.h>

#include "vmm/clock.h"

static double seconds(uint64_t ns)
{
	return (double)ns / (double)CLOCK_NS_PER_S;
}

/* The first @n bytes of @text, on one line, without what a terminal would act on (C0, and C1 as UTF-8 has it). */
static void print_clean(const char *text, size_t n, FILE *out)
{
	const unsigned char *c = (const unsigned char *)text;

	for (size_t i = 0; i < n && c[i]; i++) {
		bool is_c1 = c[i] == 0xc2 && i + 1 < n && c[i + 1] >= 0x80 && c[i + 1] < 0xa0;

		fputc((c[i] < ' ' && c[i] != '\t') || c[i] == 0x7f || is_c1 ? '?' : c[i], out);
		i += is_c1;
	}
}

/* TAP takes what follows a # for a directive: a file's name must not skip its own test. */
static void print_tap_name(const char *name, FILE *out)
{
	while (*name) {
		size_t n = strcspn(name, "#");

		print_clean(name, n, out);
		name += n;
		if (*name) {
			fputs("\\#", out);
			name++;
		}
	}
}

/* Each line of @text after @prefix. */
static void print_lines(const char *text, const char *prefix, FILE *out)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		fputs(prefix, out);
		print_clean(text, n, out);
		fputc('\n', out);
		text += n + (text[n] == '\n');
	}
}

static void print_why(const struct test_case *c, FILE *out)
{
	fprintf(out, "%s%s", c->reason, c->reason[0] && c->text[0] ? ": " : "");
	print_clean(c->text, sizeof(c->text), out);
	fputc('\n', out);
}

void test_report_case(const struct test_case *c, unsigned n, bool tap, FILE *out)
{
	static const char *const words[] = {[TEST_PASSED] = "ok", [TEST_FAILED] = "FAIL", [TEST_SKIPPED] = "skip"};

	if (tap) {
		fprintf(out, "%sok %u - ", c->state == TEST_FAILED ? "not " : "", n);
		print_tap_name(c->name, out);
		fputs(c->state == TEST_PASSED ? "\n" : c->state == TEST_FAILED ? "\n# " : " # SKIP ", out);
	} else {
		fprintf(out, "%-4s ", words[c->state]);
		print_clean(c->name, sizeof(c->name), out);
		fprintf(out, " (%.1f s)%s", seconds(c->took_ns), c->state == TEST_PASSED ? "\n" : ": ");
	}
	if (c->state != TEST_PASSED) {
		print_why(c, out);
	}
	if (c->state == TEST_FAILED && c->tail) {
		print_lines(c->tail, tap ? "# | " : "     | ", out);
	}
	fflush(out);
}

/* XML 1.0 has no place for most control characters, in no spelling; what is no ASCII may be no UTF-8. */
static void print_xml(const char *text, FILE *out)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		switch (*c) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*c == '\n' || *c == '\t' || (*c >= ' ' && *c < 0x7f) ? *c : '?', out);
			break;
		}
	}
}

static void print_case(const struct test_case *c, FILE *out)
{
	fputs("  <testcase classname=\"tinyvmm\" name=\"", out);
	print_xml(c->name, out);
	fprintf(out, "\" time=\"%.3f\">\n", seconds(c->took_ns));
	if (c->state == TEST_FAILED) {
		fputs("    <failure type=\"", out);
		print_xml(c->reason, out);
		fputs("\" message=\"", out);
		print_xml(c->text[0] ? c->text : c->reason, out);
		fputs("\">", out);
		print_xml(c->tail ? c->tail : "", out);
		fputs("</failure>\n", out);
	} else if (c->state != TEST_PASSED) {
		fputs("    <skipped/>\n", out);
	}
	fputs("  </testcase>\n", out);
}

bool test_report_junit(const struct test_case *cases, unsigned n, uint64_t took_ns, FILE *out)
{
	unsigned failed = 0, skipped = 0;

	for (unsigned i = 0; i < n; i++) {
		failed += cases[i].state == TEST_FAILED;
		skipped += cases[i].state != TEST_FAILED && cases[i].state != TEST_PASSED;
	}
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", out);
	fprintf(out, "<testsuites>\n <testsuite name=\"tinyvmm\" tests=\"%u\" failures=\"%u\" errors=\"0\" skipped=\"%u\" time=\"%.3f\">\n", n, failed,
		skipped, seconds(took_ns));
	for (unsigned i = 0; i < n; i++) {
		print_case(&cases[i], out);
	}
	fputs(" </testsuite>\n</testsuites>\n", out);
	return fflush(out) == 0 && !ferror(out);
}
