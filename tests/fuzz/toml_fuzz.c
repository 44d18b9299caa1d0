/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any text as vm.toml. What must hold: as many mistakes are reported as counted, one line each, and a configuration
 * without mistakes can be printed and loaded again without any.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int load(struct config *cfg, const char *text, size_t len, char **report)
{
	struct config_input in = {.path = "vm.toml", .text = text, .text_len = len};
	size_t report_len;
	FILE *f = open_memstream(report, &report_len);
	int mistakes = config_load(cfg, &in, f);

	fclose(f);
	return mistakes;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

static void load_printed(const struct config *cfg)
{
	struct config again;
	char *text, *report;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	config_print(cfg, f);
	fclose(f);
	/* What a variable held or stands in for is printed as it is, and may look like one. */
	if (strstr(text, "${")) {
		free(text);
		return;
	}
	if (load(&again, text, len, &report) != 0) {
		fprintf(stderr, "%s\n%s\n", text, report);
		abort();
	}
	config_finish(&again);
	free(text);
	free(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct config cfg;
	char *report;
	int mistakes = load(&cfg, (const char *)data, len, &report);

	if (count(report, "\n") < mistakes || (mistakes > 0 && count(report, "error: ") < mistakes)) {
		fprintf(stderr, "%d mistakes: %s\n", mistakes, report);
		abort();
	}
	if (mistakes == 0) {
		load_printed(&cfg);
	}
	config_finish(&cfg);
	free(report);
	return 0;
}
