/* SPDX-License-Identifier: MIT */
#include "devices/gpu_objects.h"

#include <stdlib.h>

#include "devices/gpu_3d.h"
#include "devices/gpu_words.h"

/* An object, or a place where one or a resource is bound. */
enum kind {
	KIND_SUB, /* a context within */
	KIND_OBJECT,
	KIND_TARGET, /* of a framebuffer; 0: its depths */
	KIND_VERTICES,
	KIND_INDICES,
	KIND_VIEW,
	KIND_UNIFORMS,
	KIND_BUFFER,
	KIND_IMAGE,
	KIND_COUNTER,
};

#define CONTINUATION (1u << 31) /* of a shader's words the third: not the first piece */

#define PLACES 256u /* for a kind of shader; more than there are */
#define PLACES_MANY 32u /* as the library has them, where a command that binds some clears the others */
#define SHADERS 6u /* kinds of them */

/* Several may have one key: pieces, and what the renderer may have kept in a place. */
struct gpu_object {
	struct gpu_object *next;
	enum kind kind;
	uint32_t sub, number; /* with the kind, the key */
	uint32_t bound; /* the number of what is bound */
	uint64_t submission; /* it came with */
	uint64_t cost;
	struct gpu_charge *charge; /* NULL: it is made of no resource */
};

struct follower {
	struct gpu *g;
	struct gpu_objects *o;
	struct gpu_table *attached;
	uint64_t mark;
	bool is_marked; /* what is bound now */
};

static struct gpu_object **bucket_of(struct gpu_objects *o, enum kind kind, uint32_t sub, uint32_t number)
{
	return &o->bucket[((number + sub * 40503u + (uint32_t)kind * 65599u) * 2654435761u) >> 22];
}

static bool is_it(const struct gpu_object *e, enum kind kind, uint32_t sub, uint32_t number)
{
	return e->kind == kind && e->sub == sub && e->number == number;
}

static struct gpu_object *find(struct gpu_objects *o, enum kind kind, uint32_t sub, uint32_t number)
{
	struct gpu_object *e = *bucket_of(o, kind, sub, number);

	for (o->nsteps++; e && !is_it(e, kind, sub, number); o->nsteps++) {
		e = e->next;
	}
	return e;
}

static void put(struct gpu_objects *o, struct gpu_object *e)
{
	struct gpu_object **bucket = bucket_of(o, e->kind, e->sub, e->number);

	e->next = *bucket;
	*bucket = e;
}

/* What is bound at such a place the renderer does not keep: when it goes while it is bound there it is used all the same. */
static bool is_bare(enum kind kind)
{
	return kind == KIND_UNIFORMS || kind == KIND_BUFFER || kind == KIND_IMAGE || kind == KIND_COUNTER;
}

/* @what->cost: besides what each costs. */
static bool add(struct follower *f, const struct gpu_object *what)
{
	uint64_t cost = what->cost + (f->o->n >= GPU_OBJECTS_FREE ? GPU_OBJECT_COST : 0);
	struct gpu_object *e;

	if (f->o->n >= GPU_OBJECTS_MAX || !gpu_take_memory(f->g, cost, "what a context makes within itself")) {
		return false;
	}
	e = malloc(sizeof(*e));
	if (!e) {
		display_budget_give(&f->g->display->budget, cost);
		return false;
	}
	*e = *what;
	e->cost = cost;
	e->submission = f->o->submission;
	if (e->charge) {
		e->charge->refs++;
		e->charge->places += is_bare(e->kind);
	}
	put(f->o, e);
	f->o->n++;
	f->o->nsubs += e->kind == KIND_SUB;
	return true;
}

static void remove_at(struct gpu_objects *o, struct gpu_object **p)
{
	struct gpu_object *e = *p;

	*p = e->next;
	e->next = o->gone;
	o->gone = e;
}

static void remove_all(struct gpu_objects *o, enum kind kind, uint32_t sub, uint32_t number)
{
	struct gpu_object **p = bucket_of(o, kind, sub, number);

	for (o->nsteps++; *p; o->nsteps++) {
		if (is_it(*p, kind, sub, number)) {
			remove_at(o, p);
		} else {
			p = &(*p)->next;
		}
	}
}

/* With all that is in it. The one that has been there from the beginning cannot go. */
static void remove_sub(struct gpu_objects *o, uint32_t sub)
{
	if (sub == 0 || !find(o, KIND_SUB, sub, 0)) {
		return;
	}
	for (unsigned i = 0; i < GPU_OBJECT_BUCKETS; i++) {
		struct gpu_object **p = &o->bucket[i];

		while (*p) {
			if ((*p)->sub == sub) {
				remove_at(o, p);
			} else {
				p = &(*p)->next;
			}
		}
	}
	if (o->sub == sub) {
		o->sub = 0;
	}
}

