/* SPDX-License-Identifier: MIT */
#include "vmm/config_keys.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "boot/x86_layout.h"
#include "vmm/clock.h"
#include "vmm/pattern.h"

#define MIB ((uint64_t)1 << 20)
#define PATH_LEN_MAX 4095
#define REGEX_LEN_MAX 1023

static_assert(CONFIG_LIST_MAX <= BOOT_INITRDS_MAX, "every initrd that can be configured can be loaded");

static const char *const hugepages_values[] = {"thp", "off", "2M", "1G", NULL};
static const char *const exit_port_values[] = {"off", "code", "isa-debug", NULL};
static const char *const mmio_values[] = {"fast", "strict", NULL};
static const char *const end_values[] = {"exit", "restart", NULL};
static const char *const console_values[] = {"none", "stdio", "file", "socket", NULL};
static const char *const serial_values[] = {"off", "stdio", "file", "socket", NULL};

/* As enum config_gpu. */
static const char *const gpu_values[] = {"off", "2d", "virgl", NULL};

/* As enum config_display, config_on_close and config_zero_copy. */
static const char *const display_values[] = {"none", "sdl", "egl-headless", NULL};
static const char *const on_close_values[] = {"stop", "detach", NULL};
static const char *const zero_copy_values[] = {"auto", "always", "never", NULL};

static const char *const format_values[] = {"raw", "qcow2", NULL};
static const char *const cache_values[] = {"writeback", "direct", "unsafe", NULL};

/* As enum input_kind. */
static const char *const input_values[] = {"keyboard", "mouse", "tablet", "multitouch", "evdev", NULL};

static const char *const expect_exit_values[] = {"stop", "poweroff", "guest", NULL};

#define AT(member) offsetof(struct config, member)
#define IN_DISK(member) offsetof(struct config_disk, member)
#define IN_INPUT(member) offsetof(struct config_input_device, member)

#define IN_MATCH(member) offsetof(struct config_match, member)
static const struct config_key match_keys[] = {
	{"input.match", "name", CONFIG_STRING, IN_MATCH(name), NULL, NULL, 1, REGEX_LEN_MAX, "Shell pattern."},
	{"input.match", "uniq", CONFIG_STRING, IN_MATCH(uniq), NULL, NULL, 1, REGEX_LEN_MAX, "Shell pattern."},
	{"input.match", "phys", CONFIG_STRING, IN_MATCH(phys), NULL, NULL, 1, REGEX_LEN_MAX, "Shell pattern."},
	{"input.match", "vendor", CONFIG_COUNT, IN_MATCH(vendor), NULL, NULL, 1, 0xffff, "Number."},
	{"input.match", "product", CONFIG_COUNT, IN_MATCH(product), NULL, NULL, 1, 0xffff, "Number."},
};
#define IN_SCREEN(member) offsetof(struct config_screen, member)
static const struct config_key screen_keys[] = {
	{"expect.screen", "image", CONFIG_PATH, IN_SCREEN(image), NULL, NULL, 1, PATH_LEN_MAX, "PNG."},
	{"expect.screen", "region", CONFIG_REGION, IN_SCREEN(region), NULL, NULL, 0, 0, "What of it counts."},
	{"expect.screen", "max_diff", CONFIG_FRACTION, IN_SCREEN(max_diff), NULL, NULL, 0, 0, "How many pixels of the region may differ."},
	{"expect.screen", "tolerance", CONFIG_COUNT, IN_SCREEN(tolerance), NULL, NULL, 0, 255, "How far a channel may be off before its pixel differs."},
	{"expect.screen", "stable", CONFIG_TIME, IN_SCREEN(stable_ns), NULL, NULL, CLOCK_NS_PER_MS, 0, "How long nothing of it must change."},
	{"expect.screen", "scanout", CONFIG_COUNT, IN_SCREEN(scanout), NULL, NULL, 0, CONFIG_SCANOUTS_MAX - 1, "Which output."},
};
_Static_assert(sizeof(match_keys) / sizeof(match_keys[0]) == CONFIG_MATCH_KEYS, "an origin for each");
_Static_assert(sizeof(screen_keys) / sizeof(screen_keys[0]) == CONFIG_SCREEN_KEYS, "an origin for each");
static const struct config_fields match_fields = {match_keys, CONFIG_MATCH_KEYS, sizeof(struct config_match), IN_MATCH(origin), IN_MATCH(wrong)};
static const struct config_fields screen_fields = {screen_keys, CONFIG_SCREEN_KEYS, sizeof(struct config_screen), IN_SCREEN(origin), IN_SCREEN(wrong)};

