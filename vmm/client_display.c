/* SPDX-License-Identifier: MIT */
/* `tinyvmm display`: a VM's outputs, and changing them. */
#include <stdio.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/result.h"

static void print_output(const json_t *output)
{
	int scanout, enabled, width, height, refresh, shown_width, shown_height;
	char size[32], shown[32] = "nothing";

	if (json_unpack((json_t *)(uintptr_t)output, "{s:i, s:b, s:i, s:i, s:i, s:i, s:i}", "scanout", &scanout, "enabled", &enabled, "width", &width, "height",
		&height, "refresh", &refresh, "shown_width", &shown_width, "shown_height", &shown_height) < 0) {
		return;
	}
	snprintf(size, sizeof(size), "%dx%d", width, height);
	if (shown_width) {
		snprintf(shown, sizeof(shown), "%dx%d", shown_width, shown_height);
	}
	printf("%-7d %-9s %-12s %4d Hz %s\n", scanout, enabled ? "plugged" : "unplugged", size, refresh, shown);
}

static json_t *display_request(const struct options *o)
{
	json_t *request = json_pack("{s:s, s:i}", "do", "display", "scanout", (int)o->scanout);

	if (o->width) {
		json_object_set_new(request, "width", json_integer(o->width));
		json_object_set_new(request, "height", json_integer(o->height));
	}
	if (o->refresh) {
		json_object_set_new(request, "refresh", json_integer(o->refresh));
	}
	if (o->plug || o->unplug) {
		json_object_set_new(request, "enabled", json_boolean(o->plug));
	}
	return request;
}

int client_display(const struct options *o)
{
	const json_t *outputs;
	struct client_link l;
	struct rundir rd;
	json_t *answer;
	int code = client_link_open(&l, o->files[0], &rd);

	if (code != EXIT_OK) {
		return code;
	}
	answer = client_ask(&l, display_request(o), CLIENT_PATIENCE_MS);
	code = client_judge(answer, o->files[0]);
	outputs = json_object_get(answer, "outputs");
	if (code == EXIT_OK && !o->json) {
		printf("SCANOUT STATE     SIZE         REFRESH SHOWS\n");
	}
	for (size_t i = 0; code == EXIT_OK && i < json_array_size(outputs); i++) {
		if (o->json) {
			json_dumpf(json_array_get(outputs, i), stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_output(json_array_get(outputs, i));
		}
	}
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}