static bool add_sub(struct follower *f, uint32_t sub)
{
	const struct gpu_object e = {.kind = KIND_SUB, .sub = sub, .cost = GPU_CONTEXT_COST};

	if (sub == 0 || find(f->o, KIND_SUB, sub, 0)) {
		return true;
	}
	if (f->o->nsubs >= GPU_SUB_CONTEXTS_MAX || !add(f, &e)) {
		return false;
	}
	f->o->sub = sub;
	return true;
}

static struct gpu_object *take_first(struct gpu_object **list)
{
	struct gpu_object *e = *list;

	if (e) {
		*list = e->next;
	}
	return e;
}

static void release(struct gpu *g, struct gpu_objects *o, struct gpu_object *e)
{
	o->n--;
	o->nsubs -= e->kind == KIND_SUB;
	if (e->charge) {
		e->charge->places -= is_bare(e->kind);
		gpu_charge_unref(g, e->charge);
	}
	display_budget_give(&g->display->budget, e->cost);
	free(e);
}

static void release_all(struct gpu *g, struct gpu_objects *o, struct gpu_object **list)
{
	struct gpu_object *e;

	while ((e = take_first(list))) {
		release(g, o, e);
	}
}

/* Of a resource that the context may use; NULL: there is none of that number. */
static struct gpu_charge *charge_of(struct follower *f, uint32_t resource)
{
	return gpu_table_find(f->attached, resource) ? gpu_resource_find(f->g, resource)->charge : NULL;
}

/* A resource, or with @charge an object, is bound; number 0: nothing. */
static bool bind(struct follower *f, enum kind kind, uint32_t place, uint32_t number, struct gpu_charge *charge)
{
	const struct gpu_object e = {.kind = kind, .sub = f->o->sub, .number = place, .bound = number, .charge = charge};
	const struct gpu_object *old = find(f->o, kind, e.sub, place);

	/* The renderer may go by the number and keep what it has. */
	if (old && old->bound == number && old->charge == charge) {
		return true;
	}
	if (old && old->bound != number) {
		remove_all(f->o, kind, e.sub, place);
	}
	return !charge || add(f, &e);
}

static bool bind_object(struct follower *f, enum kind kind, uint32_t place, uint32_t number)
{
	const struct gpu_object *object = number ? find(f->o, KIND_OBJECT, f->o->sub, number) : NULL;

	return bind(f, kind, place, number, object ? object->charge : NULL);
}

/* @n resources from place @first on, whose numbers are @step words apart. */
static bool bind_all(struct follower *f, enum kind kind, uint32_t first, const uint32_t *numbers, uint32_t n, uint32_t step)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!bind(f, kind, first + i, numbers[i * step], charge_of(f, numbers[i * step]))) {
			return false;
		}
	}
	return true;
}

static void unbind_from(struct follower *f, enum kind kind, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		remove_all(f->o, kind, f->o->sub, i);
	}
}

static bool create_object(struct follower *f, const uint32_t *w, uint32_t len)
{
	struct gpu_object e = {.kind = KIND_OBJECT, .sub = f->o->sub, .cost = len > GPU_OBJECT_WORDS_FREE ? len * 4ull : 0};
	uint32_t kind = *w >> 8 & 0xff;

	if (len == 0) {
		return true;
	}
	e.number = w[1];
	if (kind == GPU_QUERY) {
		e.charge = len >= 4 ? charge_of(f, w[4]) : NULL;
	} else if (kind == GPU_SURFACE || kind == GPU_MSAA_SURFACE || kind == GPU_SAMPLER_VIEW || kind == GPU_STREAMOUT_TARGET) {
		e.charge = len >= 2 ? charge_of(f, w[2]) : NULL;
	}
	/* It is in the place of one that has its number. */
	if (kind != GPU_SHADER || len < 3 || !(w[3] & CONTINUATION)) {
		remove_all(f->o, KIND_OBJECT, e.sub, e.number);
	}
	return add(f, &e);
}

/* The words are its targets' depths and colours. */
static bool set_framebuffer(struct follower *f, const uint32_t *w, uint32_t len)
{
	for (uint32_t i = 2; i <= len && i < PLACES_MANY; i++) {
		if (!bind_object(f, KIND_TARGET, i - 2, w[i])) {
			return false;
		}
	}
	unbind_from(f, KIND_TARGET, len - 1, PLACES_MANY);
	return true;
}