const struct config_key config_keys[] = {
	{"machine", "name", CONFIG_NAME, AT(machine.name), NULL, NULL, 1, CONFIG_NAME_MAX,
		"What the VM is called; default: the file's directory, or the file's name when that is not vm.toml."},
	{"machine", "cpus", CONFIG_COUNT, AT(machine.cpus), "1", NULL, 1, X86_CPUS_MAX, "Virtual CPUs."},
	{"machine", "memory", CONFIG_SIZE, AT(machine.memory), "512M", NULL, 16 * MIB, (uint64_t)1 << 44, "Guest memory, binary units."},
	{"machine", "hugepages", CONFIG_ENUM, AT(machine.hugepages), "thp", hugepages_values, 0, 0,
		"Pages behind guest memory: transparent huge pages, small ones, or pages from the kernel's pool."},
	{"machine", "exit_port", CONFIG_ENUM, AT(machine.exit_port), "off", exit_port_values, 0, 0,
		"I/O port 0xf4 ends the VM: the byte written is the exit code, or (isa-debug) twice the byte plus 1."},
	{"machine", "mmio", CONFIG_ENUM, AT(machine.mmio), "fast", mmio_values, 0, 0,
		"Registers of virtio devices: read by the guest as memory, or (strict) each access is an exit, slower and with the same result."},
	{"machine", "on_reboot", CONFIG_ENUM, AT(machine.on_reboot), "restart", end_values, 0, 0,
		"When the guest resets: end with exit code 10, or start it again."},
	{"machine", "on_panic", CONFIG_ENUM, AT(machine.on_panic), "exit", end_values, 0, 0,
		"When the guest panics: end with exit code 11, or start it again."},
	{"machine", "stop_grace", CONFIG_TIME, AT(machine.stop_grace_ns), "20s", NULL, 0, 0,
		"How long the guest may take to power off after the power button; \"0s\" kills at once."},
	{"boot", "kernel", CONFIG_PATH, AT(boot.kernel), NULL, NULL, 1, PATH_LEN_MAX,
		"bzImage, or ELF with a PVH note or a Multiboot header. Required."},
	{"boot", "initrd", CONFIG_PATHS, AT(boot.initrd), NULL, NULL, 1, PATH_LEN_MAX,
		"One file or an array of files, loaded one after another (Multiboot: the modules)."},
	{"boot", "cmdline", CONFIG_STRING, AT(boot.cmdline), "", NULL, 0, X86_CMDLINE_MAX, "Kernel command line."},
	{"boot", "auto_cmdline", CONFIG_BOOL, AT(boot.auto_cmdline), "true", NULL, 0, 0,
		"Append what is missing: console= for each console, root= for the root disk, pci=off, panic=-1."},
	{"boot", "kaslr", CONFIG_BOOL, AT(boot.kaslr), "true", NULL, 0, 0,
		"Move a kernel that the host has unpacked to somewhere at random, as it would itself; false: as with nokaslr."},
	{"console", "type", CONFIG_ENUM, AT(console.type), "stdio", console_values, 0, 0,
		"virtio-console (hvc0): on standard input and output, only in a file, only on the console socket, or absent."},
	{"console", "log", CONFIG_PATH, AT(console.path), NULL, NULL, 1, PATH_LEN_MAX, "File that gets a copy of the console's output."},
	{"console", "escape", CONFIG_CONTROL, AT(console.escape), "ctrl-a", NULL, 0, 0,
		"Key that starts a command on a terminal: ctrl-a to ctrl-z, or ctrl- and one of \\ ] ^ _"},
	{"serial", "type", CONFIG_ENUM, AT(serial.type), "off", serial_values, 0, 0,
		"16550 serial port (ttyS0): for early messages; every byte costs an exit."},
	{"serial", "log", CONFIG_PATH, AT(serial.path), NULL, NULL, 1, PATH_LEN_MAX, "File that gets a copy of the serial port's output."},
	{"rng", "enable", CONFIG_BOOL, AT(rng.enable), "true", NULL, 0, 0, "virtio-rng: random numbers from the host."},
	{"gpu", "mode", CONFIG_ENUM, AT(gpu.mode), "off", gpu_values, 0, 0,
		"virtio-gpu: no display, one without acceleration, or with OpenGL (virgl). With it a keyboard and a tablet are there when no [[input]] is."},
	{"gpu", "render_node", CONFIG_STRING, AT(gpu.render_node), "auto", NULL, 1, 63,
		"For virgl, what draws: auto, a path such as /dev/dri/renderD128, a kernel driver's name, or surfaceless: the processor."},
	{"gpu", "fallback", CONFIG_BOOL, AT(gpu.fallback), "false", NULL, 0, 0, "Where virgl cannot be, take 2d instead of failing."},
	{"gpu", "size", CONFIG_PIXELS, AT(gpu.size), "1280x800", NULL, 64, 16384,
		"Preferred size in pixels; an array says one for each output, and its last one counts for the rest."},
	{"gpu", "refresh", CONFIG_COUNT, AT(gpu.refresh), "60", NULL, 1, 360, "Pictures a second the guest is told the display shows."},
	{"gpu", "scanouts", CONFIG_COUNT, AT(gpu.scanouts), "1", NULL, 1, CONFIG_SCANOUTS_MAX, "Outputs: monitors the guest can use."},
	{"gpu", "max_host_memory", CONFIG_SIZE, AT(gpu.max_host_memory), "256M", NULL, 16 * MIB, (uint64_t)1 << 36,
		"Host memory the guest's pictures may take, and what it draws with."},
	{"gpu", "blob", CONFIG_BOOL, AT(gpu.blob), "false", NULL, 0, 0, "With 2d, pictures may lie in guest memory, and are not copied where /dev/udmabuf takes them."},
	{"display", "type", CONFIG_ENUM, AT(display.type), NULL, display_values, 0, 0,
		"sdl: a window is opened with the VM. Without one, egl-headless: pictures that a GPU has drawn are dma-bufs; none: all are in memory. tinyvmm view opens a window at any time."},
	{"display", "fullscreen", CONFIG_BOOL, AT(display.fullscreen), "false", NULL, 0, 0, "That window is as large as the screen."},
	{"display", "resize", CONFIG_BOOL, AT(display.resize), "true", NULL, 0, 0, "The guest's display takes the size of that window."},
	{"display", "title", CONFIG_STRING, AT(display.title), "{name}", NULL, 1, 100, "What its title says; {name} is the VM's name."},
	{"display", "scale", CONFIG_SCALE, AT(display.scale), "1.0", NULL, 0, 0,
		"Pixels of that window for one of the guest, 0.25 to 4; or \"fit\", without resize: as many as there is room for."},
	{"display", "on_close", CONFIG_ENUM, AT(display.on_close), "stop", on_close_values, 0, 0,
		"When that window is closed: press the power button, or let the guest run on without it."},
	{"display", "dmabuf", CONFIG_BOOL, AT(display.dmabuf), "true", NULL, 0, 0,
		"Viewers that can import them get pictures that a GPU has drawn as dma-bufs; false: all of them in memory."},
	{"display", "zero_copy", CONFIG_ENUM, AT(display.zero_copy), "auto", zero_copy_values, 0, 0,
		"Whether the viewer that controls gets what the guest draws in itself, without a copy: where it holds up nobody, whatever guest and viewer do, or not."},
	{"display", "socket", CONFIG_PATH, AT(display.socket), NULL, NULL, 1, 107, "Socket for viewers; default: viewer.sock in the folder of the VM's other sockets."},
	{"display", "allow", CONFIG_STRINGS, AT(display.allow), NULL, NULL, 1, 32,
		"Users who may view it, such as \"uid:1000\", one or an array; default: the one who runs it."},
	{"expect", "timeout", CONFIG_TIME, AT(expect.timeout_ns), "60s", NULL, CLOCK_NS_PER_MS, 0, "How long a test may take."},
	{"expect", "console", CONFIG_REGEXES, AT(expect.console), NULL, NULL, 1, REGEX_LEN_MAX,
		"What the consoles must say, in this order: extended regular expressions, one or an array."},
	{"expect", "fail", CONFIG_REGEXES, AT(expect.fail), NULL, NULL, 1, REGEX_LEN_MAX, "What they must not say."},
	{"expect", "builtin_fail", CONFIG_BOOL, AT(expect.builtin_fail), "true", NULL, 0, 0,
		"Nor what no healthy Linux says: a panic, an oops, a stall, a root file system that is not found, emergency mode."},
	{"expect", "ready", CONFIG_REGEX, AT(expect.ready), NULL, NULL, 1, REGEX_LEN_MAX, "The line that says that the guest has booted."},
	{"expect", "screen", CONFIG_FIELDS, AT(expect.screen), NULL, &screen_fields, 0, 0,
		"What the display must show: image (a PNG), region, max_diff, tolerance, stable, scanout."},
	{"expect", "first_frame", CONFIG_TIME, AT(expect.first_frame_ns), NULL, NULL, CLOCK_NS_PER_MS, 0, "By when the guest must have shown something on its display."},
	{"expect", "exit", CONFIG_ENUM, AT(expect.exit), "stop", expect_exit_values, 0, 0,
		"When everything was said: the VM is stopped, must power off, or must write its exit code to the exit port."},
	{"disk", "path", CONFIG_PATH, IN_DISK(path), NULL, NULL, 1, PATH_LEN_MAX, "Raw file or block device. Required; no other VM may write it."},
	{"disk", "name", CONFIG_NAME, IN_DISK(name), NULL, NULL, 1, CONFIG_DISK_NAME_MAX,
		"Serial number the guest sees (/dev/disk/by-id/virtio-NAME); default: disk0, disk1, ..."},
	{"disk", "format", CONFIG_ENUM, IN_DISK(format), "raw", format_values, 0, 0, "Never guessed; qcow2 images are to be converted."},
	{"disk", "readonly", CONFIG_BOOL, IN_DISK(readonly), "false", NULL, 0, 0, "The guest cannot write; any number of VMs may read."},
	{"disk", "ephemeral", CONFIG_BOOL, IN_DISK(ephemeral), "false", NULL, 0, 0,
		"What the guest writes is kept in memory, or in overlay_dir, and thrown away at the end."},
	{"disk", "overlay_dir", CONFIG_PATH, IN_DISK(overlay_dir), NULL, NULL, 1, PATH_LEN_MAX,
		"Folder for what an ephemeral disk keeps, as a file without a name; default: in memory."},
	{"disk", "root", CONFIG_BOOL, IN_DISK(root), "false", NULL, 0, 0, "The kernel's root file system: root= on the command line; one disk only."},
	{"disk", "cache", CONFIG_ENUM, IN_DISK(cache), "writeback", cache_values, 0, 0,
		"Host page cache, flushed when the guest asks; direct goes around it; unsafe ignores flushes."},
	{"disk", "discard", CONFIG_BOOL, IN_DISK(discard), "true", NULL, 0, 0, "The guest may give space back to the host."},
	{"input", "type", CONFIG_ENUM, IN_INPUT(type), NULL, input_values, 0, 0, "What the guest gets: a keyboard, a mouse, a tablet (a pointer with a place), a touch screen, or a device of the host. Required."},
	{"input", "name", CONFIG_NAME, IN_INPUT(name), NULL, NULL, 1, CONFIG_NAME_MAX,
		"What requests on the control socket call it; default: keyboard0, mouse0, ..."},
	{"input", "layout", CONFIG_STRING, IN_INPUT(layout), "us", NULL, 1, CONFIG_LAYOUT_MAX,
		"What the guest takes a keyboard's keys for, so that tinyvmm input can type text: LAYOUT or LAYOUT(VARIANT), as xkb names them."},
	{"input", "path", CONFIG_PATH, IN_INPUT(path), NULL, NULL, 1, PATH_LEN_MAX, "evdev: the host's device, /dev/input/by-id/..."},
	{"input", "fd", CONFIG_COUNT, IN_INPUT(fd), NULL, NULL, 3, 65535, "evdev: the device was opened by whoever started tinyvmm; the descriptor's number."},
	{"input", "match", CONFIG_FIELDS, IN_INPUT(match), NULL, &match_fields, 0, 0,
		"evdev: the one device with these: name, uniq, phys (shell patterns), vendor, product (numbers)."},
	{"input", "grab", CONFIG_BOOL, IN_INPUT(grab), "true", NULL, 0, 0, "evdev: the host gets no events while the guest has the device."},
	{"input", "toggle", CONFIG_STRING, IN_INPUT(toggle), "ctrl+ctrl", NULL, 0, 100,
		"evdev: keys that, held together, give all such devices to the host and back; \"\" for none. ctrl+alt+shift+esc always gives them to the host."},
	{"input", "reserve", CONFIG_STRINGS, IN_INPUT(reserve), NULL, NULL, 1, 60, "evdev: keys the host keeps, such as \"volumeup\" or \"KEY_SYSRQ\"."},
	{"input", "wait", CONFIG_BOOL, IN_INPUT(wait), "false", NULL, 0, 0, "evdev: the device may be plugged in later; the guest finds it then."},
	{"input", "description", CONFIG_PATH, IN_INPUT(description), NULL, NULL, 1, PATH_LEN_MAX,
		"evdev: what a device is that comes later, as `tinyvmm devices --describe` saved it: the guest has it from the start."},
};
const unsigned config_nkeys = sizeof(config_keys) / sizeof(config_keys[0]);

