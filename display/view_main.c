/* SPDX-License-Identifier: MIT */
/* tinyvmm-view: what its command line asks for. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "display/view_sdl.h"

static const char help[] =
	"Usage: tinyvmm-view --socket PATH | --fd N [OPTIONS]\n"
	"\n"
	"The window of a tinyvmm VM. `tinyvmm view VM` starts it for a VM that runs.\n"
	"\n"
	"      --socket PATH  the VM's viewer.sock; connects again when the VM restarts\n"
	"      --fd N         a connected descriptor instead\n"
	"      --observe      only look\n"
	"      --scale MODE   follow: the guest's size follows the window (default),\n"
	"                     fixed: the window has the guest's size,\n"
	"                     scale: the picture is scaled to the window\n"
	"      --zoom N       follow, fixed: pixels of the window for one of the guest,\n"
	"                     0.25 to 4 (default: 1)\n"
	"      --title TEXT   of the window; {name} is the VM's name (default: {name})\n"
	"      --fullscreen   start with the whole screen\n"
	"      --wait         when the VM has ended, wait for the next one at PATH;\n"
	"                     also when there is none at the start\n"
	"      --name NAME    what the title says until the VM says its own name\n"
	"  -v, --verbose      say how pictures are drawn\n"
	"  -h, --help         this text\n"
	"  -V, --version      version\n"
	"\n"
	"Keys: Ctrl+Alt+G grabs and releases keyboard and pointer, F full screen,\n"
	"M the other kind of pointer, C takes or gives up control, End Ctrl+Alt+Delete,\n"
	"P the power button.\n"
	"\n"
	"Exit code: 0 the VM has ended, 1 lost or refused, 2 usage, 3 this host lacks\n"
	"something, 4 no such VM, 5 the window was closed.\n"
	"\n"
	"Example: tinyvmm-view --socket $XDG_RUNTIME_DIR/tinyvmm/web/viewer.sock\n";

enum { OPT_SOCKET = 256, OPT_FD, OPT_OBSERVE, OPT_SCALE, OPT_ZOOM, OPT_TITLE, OPT_FULLSCREEN, OPT_WAIT, OPT_NAME };

static const struct option options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"fd", required_argument, NULL, OPT_FD},
	{"observe", no_argument, NULL, OPT_OBSERVE},
	{"scale", required_argument, NULL, OPT_SCALE},
	{"zoom", required_argument, NULL, OPT_ZOOM},
	{"title", required_argument, NULL, OPT_TITLE},
	{"fullscreen", no_argument, NULL, OPT_FULLSCREEN},
	{"wait", no_argument, NULL, OPT_WAIT},
	{"name", required_argument, NULL, OPT_NAME},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "tinyvmm-view: error: %s%s (tinyvmm-view --help)\n", what, value);
	return -EINVAL;
}

static int set_fd(struct view_options *o, const char *value)
{
	int type = 0;
	socklen_t len = sizeof(type);
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n > INT_MAX) {
		return wrong("--fd: expected the number of a descriptor, got ", value);
	}
	if (getsockopt((int)n, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
		return wrong("--fd: no connected socket of type SOCK_SEQPACKET: ", value);
	}
	o->fd = (int)n;
	return 0;
}

static int set_scale(struct view_options *o, const char *value)
{
	static const char *const names[] = {[VIEW_FOLLOW] = "follow", [VIEW_FIXED] = "fixed", [VIEW_SCALE] = "scale"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			o->scale = i;
			return 0;
		}
	}
	return wrong("--scale: expected follow, fixed or scale, got ", value);
}

static int set_zoom(struct view_options *o, const char *value)
{
	char *end;
	double n = strtod(value, &end);

	if (*value < '0' || *value > '9' || *end || !(n >= VIEW_ZOOM_MIN && n <= VIEW_ZOOM_MAX)) {
		return wrong("--zoom: expected 0.25 to 4, got ", value);
	}
	o->zoom = n;
	return 0;
}

/* What getopt_long(3) does not take: @opt, and with ':' in front of the options it tells apart what has no value. */
static int wrong_option(int opt, char **argv)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	bool is_letter = optopt > 0 && optopt < OPT_SOCKET && strncmp(argv[optind - 1], "--", 2) != 0;

	return wrong(opt == ':' ? "a value is missing: " : "unknown option, or not with a value: ", is_letter ? letter : argv[optind - 1]);
}

/* Return: 0, -EINVAL when it makes no sense, 1 when there is nothing more to do. */
static int parse(struct view_options *o, int argc, char **argv)
{
	int opt, r = 0;

	opterr = 0;
	while (r == 0 && (opt = getopt_long(argc, argv, ":vhV", options, NULL)) >= 0) {
		switch (opt) {
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case OPT_FD:
			r = set_fd(o, optarg);
			break;
		case OPT_OBSERVE:
			o->observes = true;
			break;
		case OPT_SCALE:
			r = set_scale(o, optarg);
			break;
		case OPT_ZOOM:
			r = set_zoom(o, optarg);
			break;
		case OPT_TITLE:
			o->title = optarg;
			break;
		case OPT_FULLSCREEN:
			o->fullscreen = true;
			break;
		case OPT_WAIT:
			o->waits = true;
			break;
		case OPT_NAME:
			o->name = optarg;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 1;
		case 'V':
			puts("tinyvmm-view " TINYVMM_VERSION);
			return 1;
		default:
			return wrong_option(opt, argv);
		}
	}
	if (r < 0) {
		return r;
	}
	if (optind < argc) {
		return wrong("what is this: ", argv[optind]);
	}
	if ((o->socket == NULL) == (o->fd < 0)) {
		return wrong("want --socket PATH or --fd N", "");
	}
	return o->waits && !o->socket ? wrong("--wait: only with --socket", "") : 0;
}

int main(int argc, char **argv)
{
	struct view_options o = {.fd = -1, .name = "", .zoom = 1, .title = "{name}"};
	int r = parse(&o, argc, argv), fd = o.fd;

	if (r != 0) {
		return r < 0 ? VIEW_EXIT_USAGE : VIEW_EXIT_ENDED;
	}
	if (o.socket) {
		fd = view_conn_connect(o.socket);
	}
	if (fd < 0 && !o.waits && fd != -EAGAIN) {
		fprintf(stderr, "tinyvmm-view: error: %s: %s\n", o.socket, strerror(-fd));
		return fd == -ENOENT || fd == -ECONNREFUSED ? VIEW_EXIT_NO_VM : VIEW_EXIT_FAILED;
	}
	return (int)view_sdl_run(&o, fd);
}