static bool set_views(struct follower *f, const uint32_t *w, uint32_t len)
{
	uint32_t shader = w[1] * PLACES, first = w[2], n = len - 2;

	if (first >= PLACES || n > PLACES - first) {
		return true;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!bind_object(f, KIND_VIEW, shader + first + i, w[3 + i])) {
			return false;
		}
	}
	unbind_from(f, KIND_VIEW, shader + first + n, shader + PLACES_MANY);
	return true;
}

/* All that the renderer may have in these places. */
static void mark_bound(struct follower *f, enum kind kind, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		struct gpu_object *e = *bucket_of(f->o, kind, f->o->sub, i);

		for (f->o->nsteps++; e; f->o->nsteps++) {
			if (is_it(e, kind, f->o->sub, i) && e->charge) {
				e->charge->drawn = f->mark;
			}
			e = e->next;
		}
	}
}

/* Of what is bound. */
static void mark_targets(struct follower *f)
{
	/* Most of what draws draws in what the one before drew in. */
	if (f->is_marked) {
		return;
	}
	mark_bound(f, KIND_TARGET, 0, PLACES_MANY);
	for (uint32_t shader = 0; shader < SHADERS; shader++) {
		mark_bound(f, KIND_IMAGE, shader * PLACES, PLACES_MANY);
	}
	f->is_marked = true;
}

static void mark_resource(struct follower *f, uint32_t resource)
{
	struct gpu_charge *charge = charge_of(f, resource);

	if (charge) {
		charge->drawn = f->mark;
	}
}

/* What the command draws in. */
static void mark(struct follower *f, const uint32_t *w, uint32_t len)
{
	switch (*w & 0xff) {
	case GPU_SET_FRAMEBUFFER:
	case GPU_SET_SHADER_IMAGES:
	case GPU_SET_SUB_CTX:
	case GPU_CREATE_SUB_CTX:
	case GPU_DESTROY_SUB_CTX:
		f->is_marked = false;
		break;
	case GPU_CLEAR:
	case GPU_DRAW_VBO:
	case GPU_LAUNCH_GRID:
		mark_targets(f);
		break;
	case GPU_RESOURCE_INLINE_WRITE:
	case GPU_RESOURCE_COPY_REGION:
	case GPU_TRANSFER3D:
	case GPU_CLEAR_TEXTURE:
		mark_resource(f, len >= 1 ? w[1] : 0);
		break;
	case GPU_BLIT:
		mark_resource(f, len >= 4 ? w[4] : 0);
		break;
	case GPU_COPY_TRANSFER3D:
		/* Its flags say which way. */
		mark_resource(f, len >= 1 ? w[1] : 0);
		mark_resource(f, len >= 12 ? w[12] : 0);
		break;
	default:
		f->o->draws_anywhere |= (*w & 0xff) > GPU_LINK_SHADER;
		break;
	}
}

/* What is too short, or about places that there are not, the renderer refuses. */
static bool follow(struct follower *f, const uint32_t *w, uint32_t len)
{
	switch (*w & 0xff) {
	case GPU_CREATE_OBJECT:
		return create_object(f, w, len);
	case GPU_DESTROY_OBJECT:
		if (len == 1) {
			remove_all(f->o, KIND_OBJECT, f->o->sub, w[1]);
		}
		return true;
	case GPU_SET_FRAMEBUFFER:
		return len < 2 || set_framebuffer(f, w, len);
	case GPU_SET_VERTEX_BUFFERS:
		if (!bind_all(f, KIND_VERTICES, 0, w + 3, len / 3, 3)) {
			return false;
		}
		unbind_from(f, KIND_VERTICES, len / 3, PLACES_MANY);
		return true;
	case GPU_SET_SAMPLER_VIEWS:
		return len < 2 || set_views(f, w, len);
	case GPU_SET_INDEX_BUFFER:
		return len < 1 || bind_all(f, KIND_INDICES, 0, w + 1, 1, 1);
	case GPU_SET_UNIFORM_BUFFER:
		return len < 5 || bind_all(f, KIND_UNIFORMS, w[1] * PLACES + w[2], w + 5, 1, 1);
	case GPU_SET_SHADER_BUFFERS:
		return len < 2 || bind_all(f, KIND_BUFFER, w[1] * PLACES + w[2], w + 5, (len - 2) / 3, 3);
	case GPU_SET_SHADER_IMAGES:
		return len < 2 || bind_all(f, KIND_IMAGE, w[1] * PLACES + w[2], w + 7, (len - 2) / 5, 5);
	case GPU_SET_ATOMIC_BUFFERS:
		return len < 1 || bind_all(f, KIND_COUNTER, w[1], w + 4, (len - 1) / 3, 3);
	case GPU_SET_SUB_CTX:
		if (len == 1 && (w[1] == 0 || find(f->o, KIND_SUB, w[1], 0))) {
			f->o->sub = w[1];
		}
		return true;
	case GPU_CREATE_SUB_CTX:
		return len != 1 || add_sub(f, w[1]);
	case GPU_DESTROY_SUB_CTX:
		if (len == 1) {
			remove_sub(f->o, w[1]);
		}
		return true;
	default:
		return true;
	}
}