static const struct config_list_table lists[] = {
	{"disk", CONFIG_DISKS_MAX, AT(disk), sizeof(struct config_disk), AT(ndisks), IN_DISK(origin), IN_DISK(name), IN_DISK(wrong)},
	{"input", CONFIG_INPUTS_MAX, AT(input), sizeof(struct config_input_device), AT(ninputs), IN_INPUT(origin), IN_INPUT(name), IN_INPUT(wrong)},
};

const struct config_list_table *config_find_list(const char *table, size_t len)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (strlen(lists[i].table) == len && memcmp(lists[i].table, table, len) == 0) {
			return &lists[i];
		}
	}
	return NULL;
}

void *config_item(struct config *cfg, const struct config_list_table *list, unsigned i)
{
	return (char *)cfg + list->items + i * list->item_size;
}

unsigned *config_count(struct config *cfg, const struct config_list_table *list)
{
	return (unsigned *)(void *)((char *)cfg + list->count);
}

const struct config_key *config_table_keys(const char *table, size_t len, unsigned *n)
{
	const struct config_key *first = NULL;

	*n = 0;
	for (unsigned i = 0; i < config_nkeys; i++) {
		if (strlen(config_keys[i].table) == len && memcmp(config_keys[i].table, table, len) == 0) {
			first = first ? first : &config_keys[i];
			++*n;
		}
	}
	return first;
}

