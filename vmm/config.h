/* SPDX-License-Identifier: MIT */
/*
 * The configuration of one VM: what vm.toml, --set and the options of `run` come to.
 *
 * One table in config_keys.c describes every key: type, default, values, unit, one sentence. Checking, `check --print`, `help --table` (which completion
 * and the manual page's test read) and the comparison with vm.toml.example all come from it, so they cannot drift apart. A key whose feature does not exist is not in the table.
 *
 * Thread: the main thread, before vCPUs exist; read-only afterwards.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "boot/boot.h"
#include "devices/disk.h"
#include "devices/input_desc.h"

#define CONFIG_NAME_MAX 63
#define CONFIG_LIST_MAX 16 /* entries of one array of strings */
#define CONFIG_DISKS_MAX 8
#define CONFIG_DISK_NAME_MAX 20 /* bytes of a virtio-blk serial number */
#define CONFIG_DISK_KEYS 9
#define CONFIG_INPUTS_MAX 16
#define CONFIG_INPUT_KEYS 11
#define CONFIG_MATCH_KEYS 5
#define CONFIG_SCREEN_KEYS 6
#define CONFIG_SCANOUTS_MAX 16
#define CONFIG_LAYOUT_MAX 63

enum config_hugepages { HUGEPAGES_THP, HUGEPAGES_OFF, HUGEPAGES_2M, HUGEPAGES_1G };
enum config_mmio { MMIO_FAST, MMIO_STRICT };
enum config_exit_port { EXIT_PORT_OFF, EXIT_PORT_CODE, EXIT_PORT_ISA_DEBUG };
enum config_expect_exit { EXPECT_EXIT_STOP, EXPECT_EXIT_POWEROFF, EXPECT_EXIT_GUEST };
enum config_end { END_EXIT, END_RESTART }; /* on_reboot, on_panic */
enum config_disk_format { DISK_FORMAT_RAW, DISK_FORMAT_QCOW2 }; /* the second one only to say what to do about it */
enum config_display { DISPLAY_NONE, DISPLAY_SDL, DISPLAY_EGL_HEADLESS };
enum config_zero_copy { ZERO_COPY_AUTO, ZERO_COPY_ALWAYS, ZERO_COPY_NEVER };
enum config_on_close { ON_CLOSE_STOP, ON_CLOSE_DETACH };
enum config_gpu { GPU_OFF, GPU_2D, GPU_VIRGL };
enum config_console { CONSOLE_NONE, CONSOLE_STDIO, CONSOLE_FILE, CONSOLE_SOCKET };

/* An array of strings, or a single one. */
struct config_list {
	char *item[CONFIG_LIST_MAX];
	unsigned n;
};

/* Sizes of pictures; the last one counts for all that follow. */
struct config_pixels {
	unsigned n;
	struct {
		uint32_t width, height;
	} item[CONFIG_SCANOUTS_MAX];
};

#define CONFIG_REGION_MAX 16384 /* pixels, of the largest screen */
#define CONFIG_SCALE_MIN 0.25
#define CONFIG_SCALE_MAX 4.0

struct config_region {
	uint32_t x, y, w, h; /* w 0: everything */
};

/* expect.screen: what an output must show. */
struct config_screen {
	char *image; /* NULL: anything that is stable */
	struct config_region region;
	double max_diff; /* of the region's pixels may differ, 0 to 1 */
	unsigned tolerance; /* a pixel differs where a channel is off by more */
	uint64_t stable_ns; /* 0: need not be */
	unsigned scanout;
	char *origin[CONFIG_SCREEN_KEYS]; /* NULL: that of the whole */
	uint32_t wrong; /* keys about which a mistake was reported, as bits in that order; CONFIG_UNKNOWN_KEY: one that there is not */
};

#define CONFIG_UNKNOWN_KEY (1u << 31)

/* One [[disk]]. */

struct config_disk {
	char *name; /* the guest's serial number: disk0, disk1, ... unless it is said */
	char *path, *overlay_dir;
	enum config_disk_format format;
	enum disk_cache cache;
	bool readonly, ephemeral, root, discard;
	char *origin[CONFIG_DISK_KEYS]; /* as struct config's, in the order of the table's keys */
	uint32_t wrong; /* as above */
};

/* input.match: what a device of the host must be like; NULL and 0 do not matter. */
struct config_match {
	char *name, *uniq, *phys;
	unsigned vendor, product;
	char *origin[CONFIG_MATCH_KEYS];
	uint32_t wrong;
};

/* One [[input]]. What is below name goes with the type "evdev" only. */
struct config_input_device {
	enum input_kind type;
	char *name; /* what requests call it: keyboard0, keyboard1, mouse0, ... unless it is said */
	char *layout; /* of a keyboard, as the guest has it: LAYOUT or LAYOUT(VARIANT) */
	char *path;
	unsigned fd; /* inherited; 0: none */
	struct config_match *match;
	bool grab, wait;
	char *toggle; /* a chord that evdev_chord_parse understands */
	struct config_list reserve; /* names of keys that exist */
	char *description;
	char *origin[CONFIG_INPUT_KEYS];
	uint32_t wrong;
};

