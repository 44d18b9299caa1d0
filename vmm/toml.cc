/* SPDX-License-Identifier: MIT */
/* The only file that sees toml++. Built without exceptions and RTTI, so that no C++ run-time library is loaded. */
#include "vmm/toml.h"

#include <cassert>
#include <cstdio>
#include <iterator>
#include <new>
#include <string_view>

#include <toml++/toml.h>

struct toml_doc {
	toml::table root;
};

static const toml::node *to_cpp(const struct toml_node *node)
{
	return reinterpret_cast<const toml::node *>(node);
}

static const struct toml_node *to_c(const toml::node *node)
{
	return reinterpret_cast<const struct toml_node *>(node);
}

static struct toml_pos pos_of(const toml::source_region &region)
{
	return {region.begin.line, region.begin.column};
}

struct toml_doc *toml_parse(const char *text, size_t len, char *err, size_t err_len, struct toml_pos *err_pos)
{
	if (len > TOML_TEXT_MAX) {
		std::snprintf(err, err_len, "longer than %u bytes", TOML_TEXT_MAX);
		*err_pos = {1, 1};
		return nullptr;
	}
	toml::parse_result result = toml::parse(std::string_view(text, len));
	if (!result) {
		const std::string_view what = result.error().description();

		std::snprintf(err, err_len, "%.*s", static_cast<int>(what.size()), what.data());
		*err_pos = pos_of(result.error().source());
		return nullptr;
	}
	return new (std::nothrow) toml_doc{std::move(result).table()};
}

void toml_free(struct toml_doc *doc)
{
	delete doc;
}

const struct toml_node *toml_root(const struct toml_doc *doc)
{
	return to_c(&doc->root);
}

enum toml_type toml_type_of(const struct toml_node *node)
{
	switch (to_cpp(node)->type()) {
	case toml::node_type::table:
		return TOML_TABLE;
	case toml::node_type::array:
		return TOML_ARRAY;
	case toml::node_type::string:
		return TOML_STRING;
	case toml::node_type::integer:
		return TOML_INTEGER;
	case toml::node_type::floating_point:
		return TOML_FLOAT;
	case toml::node_type::boolean:
		return TOML_BOOLEAN;
	default:
		return TOML_DATE;
	}
}

struct toml_pos toml_pos_of(const struct toml_node *node)
{
	return pos_of(to_cpp(node)->source());
}

size_t toml_count(const struct toml_node *node)
{
	if (const toml::table *table = to_cpp(node)->as_table()) {
		return table->size();
	}
	if (const toml::array *array = to_cpp(node)->as_array()) {
		return array->size();
	}
	return 0;
}

const struct toml_node *toml_item(const struct toml_node *node, size_t i, const char **key, struct toml_pos *key_pos)
{
	if (const toml::table *table = to_cpp(node)->as_table()) {
		const auto entry = std::next(table->begin(), static_cast<std::ptrdiff_t>(i));

		if (key) {
			*key = entry->first.data();
		}
		if (key_pos) {
			*key_pos = pos_of(entry->first.source());
		}
		return to_c(&entry->second);
	}
	const toml::array *array = to_cpp(node)->as_array();
	assert(array);
	return to_c(array->get(i));
}

const char *toml_string(const struct toml_node *node, size_t *len)
{
	const toml::value<std::string> *value = to_cpp(node)->as_string();

	assert(value);
	*len = value->get().size();
	return value->get().c_str();
}

int64_t toml_integer(const struct toml_node *node)
{
	const toml::value<int64_t> *value = to_cpp(node)->as_integer();

	assert(value);
	return value->get();
}

bool toml_boolean(const struct toml_node *node)
{
	const toml::value<bool> *value = to_cpp(node)->as_boolean();

	assert(value);
	return value->get();
}