static void drop_list(struct config_list *list)
{
	while (list->n > 0) {
		list->n--;
		free(list->item[list->n]);
		list->item[list->n] = NULL;
	}
}

void *config_fields_of(void *base, const struct config_key *key)
{
	return *(void **)(void *)((char *)base + key->offset);
}

static void drop_fields(void **p, const struct config_fields *fields)
{
	char **origins = *p ? (char **)(void *)((char *)*p + fields->origins) : NULL;

	if (*p) {
		config_drop(*p, fields->keys, fields->n);
		for (unsigned i = 0; i < fields->n; i++) {
			free(origins[i]);
		}
		free(*p);
		*p = NULL;
	}
}

void config_drop(void *base, const struct config_key *keys, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char *p = (char *)base + keys[i].offset;

		switch (keys[i].type) {
		case CONFIG_STRING:
		case CONFIG_NAME:
		case CONFIG_PATH:
		case CONFIG_REGEX:
			free(*(char **)(void *)p);
			*(char **)(void *)p = NULL;
			break;
		case CONFIG_PATHS:
		case CONFIG_STRINGS:
		case CONFIG_REGEXES:
			drop_list((struct config_list *)(void *)p);
			break;
		case CONFIG_FIELDS:
			drop_fields((void **)(void *)p, keys[i].values);
			break;
		default:
			break;
		}
	}
}

