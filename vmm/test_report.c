/* SPDX-License-Identifier: MIT */
#include "vmm/test_report.h"

#include <string.h>

#include "vmm/clock.h"

static double seconds(uint64_t ns)
{
	return (double)ns / (double)CLOCK_NS_PER_S;
}

/* Each line of @text after @prefix. */
static void print_lines(const char *text, const char *prefix, FILE *out)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		fprintf(out, "%s%.*s\n", prefix, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

void test_report_case(const struct test_case *c, unsigned n, bool tap, FILE *out)
{
	static const char *const words[] = {[TEST_PASSED] = "ok", [TEST_FAILED] = "FAIL", [TEST_SKIPPED] = "skip"};

	if (!tap) {
		fprintf(out, "%-4s %s (%.1f s)%s%s%s%s\n", words[c->state], c->name, seconds(c->took_ns), c->state == TEST_PASSED ? "" : ": ",
			c->state == TEST_PASSED ? "" : c->reason, c->state != TEST_PASSED && c->text[0] ? ": " : "",
			c->state == TEST_PASSED ? "" : c->text);
	} else if (c->state == TEST_SKIPPED) {
		fprintf(out, "ok %u - %s # SKIP %s\n", n, c->name, c->text);
	} else {
		fprintf(out, "%sok %u - %s\n", c->state == TEST_PASSED ? "" : "not ", n, c->name);
		if (c->state == TEST_FAILED) {
			fprintf(out, "# %s%s%s\n", c->reason, c->text[0] ? ": " : "", c->text);
		}
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