void gpu_objects_undo(struct gpu *g, struct gpu_objects *o)
{
	struct gpu_object *gone, *e;

	for (unsigned i = 0; i < GPU_OBJECT_BUCKETS; i++) {
		for (struct gpu_object **p = &o->bucket[i]; *p;) {
			if ((*p)->submission == o->submission) {
				remove_at(o, p);
			} else {
				p = &(*p)->next;
			}
		}
	}
	gone = o->gone;
	o->gone = NULL;
	while ((e = take_first(&gone))) {
		if (e->submission == o->submission) {
			release(g, o, e);
		} else {
			put(o, e);
		}
	}
	o->sub = o->sub_before;
}

bool gpu_objects_follow(struct gpu *g, struct gpu_objects *o, struct gpu_table *attached, const uint32_t *words, uint32_t n, uint64_t mark_with)
{
	struct follower f = {.g = g, .o = o, .attached = attached, .mark = mark_with};

	o->submission++;
	o->sub_before = o->sub;
	o->nsteps = 0;
	o->draws_anywhere = o->is_unsure;
	for (uint32_t i = 0; i < n; i += (words[i] >> 16) + 1) {
		if (!follow(&f, &words[i], words[i] >> 16) || o->nsteps > GPU_OBJECT_STEPS_MAX) {
			gpu_objects_undo(g, o);
			return false;
		}
		if (mark_with) {
			mark(&f, &words[i], words[i] >> 16);
		}
	}
	return true;
}

void gpu_objects_done(struct gpu *g, struct gpu_objects *o, bool is_whole)
{
	struct gpu_object *e;

	o->is_unsure |= !is_whole;
	while (o->is_unsure && (e = take_first(&o->gone))) {
		e->next = o->kept;
		o->kept = e;
	}
	release_all(g, o, &o->gone);
}

/* Has the renderer bind nothing at a place that it may have something bound at. */
static void clear_place(struct gpu *g, const struct gpu_objects *o, uint32_t ctx, const struct gpu_object *e)
{
	static const struct {
		uint32_t command, len;
	} how[] = {
		[KIND_UNIFORMS] = {GPU_SET_UNIFORM_BUFFER, 5},
		[KIND_BUFFER] = {GPU_SET_SHADER_BUFFERS, 5},
		[KIND_IMAGE] = {GPU_SET_SHADER_IMAGES, 7},
		[KIND_COUNTER] = {GPU_SET_ATOMIC_BUFFERS, 4},
	};
	uint64_t room[8] = {0}; /* aligned as submissions are */
	uint32_t *w = (uint32_t *)room, len = how[e->kind].len, n = 0;

	w[n++] = GPU_SET_SUB_CTX | 1u << 16;
	w[n++] = e->sub;
	w[n] = how[e->kind].command | len << 16;
	/* Counters have no kinds of shaders. */
	if (e->kind == KIND_COUNTER) {
		w[n + 1] = e->number;
	} else {
		w[n + 1] = e->number / PLACES;
		w[n + 2] = e->number % PLACES;
	}
	n += len + 1;
	w[n++] = GPU_SET_SUB_CTX | 1u << 16;
	w[n++] = o->sub;
	g->backend->ops->submit(g->backend, ctx, w, n);
}

static void unbind_in(struct gpu *g, struct gpu_objects *o, uint32_t ctx, const struct gpu_charge *charge, struct gpu_object **list)
{
	struct gpu_object **p = list;

	while (*p) {
		struct gpu_object *e = *p;

		if (e->charge == charge && is_bare(e->kind)) {
			*p = e->next;
			clear_place(g, o, ctx, e);
			release(g, o, e);
		} else {
			p = &e->next;
		}
	}
}

void gpu_objects_unbind(struct gpu *g, struct gpu_objects *o, uint32_t ctx, const struct gpu_charge *charge)
{
	for (unsigned i = 0; i < GPU_OBJECT_BUCKETS; i++) {
		unbind_in(g, o, ctx, charge, &o->bucket[i]);
	}
	unbind_in(g, o, ctx, charge, &o->kept);
}

void gpu_objects_finish(struct gpu *g, struct gpu_objects *o)
{
	for (unsigned i = 0; i < GPU_OBJECT_BUCKETS; i++) {
		release_all(g, o, &o->bucket[i]);
	}
	release_all(g, o, &o->kept);
}