static int __attribute__((format(printf, 3, 4))) refuse(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* `string "two"`, `integer 3`, `array`: what somebody wrote instead. */
static const char *describe(const struct toml_node *value, char *buf, size_t len)
{
	size_t n;

	switch (toml_type_of(value)) {
	case TOML_STRING:
		snprintf(buf, len, "string \"%.40s\"", toml_string(value, &n));
		break;
	case TOML_INTEGER:
		snprintf(buf, len, "integer %" PRId64, toml_integer(value));
		break;
	case TOML_BOOLEAN:
		snprintf(buf, len, "%s", toml_boolean(value) ? "true" : "false");
		break;
	case TOML_TABLE:
		snprintf(buf, len, toml_count(value) > 0 ? "a table" : "an empty table");
		break;
	case TOML_ARRAY:
		snprintf(buf, len, "an array");
		break;
	case TOML_FLOAT:
		snprintf(buf, len, "a floating-point number");
		break;
	case TOML_DATE:
		snprintf(buf, len, "a date");
		break;
	}
	return buf;
}

static int expected(char *err, size_t err_len, const char *want, const struct toml_node *value)
{
	char got[80];

	return refuse(err, err_len, "expected %s, got %s", want, describe(value, got, sizeof(got)));
}

/* A number with a unit. Return: true with *@result when it is that and does not overflow. */
struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *result)
{
	char *end;
	unsigned long long n;

	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	for (; errno == 0 && units->name; units++) {
		if (strcmp(end, units->name) == 0 && n <= UINT64_MAX / units->factor) {
			*result = n * units->factor;
			return true;
		}
	}
	return false;
}

static int to_size(uint64_t *out, const struct config_key *key, const char *text, const struct toml_node *value, char *err, size_t err_len)
{
	static const struct unit units[] = {{"K", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30},
		{"GiB", 1 << 30}, {"T", (uint64_t)1 << 40}, {"TiB", (uint64_t)1 << 40}, {NULL, 0}};

	if (!text || !parse_with_unit(text, units, out)) {
		return expected(err, err_len, "a size as a string, such as \"512M\" or \"2G\" (binary units)", value);
	}
	if (*out < key->min || *out > key->max) {
		return refuse(err, err_len, "%s is out of range: expected %" PRIu64 "M to %" PRIu64 "G", text, key->min >> 20, key->max >> 30);
	}
	return 0;
}

static int to_time(uint64_t *out, const struct config_key *key, const char *text, const struct toml_node *value, char *err, size_t err_len)
{
	static const struct unit units[] = {
		{"ms", CLOCK_NS_PER_MS}, {"s", CLOCK_NS_PER_S}, {"m", 60 * CLOCK_NS_PER_S}, {"h", 3600 * CLOCK_NS_PER_S}, {NULL, 0}};

	if (!text || !parse_with_unit(text, units, out) || *out > UINT64_MAX / 4) {
		return expected(err, err_len, "a time as a string, such as \"500ms\", \"20s\" or \"2m\"", value);
	}
	if (*out < key->min) {
		return refuse(err, err_len, "\"%s\" is no time: leave it out, or say how long", text);
	}
	return 0;
}