struct config {
	struct {
		char *name;
		unsigned cpus;
		uint64_t memory; /* bytes */
		enum config_hugepages hugepages;
		enum config_exit_port exit_port;
		enum config_mmio mmio;
		enum config_end on_reboot, on_panic;
		uint64_t stop_grace_ns;
	} machine;
	struct {
		char *kernel; /* absolute, or relative to the working directory */
		struct config_list initrd; /* at most BOOT_INITRDS_MAX */
		char *cmdline;
		bool auto_cmdline, kaslr;
	} boot;
	struct {
		enum config_console type;
		char *path; /* console.log: the file for CONSOLE_FILE, or a copy of the output besides stdio; NULL: none */
		uint8_t escape; /* the control character that starts a command: 1 for ctrl-a */
	} console;
	struct {
		enum config_console type;
		char *path; /* serial.log */
	} serial;
	struct {
		bool enable;
	} rng;
	struct {
		enum config_gpu mode;
		struct config_pixels size;
		unsigned refresh, scanouts; /* refresh in Hz */
		uint64_t max_host_memory; /* bytes */
		bool blob;
		char *render_node; /* GPU_VIRGL: as gpu_egl.h has it */
		bool fallback;
	} gpu;
	struct {
		enum config_display type;
		bool by_default; /* the window: nobody has asked for it, so that it is no mistake when there can be none */
		bool fullscreen, resize;
		bool dmabuf; /* offered to viewers */
		enum config_zero_copy zero_copy;
		char *title; /* "{name}" is the VM's */
		double scale; /* pixels of the window for one of the guest; 0: without resize, as many as fit */
		enum config_on_close on_close;
		char *socket; /* NULL: viewer.sock in the run folder */
		struct config_list allow; /* "uid:NUMBER" */
	} display;
	struct {
		uint64_t timeout_ns;
		struct config_list console, fail; /* extended regular expressions that compile */
		char *ready;
		bool builtin_fail;
		enum config_expect_exit exit;
		struct config_screen *screen; /* NULL: nothing is expected */
		uint64_t first_frame_ns; /* 0: no matter */
	} expect;
	struct config_disk disk[CONFIG_DISKS_MAX];
	unsigned ndisks;
	struct config_input_device input[CONFIG_INPUTS_MAX];
	unsigned ninputs;
	char **origins; /* where each key's value came from, in the order of config_keys.c: "vm.toml:7:10", "--set ...", "default" */
};

/* One source of values, in the order they apply: later ones win. */
struct config_input {
	const char *path; /* shown in messages and base of relative paths; NULL for none. "-": text is standard input, paths relative to the working directory */
	const char *text; /* NULL: read the file at path */
	size_t text_len;
	const char *const *sets; /* "key=value" of --set and of the run options, in order */
	unsigned nsets;
	bool ephemeral; /* all disks are, those of sets too */
	bool headless; /* no window, whatever the rest says */
	uint64_t timeout_ns; /* holds in place of expect.timeout; 0: none does */
};

/**
 * config_load - read, merge, check
 * @cfg: filled with the effective configuration; config_finish it also after a failure
 * @report: gets every mistake, one line each, `file:line:column: error: ...` for files and `--set KEY=VALUE: error: ...` for options; and warnings
 *
 * Checks what can be known from the text alone (types, ranges, names, unset variables), not whether files exist.
 * Return: 0, or the number of mistakes.
 */
int config_load(struct config *cfg, const struct config_input *in, FILE *report);
void config_finish(struct config *cfg); /* accepts zeroed memory */

/* The display has no window, also where one was asked for or is what happens by default. One without a window stays as it is. */
void config_no_window(struct config *cfg);

/* Where the value of @key ("boot.kernel", "disk.0.path", "expect.screen.image") came from, for mistakes that are found later. */
const char *config_where(const struct config *cfg, const char *key);

/* Whether @text may name a layout; not whether there is one. */
bool config_is_layout(const char *text);

/* "keyboard", as vm.toml calls it. */
const char *config_input_kind(enum input_kind kind);

/* "sdl", as vm.toml calls it. */
const char *config_display_name(enum config_display type);

/* How a disk is to be opened; without a loop yet. */
struct disk_options config_disk_options(const struct config_disk *d);

/* The effective configuration as TOML, each value followed by a comment that says where it came from. */
void config_print(const struct config *cfg, FILE *out);

/*
 * Every key, for programs, in the form of options_print_table: `key  TABLE.NAME  DEFAULT  VALUES  HELP`, or
 * TABLE.N.NAME for a table that may come any number of times. DEFAULT is as vm.toml would say it;
 * VALUES, with spaces between them, are all the key can be.
 */
void config_print_keys(FILE *out);

#endif
