/* SPDX-License-Identifier: MIT */
/* `tinyvmm view`: a window for a VM that runs. */
#include <stdio.h>
#include <string.h>

#include "vmm/client.h"
#include "vmm/client_priv.h"
#include "vmm/log.h"
#include "vmm/result.h"
#include "vmm/view_start.h"

/* Where the VM's viewers connect. Return: EXIT_OK, or another exit code (said). */
static int find_socket(const char *name, char *path, size_t len)
{
	const char *display = "off", *where = "";
	struct rundir rd;
	struct client_link l;
	json_t *answer;
	int code = client_link_open(&l, name, &rd);

	if (code != EXIT_OK) {
		return code;
	}
	answer = client_ask(&l, json_pack("{s:s}", "do", "status"), CLIENT_PATIENCE_MS);
	code = client_judge(answer, name);
	if (code == EXIT_OK) {
		json_unpack(answer, "{s:s, s:s}", "display", &display, "viewer_socket", &where);
		snprintf(path, len, "%s", where);
		if (strcmp(display, "off") == 0) {
			log_msg(LOG_ERR, "%s: the VM has no display: gpu.mode is \"off\"", name);
			code = EXIT_FAILED;
		} else if (!path[0]) {
			log_msg(LOG_ERR, "%s: the VM has no viewer socket", name);
			code = EXIT_FAILED;
		}
	}
	json_decref(answer);
	client_link_close(&l, &rd);
	return code;
}

int client_view(const struct options *o)
{
	char path[128];
	struct view_start_how how = o->view;
	int code = find_socket(o->files[0], path, sizeof(path));

	if (code != EXIT_OK) {
		return code;
	}
	if (!view_start_can_open()) {
		log_msg(LOG_ERR, "view: this host has no display: neither DISPLAY nor WAYLAND_DISPLAY is set");
		return EXIT_HOST;
	}
	how.verbose = o->verbose > 0;
	return view_start_attach(path, o->files[0], &how);
}