static int to_enum(unsigned *out, const struct config_key *key, const char *text, const struct toml_node *value, char *err, size_t err_len)
{
	const char *const *values = key->values;
	char want[128] = "";

	for (unsigned i = 0; values[i]; i++) {
		size_t used = strlen(want);

		if (text && strcmp(text, values[i]) == 0) {
			*out = i;
			return 0;
		}
		snprintf(want + used, sizeof(want) - used, "%s\"%s\"", i ? " or " : "", values[i]);
	}
	return expected(err, err_len, want, value);
}

static int to_control(uint8_t *out, const char *text, const struct toml_node *value, char *err, size_t err_len)
{
	if (text && strncmp(text, "ctrl-", 5) == 0 && text[5] && !text[6] &&
		((text[5] >= 'a' && text[5] <= 'z') || strchr("\\]^_", text[5]))) {
		*out = (uint8_t)(text[5] & 0x1f);
		return 0;
	}
	return expected(err, err_len, "a control key such as \"ctrl-a\"", value);
}

/* `1280x800` to the end of @text. */
static bool parse_pixels(const char *text, const struct config_key *key, uint32_t *width, uint32_t *height)
{
	unsigned w, h;
	int used = 0;

	if (!text || strspn(text, "0123456789x") != strlen(text) || strlen(text) > 11 || sscanf(text, "%ux%u%n", &w, &h, &used) != 2 || text[used] ||
		w < key->min || w > key->max || h < key->min || h > key->max) {
		return false;
	}
	*width = w;
	*height = h;
	return true;
}

static int to_pixels(struct config_pixels *out, const struct config_key *key, const struct toml_node *value, char *err, size_t err_len)
{
	bool is_array = toml_type_of(value) == TOML_ARRAY;
	size_t n = is_array ? toml_count(value) : 1, len;
	struct config_pixels p = {.n = 0};
	char want[80];

	if (n == 0 || n > CONFIG_SCANOUTS_MAX) {
		return refuse(err, err_len, "%zu sizes: expected 1..%d", n, CONFIG_SCANOUTS_MAX);
	}
	for (; p.n < n; p.n++) {
		const struct toml_node *item = is_array ? toml_item(value, p.n, NULL, NULL) : value;
		const char *text = toml_type_of(item) == TOML_STRING ? toml_string(item, &len) : NULL;

		if (!parse_pixels(text, key, &p.item[p.n].width, &p.item[p.n].height)) {
			snprintf(want, sizeof(want), "a size such as \"1280x800\", %" PRIu64 "..%" PRIu64 " pixels each way", key->min, key->max);
			return expected(err, err_len, want, item);
		}
	}
	*out = p;
	return 0;
}

static bool is_name(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && text[n] == '\0' && !strchr("._-", text[0]);
}

bool config_is_layout(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strspn(text, letters), variant = text[n] == '(' ? strspn(text + n + 1, letters) : 0;

	return n > 0 && n + variant <= CONFIG_LAYOUT_MAX && (text[n] == '\0' || (variant > 0 && strcmp(text + n + 1 + variant, ")") == 0));
}

/* Copies @path with ${VAR} and ${VAR:-instead} replaced. Return: 0, or -EINVAL with @err. */
static int expand_variables(FILE *out, const char *path, char *err, size_t err_len)
{
	while (*path) {
		char name[64];
		const char *end, *instead, *value;
		size_t n;

		if (path[0] != '$' || path[1] != '{') {
			fputc(*path++, out);
			continue;
		}
		path += 2;
		end = strchr(path, '}');
		instead = strstr(path, ":-");
		instead = end && instead && instead < end ? instead : NULL;
		n = end ? (size_t)((instead ? instead : end) - path) : 0;
		if (n == 0 || n >= sizeof(name)) {
			return refuse(err, err_len, "broken variable: want ${NAME} or ${NAME:-VALUE}");
		}
		if (memmem(path, (size_t)(end - path), "${", 2)) {
			return refuse(err, err_len, "variables do not nest: want ${NAME} or ${NAME:-VALUE}");
		}
		memcpy(name, path, n);
		name[n] = '\0';
		value = getenv(name);
		if (value && *value) {
			fputs(value, out);
		} else if (instead) {
			fwrite(instead + 2, 1, (size_t)(end - instead - 2), out);
		} else {
			return refuse(err, err_len, "the variable %s is not set", name);
		}
		path = end + 1;
	}
	return 0;
}

static int to_path(char **out, const char *text, const char *dir, char *err, size_t err_len)
{
	char *expanded = NULL, *path = NULL;
	const char *home = getenv("HOME");
	size_t len;
	FILE *f = open_memstream(&expanded, &len);
	int r = f ? expand_variables(f, text, err, err_len) : refuse(err, err_len, "out of memory");

	if (f && fclose(f) != 0) {
		r = refuse(err, err_len, "out of memory");
	}
	if (r == 0 && strncmp(expanded, "~/", 2) == 0 && !home) {
		r = refuse(err, err_len, "the variable HOME is not set");
	} else if (r == 0 && strncmp(expanded, "~/", 2) == 0) {
		r = asprintf(&path, "%s%s", home, expanded + 1) < 0 ? -ENOMEM : 0;
	} else if (r == 0) {
		r = asprintf(&path, "%s%s%s", expanded[0] == '/' ? "" : dir, expanded[0] == '/' || !*dir ? "" : "/", expanded) < 0 ? -ENOMEM : 0;
	}
	free(expanded);
	if (r == 0) {
		free(*out);
		*out = path;
	}
	return r;
}

