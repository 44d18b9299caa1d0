/* SPDX-License-Identifier: MIT */
/*
 * Pictures on a GPU in the viewer: what the OpenGL of its windows can import, and the import, once for each buffer, and drawing from it into a texture of the window's. Part of tinyvmm-view; knows EGL and OpenGL by the names of their functions only,
 * which it is given, and is linked with neither.
 *
 * Thread: the one that draws, with the window's context current.
 */
#ifndef DISPLAY_VIEW_IMPORT_H
#define DISPLAY_VIEW_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "display/view_conn.h"

struct view_import {
	bool works; /* else nothing can be imported */
	unsigned nformats;
	struct viewer_format format[VIEWER_FORMATS_MAX];
};

/**
 * view_import_open - what the current context can import
 * @get: a function of OpenGL's or EGL's by its name, NULL when there is none; the current context is EGL's, for GLX has an address for any name
 * @render_major, @render_minor: the device pictures come from
 *
 * Return: whether it can import anything; else @why, for people.
 */
bool view_import_open(struct view_import *im, void *(*get)(const char *name), uint32_t render_major, uint32_t render_minor, char *why, size_t why_len);

/*
 * Draws @crop of @p, in planes, over the framebuffer that is bound, as it lies in memory. All of it is there when this returns. Return: false with @why, for people; nothing is drawn then.
 * The import is kept in @p for its next frame, and must be dropped (view_conn_unimport) before view_import_open is called again, or the last window that OpenGL draws is closed: with that goes EGL's display.
 */
bool view_import_draw(struct view_picture *p, const struct display_rect *crop, char *why, size_t why_len);

#endif
