/* SPDX-License-Identifier: MIT */
#include "vmm/evdev_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "devices/evdev_host.h"
#include "vmm/json_text.h"

#define FORMAT "tinyvmm input device 1"

static const struct {
	unsigned type;
	const char *name;
} types[] = {{EV_KEY, "EV_KEY"}, {EV_REL, "EV_REL"}, {EV_ABS, "EV_ABS"}, {EV_MSC, "EV_MSC"}, {EV_SW, "EV_SW"}, {EV_LED, "EV_LED"}, {EV_SND, "EV_SND"}, {EV_REP, "EV_REP"}};

static int __attribute__((format(printf, 3, 4))) refuse(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static json_t *name_of(const char *name, unsigned code)
{
	return name ? json_string(name) : json_integer((json_int_t)code);
}

static json_t *write_axis(unsigned code, const struct input_axis *a)
{
	return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i}", "code", name_of(evdev_host_code_name(EV_ABS, code), code), "min", a->min, "max", a->max, "fuzz",
		a->fuzz, "flat", a->flat, "resolution", a->res);
}

static json_t *write_type(const struct input_desc *desc, unsigned type)
{
	json_t *codes = json_array();

	for (unsigned code = 0; code < input_type_codes(type); code++) {
		if (input_desc_has(desc, type, code)) {
			json_array_append_new(codes, type == EV_ABS ? write_axis(code, &desc->abs[code]) : name_of(evdev_host_code_name(type, code), code));
		}
	}
	return codes;
}

int evdev_file_write(const struct input_desc *desc, FILE *out)
{
	json_t *props = json_array(), *events = json_object(), *file;
	int r;

	for (unsigned prop = 0; prop < INPUT_PROP_CNT; prop++) {
		if (desc->props[prop / 8] & 1u << prop % 8) {
			json_array_append_new(props, name_of(evdev_host_prop_name(prop), prop));
		}
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (input_desc_has_type(desc, types[i].type)) {
			json_object_set_new(events, types[i].name, write_type(desc, types[i].type));
		}
	}
	file = json_pack("{s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:o, s:o}", "format", FORMAT, "name", json_text(desc->name, INPUT_STRING_MAX), "uniq", json_text(desc->serial, INPUT_STRING_MAX), "bustype",
		(int)desc->bustype, "vendor", (int)desc->vendor, "product", (int)desc->product, "version", (int)desc->version, "properties", props, "events",
		events);
	r = !file || json_dumpf(file, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) < 0 || fputc('\n', out) == EOF || fflush(out) != 0 ? -EIO : 0;
	json_decref(file);
	return r;
}

/* A code below @count by name or number. Return: it, or -EINVAL. */
static int read_code(const json_t *value, unsigned count, int named)
{
	json_int_t n = json_is_integer(value) ? json_integer_value(value) : json_is_string(value) ? named : -1;

	return n >= 0 && n < (json_int_t)count ? (int)n : -EINVAL;
}

static int read_axis(struct input_desc *desc, const json_t *value, char *err, size_t err_len)
{
	struct input_axis a;
	json_error_t why;
	json_t *code;
	int n;

	if (json_unpack_ex((json_t *)value, &why, JSON_STRICT, "{s:o, s:i, s:i, s:i, s:i, s:i}", "code", &code, "min", &a.min, "max", &a.max, "fuzz", &a.fuzz,
		"flat", &a.flat, "resolution", &a.res) != 0) {
		return refuse(err, err_len, "EV_ABS: %s", why.text);
	}
	n = read_code(code, ABS_CNT, json_is_string(code) ? evdev_host_code(EV_ABS, json_string_value(code)) : -1);
	if (n < 0) {
		return refuse(err, err_len, "EV_ABS: an unknown axis");
	}
	input_desc_add_abs(desc, (unsigned)n, &a);
	return 0;
}

static int read_type(struct input_desc *desc, const char *name, const json_t *codes, char *err, size_t err_len)
{
	unsigned type = 0;
	json_t *value;
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		type = strcmp(types[i].name, name) == 0 ? types[i].type : type;
	}
	if (type == 0 || !json_is_array(codes)) {
		return refuse(err, err_len, type ? "%s: expected an array" : "unknown type \"%.20s\"", name);
	}
	json_array_foreach (codes, i, value) {
		int code, r = 0;

		if (type == EV_ABS) {
			r = read_axis(desc, value, err, err_len);
		} else {
			code = read_code(value, input_type_codes(type), json_is_string(value) ? evdev_host_code(type, json_string_value(value)) : -1);
			if (code < 0) {
				return refuse(err, err_len, "%s[%zu]: unknown code", name, i);
			}
			input_desc_add(desc, type, (unsigned)code);
		}
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

static int read_all(struct input_desc *desc, json_t *file, char *err, size_t err_len)
{
	const char *format, *name, *uniq, *key;
	int bustype, vendor, product, version, r = 0;
	json_t *props, *events, *value;
	json_error_t why;
	size_t i;

	if (json_unpack_ex(file, &why, JSON_STRICT, "{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:o, s:o}", "format", &format, "name", &name, "uniq", &uniq, "bustype",
		&bustype, "vendor", &vendor, "product", &product, "version", &version, "properties", &props, "events", &events) != 0) {
		return refuse(err, err_len, "%s", why.text);
	}
	if (strcmp(format, FORMAT) != 0 || !json_is_array(props) || !json_is_object(events)) {
		return refuse(err, err_len, "no description of an input device");
	}
	if (((bustype | vendor | product | version) & ~0xffff) != 0) {
		return refuse(err, err_len, "a number is too large");
	}
	*desc = (struct input_desc){.bustype = (uint16_t)bustype, .vendor = (uint16_t)vendor, .product = (uint16_t)product, .version = (uint16_t)version};
	snprintf(desc->name, sizeof(desc->name), "%s", name);
	snprintf(desc->serial, sizeof(desc->serial), "%s", uniq);
	json_array_foreach (props, i, value) {
		int prop = read_code(value, INPUT_PROP_CNT, json_is_string(value) ? evdev_host_prop(json_string_value(value)) : -1);

		if (prop < 0) {
			return refuse(err, err_len, "properties[%zu]: unknown", i);
		}
		input_desc_add_prop(desc, (unsigned)prop);
	}
	json_object_foreach (events, key, value) {
		r = read_type(desc, key, value, err, err_len);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

int evdev_file_read(struct input_desc *desc, const char *path, char *err, size_t err_len)
{
	char why[200];
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	int r;

	if (!file) {
		return error.line > 0 ? refuse(err, err_len, "%s:%d:%d: %s", path, error.line, error.column, error.text) : refuse(err, err_len, "%s", error.text);
	}
	r = read_all(desc, file, why, sizeof(why));
	json_decref(file);
	return r < 0 ? refuse(err, err_len, "%s: %s", path, why) : 0;
}