/* A non-empty string without NUL, not longer than allowed. Return: the text, or NULL with @err. */
static const char *check_string(const struct config_key *key, const struct toml_node *value, const char *text, char *err, size_t err_len)
{
	size_t len;

	if (toml_type_of(value) == TOML_STRING) {
		text = toml_string(value, &len);
	} else if (text) {
		len = strlen(text);
	} else {
		expected(err, err_len, "a string", value);
		return NULL;
	}
	if (strlen(text) != len) {
		refuse(err, err_len, "the string has a NUL character in it");
	} else if ((key->type == CONFIG_STRING || key->type == CONFIG_NAME) && strpbrk(text, "\n\r")) {
		refuse(err, err_len, "the string has a line break in it");
	} else if (len < key->min) {
		refuse(err, err_len, "the string is empty");
	} else if (len > key->max) {
		refuse(err, err_len, "%zu bytes are too long: at most %" PRIu64, len, key->max);
	} else {
		return text;
	}
	return NULL;
}

static int set_string(char **out, const struct config_key *key, const char *text, char *err, size_t err_len)
{
	char *copy;

	if (key->type == CONFIG_NAME && !is_name(text)) {
		return refuse(err, err_len, "\"%.40s\" is no name: want lower-case letters, digits, '.', '_' and '-', a letter or digit first", text);
	}
	if (strcmp(key->name, "layout") == 0 && !config_is_layout(text)) {
		return refuse(err, err_len, "\"%.40s\" is no keyboard layout: want LAYOUT or LAYOUT(VARIANT), such as \"us\" or \"de(nodeadkeys)\"", text);
	}
	copy = strdup(text);
	if (!copy) {
		return refuse(err, err_len, "out of memory");
	}
	free(*out);
	*out = copy;
	return 0;
}

/* A copy of an expression that compiles. Return: 0 or -EINVAL with @err. */
static int to_regex(char **out, const char *text, char *err, size_t err_len)
{
	char why[128], *copy;
	regex_t regex;

	if (pattern_compile(&regex, text, why, sizeof(why)) < 0) {
		return refuse(err, err_len, "\"%.60s\" is no extended regular expression: %s", text, why);
	}
	regfree(&regex);
	copy = strdup(text);
	if (!copy) {
		return refuse(err, err_len, "out of memory");
	}
	free(*out);
	*out = copy;
	return 0;
}

static int to_string(char **out, const char *text, char *err, size_t err_len)
{
	*out = strdup(text);
	return *out ? 0 : refuse(err, err_len, "out of memory");
}

static int set_list(struct config_list *out, const struct config_key *key, const struct toml_node *value, const char *text, const char *dir,
	char *err, size_t err_len)
{
	bool is_array = toml_type_of(value) == TOML_ARRAY;
	size_t n = is_array ? toml_count(value) : 1;

	if (n > CONFIG_LIST_MAX) {
		return refuse(err, err_len, "%zu are too many: at most %d", n, CONFIG_LIST_MAX);
	}
	drop_list(out);
	for (size_t i = 0; i < n; i++) {
		const char *string = check_string(key, is_array ? toml_item(value, i, NULL, NULL) : value, is_array ? NULL : text, err, err_len);

		if (!string || (key->type == CONFIG_PATHS   ? to_path(&out->item[i], string, dir, err, err_len)
				: key->type == CONFIG_STRINGS ? to_string(&out->item[i], string, err, err_len)
							      : to_regex(&out->item[i], string, err, err_len)) < 0) {
			return -EINVAL;
		}
		out->n++;
	}
	return 0;
}

/* "a, b or c" */
static const char *field_names(const struct config_fields *fields, char *buf, size_t len)
{
	size_t used = 0;

	for (unsigned i = 0; i < fields->n && used < len; i++) {
		int n = snprintf(buf + used, len - used, "%s%s", i == 0 ? "" : i + 1 < fields->n ? ", " : " or ", fields->keys[i].name);

		used += (size_t)(n > 0 ? n : 0);
	}
	return buf;
}

static int set_fields(void **out, const struct config_key *key, const struct toml_node *value, char *err, size_t err_len)
{
	const struct config_fields *fields = key->values;
	char names[120], want[160];

	if (toml_type_of(value) != TOML_TABLE || toml_count(value) == 0) {
		snprintf(want, sizeof(want), "a table with %s", field_names(fields, names, sizeof(names)));
		return expected(err, err_len, want, value);
	}
	drop_fields(out, fields);
	*out = calloc(1, fields->size);
	return *out ? 0 : refuse(err, err_len, "out of memory");
}

static int set_fraction(double *out, const struct toml_node *value, char *err, size_t err_len)
{
	double number = toml_type_of(value) == TOML_FLOAT ? toml_float(value) : toml_type_of(value) == TOML_INTEGER ? (double)toml_integer(value) : -1;

	if (!(number >= 0 && number <= 1)) {
		return expected(err, err_len, "a number from 0 to 1", value);
	}
	*out = number;
	return 0;
}

static int set_scale(double *out, const struct toml_node *value, char *err, size_t err_len)
{
	double number = toml_type_of(value) == TOML_FLOAT ? toml_float(value) : toml_type_of(value) == TOML_INTEGER ? (double)toml_integer(value) : -1;
	size_t n;

	if (toml_type_of(value) == TOML_STRING && strcmp(toml_string(value, &n), "fit") == 0) {
		number = 0;
	} else if (!(number >= CONFIG_SCALE_MIN && number <= CONFIG_SCALE_MAX)) {
		return expected(err, err_len, "a number from 0.25 to 4, or \"fit\"", value);
	}
	*out = number;
	return 0;
}

static int set_region(struct config_region *out, const struct toml_node *value, char *err, size_t err_len)
{
	uint32_t n[4];

	for (size_t i = 0; i < 4; i++) {
		const struct toml_node *item = toml_type_of(value) == TOML_ARRAY && toml_count(value) == 4 ? toml_item(value, i, NULL, NULL) : NULL;

		if (!item || toml_type_of(item) != TOML_INTEGER || toml_integer(item) < (i < 2 ? 0 : 1) || toml_integer(item) > CONFIG_REGION_MAX) {
			return expected(err, err_len, "[x, y, width, height] in pixels", value);
		}
		n[i] = (uint32_t)toml_integer(item);
	}
	if (n[0] + n[2] > CONFIG_REGION_MAX || n[1] + n[3] > CONFIG_REGION_MAX) {
		return refuse(err, err_len, "%u,%u,%u,%u is in no screen: the largest is %d pixels both ways", n[0], n[1], n[2], n[3], CONFIG_REGION_MAX);
	}
	*out = (struct config_region){n[0], n[1], n[2], n[3]};
	return 0;
}

static int set_count(unsigned *out, const struct config_key *key, const struct toml_node *value, char *err, size_t err_len)
{
	char want[64];

	if (toml_type_of(value) != TOML_INTEGER || toml_integer(value) < (int64_t)key->min || toml_integer(value) > (int64_t)key->max) {
		snprintf(want, sizeof(want), "integer %" PRIu64 "..%" PRIu64, key->min, key->max);
		return expected(err, err_len, want, value);
	}
	*out = (unsigned)toml_integer(value);
	return 0;
}

int config_set(void *base, const struct config_key *key, const struct toml_node *value, const char *text, const char *dir,
	char *err, size_t err_len)
{
	void *out = (char *)base + key->offset;
	const char *string;
	size_t n;

	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_NAME:
	case CONFIG_PATH:
		string = check_string(key, value, text, err, err_len);
		if (!string) {
			return -EINVAL;
		}
		return key->type == CONFIG_PATH ? to_path(out, string, dir, err, err_len) : set_string(out, key, string, err, err_len);
	case CONFIG_REGEX:
		string = check_string(key, value, text, err, err_len);
		return string ? to_regex(out, string, err, err_len) : -EINVAL;
	case CONFIG_FIELDS:
		return set_fields(out, key, value, err, err_len);
	case CONFIG_FRACTION:
		return set_fraction(out, value, err, err_len);
	case CONFIG_SCALE:
		return set_scale(out, value, err, err_len);
	case CONFIG_REGION:
		return set_region(out, value, err, err_len);
	case CONFIG_PATHS:
	case CONFIG_STRINGS:
	case CONFIG_REGEXES:
		return set_list(out, key, value, text, dir, err, err_len);
	case CONFIG_COUNT:
		return set_count(out, key, value, err, err_len);
	case CONFIG_PIXELS:
		return to_pixels(out, key, value, err, err_len);
	case CONFIG_BOOL:
		if (toml_type_of(value) != TOML_BOOLEAN) {
			return expected(err, err_len, "true or false", value);
		}
		*(bool *)out = toml_boolean(value);
		return 0;
	default:
		break;
	}
	string = toml_type_of(value) == TOML_STRING ? toml_string(value, &n) : NULL;
	switch (key->type) {
	case CONFIG_SIZE:
		return to_size(out, key, string, value, err, err_len);
	case CONFIG_TIME:
		return to_time(out, key, string, value, err, err_len);
	case CONFIG_ENUM:
		return to_enum(out, key, string, value, err, err_len);
	default:
		return to_control(out, string, value, err, err_len);
	}
}
