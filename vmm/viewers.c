/* SPDX-License-Identifier: MIT */
#include "vmm/viewers.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/input_desc.h"
#include "vmm/clock.h"
#include "vmm/log.h"

/* From one viewer before others have their turn. */
#define TURN_PACKETS 32
#define NOTCH 120

static_assert(VIEWER_SLOTS == INPUT_TOUCH_SLOTS, "every slot of a viewer's is one of the guest's");

static void close_conn(struct viewer_conn *c, enum viewer_bye_reason reason, const char *text);
static void share_control(struct viewers *vs);

unsigned viewers_count(const struct viewers *vs)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		n += vs->conn[i] && vs->conn[i]->state == VIEWER_ACTIVE;
	}
	return n;
}

/*
 * To the display's loop.
 */

/* Not before: who is on the way back needs the loop. */
static void end_stop(struct viewers *vs)
{
	if (vs->is_stopping && vs->n == 0) {
		vs->loop = NULL;
	}
}

static void on_back(struct loop_post *post)
{
	struct viewer_conn *c = (struct viewer_conn *)((char *)post - offsetof(struct viewer_conn, back));
	struct viewers *vs = c->owner;
	bool was_kept = c->is_kept;

	if (!was_kept) {
		close(c->src.fd);
	}
	pthread_mutex_destroy(&c->lock);
	vs->conn[c->index] = NULL;
	vs->n--;
	free(c);
	end_stop(vs);
	if (was_kept && vs->ops->kept_gone) {
		vs->ops->kept_gone(vs->ctx);
	}
}

static void on_lost_here(struct loop_post *post)
{
	struct viewer_conn *c = (struct viewer_conn *)((char *)post - offsetof(struct viewer_conn, lost));

	close_conn(c, c->lost_reason, c->lost_text);
}

/* The display's loop. */
static void on_lost(void *ctx, enum viewer_bye_reason reason, const char *text)
{
	struct viewer_conn *c = ctx;

	c->lost_reason = reason;
	snprintf(c->lost_text, sizeof(c->lost_text), "%s", text);
	loop_post(c->owner->loop, &c->lost);
}

static const struct viewer_out_ops out_ops = {.lost = on_lost};

/* The display's loop. */
static void work_off(struct viewer_conn *c, const struct viewer_mail *m)
{
	struct display *d = c->owner->display;

	/* First: how its pictures come to it, and why, is decided by who controls. */
	if (m->pace == VIEWER_PACE_ON) {
		display_pace(d, &c->out.sink);
	} else if (m->pace == VIEWER_PACE_OFF && d->pacer == &c->out.sink) {
		display_pace(d, NULL);
	}
	if (m->start) {
		viewer_out_init(&c->out, d, c->src.fd, &out_ops, c);
	}
	if (m->has_imports) {
		viewer_out_imports(&c->out, m->imports);
	}
	for (unsigned i = 0; i < d->nscanouts; i++) {
		if (m->released & 1u << i) {
			viewer_out_release(&c->out, i, m->release[i]);
		}
		if (m->presented & 1u << i) {
			viewer_out_presented(&c->out, i, m->present[i], m->presented_ns[i]);
		}
		if (m->outputs & 1u << i) {
			viewer_out_output(&c->out, &m->output[i]);
		}
	}
	if (m->stop) {
		viewer_out_finish(&c->out);
		loop_post(c->owner->loop, &c->back);
	}
}

static void on_there(struct loop_post *post)
{
	struct viewer_conn *c = (struct viewer_conn *)((char *)post - offsetof(struct viewer_conn, there));
	struct viewer_mail mail;

	pthread_mutex_lock(&c->lock);
	mail = c->mail;
	memset(&c->mail, 0, sizeof(c->mail));
	c->is_posted = false;
	pthread_mutex_unlock(&c->lock);
	work_off(c, &mail);
}

/* Between the two, c->mail is to be changed. */
static struct viewer_mail *mail_begin(struct viewer_conn *c)
{
	pthread_mutex_lock(&c->lock);
	return &c->mail;
}

static void mail_end(struct viewer_conn *c)
{
	bool was_posted = c->is_posted;

	c->is_posted = true;
	if (!was_posted) {
		/* Not after the lock: whoever works it off may be done with @c by then. */
		loop_post(c->owner->display->loop, &c->there);
	}
	pthread_mutex_unlock(&c->lock);
}

/*
 * Saying.
 */

/* Return: false when there is no room; one whose other side is gone is noticed when it is read. */
static bool say(const struct viewer_conn *c, const void *message, size_t len)
{
	return send(c->src.fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

static void say_bye(int fd, enum viewer_bye_reason reason, const char *text)
{
	struct viewer_bye m = {.hdr.type = VIEWER_BYE, .reason = reason, .version = VIEWER_VERSION};

	snprintf((char *)m.text, sizeof(m.text), "%s", text);
	send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool say_hello(const struct viewer_conn *c)
{
	const struct viewers *vs = c->owner;
	struct viewer_hello m = {.hdr.type = VIEWER_HELLO, .version = VIEWER_VERSION, .nscanouts = vs->display ? vs->display->nscanouts : 0, .viewer = c->number,
		.features = (c->out.takes_guest ? VIEWER_CAN_GUEST : 0) | (c->takes_dmabufs ? VIEWER_CAN_DMABUF : 0)};

	if (c->takes_dmabufs) {
		m.render_major = vs->render_major;
		m.render_minor = vs->render_minor;
	}
	snprintf((char *)m.vm, sizeof(m.vm), "%s", vs->vm);
	return say(c, &m, sizeof(m));
}

static bool say_role(const struct viewer_conn *c)
{
	const struct viewers *vs = c->owner;
	struct viewer_role m = {.hdr.type = VIEWER_ROLE, .controls = vs->controller == c, .nviewers = viewers_count(vs)};

	if (vs->controller) {
		m.controller = vs->controller->number;
		m.pid = (uint32_t)vs->controller->pid;
		memcpy(m.name, vs->controller->name, sizeof(m.name));
	}
	return say(c, &m, sizeof(m));
}

static bool say_input_state(const struct viewer_conn *c)
{
	struct viewer_input_state m = {.hdr.type = VIEWER_INPUT_STATE};

	c->owner->ops->input_state(c->owner->ctx, &m);
	return say(c, &m, sizeof(m));
}

static bool is_full(const struct viewer_conn *c)
{
	return c->nlate == VIEWERS_LATE_MAX;
}

/* Its end is noticed whatever is watched. */
static void watch(struct viewer_conn *c)
{
	loop_set_events(&c->src, (is_full(c) ? 0u : EPOLLIN) | (c->input_new || c->role_new ? EPOLLOUT : 0u));
}

/* What is new, as far as there is room. */
static void say_news(struct viewer_conn *c)
{
	if (c->state != VIEWER_ACTIVE) {
		return;
	}
	if (c->input_new) {
		c->input_new = !say_input_state(c);
	}
	if (c->role_new) {
		c->role_new = !say_role(c);
	}
	watch(c);
}

static void say_roles(struct viewers *vs)
{
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		if (vs->conn[i]) {
			vs->conn[i]->role_new = true;
			say_news(vs->conn[i]);
		}
	}
}

void viewers_input_changed(struct viewers *vs)
{
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		if (vs->conn[i]) {
			vs->conn[i]->input_new = true;
			say_news(vs->conn[i]);
		}
	}
}

/*
 * Control.
 */

static void release(struct viewer_conn *c)
{
	c->wheel[0] = c->wheel[1] = 0;
	c->owner->ops->release(c->owner->ctx, c);
}

static void set_pace(struct viewer_conn *c, bool on)
{
	if (c->owner->display) {
		mail_begin(c)->pace = on ? VIEWER_PACE_ON : VIEWER_PACE_OFF;
		mail_end(c);
	}
}

/* @c: NULL for nobody. */
static void give_control(struct viewers *vs, struct viewer_conn *c)
{
	struct viewer_conn *before = vs->controller;

	if (before == c) {
		return;
	}
	vs->controller = c;
	if (before) {
		before->nlate = 0;
		watch(before);
		release(before);
		set_pace(before, false);
	}
	if (c) {
		set_pace(c, true);
		vs->ops->event(vs->ctx, c, "controls");
	}
}

/* To whoever has wanted it for longest, when nobody has it. */
static void share_control(struct viewers *vs)
{
	struct viewer_conn *next = NULL;

	for (unsigned i = 0; !vs->controller && i < VIEWERS_MAX; i++) {
		struct viewer_conn *c = vs->conn[i];

		if (c && c->state == VIEWER_ACTIVE && c->wants && (!next || c->number < next->number)) {
			next = c;
		}
	}
	if (next) {
		give_control(vs, next);
	}
}

/*
 * Input.
 */

/* The place on all outputs side by side, as a part of their box. */
static int32_t place(const struct viewer_conn *c, unsigned scanout, bool is_y, int32_t value)
{
	uint64_t before = 0, all = 0, own = 0;

	for (unsigned i = 0; c->owner->display && i < c->owner->display->nscanouts; i++) {
		uint64_t shown = __atomic_load_n(&c->out.at[i].shown, __ATOMIC_RELAXED), side = is_y ? shown & 0xffffffff : shown >> 32;

		before += i < scanout && !is_y ? side : 0;
		all = is_y ? (side > all ? side : all) : all + side;
		own = i == scanout ? side : own;
	}
	if (own == 0) {
		before = 0;
		all = own = 1;
	}
	return (int32_t)((before * VIEWER_ABS_MAX + (uint64_t)value * own) * INPUT_TABLET_MAX / (all * VIEWER_ABS_MAX));
}

static unsigned put(struct input_ev *ev, unsigned n, unsigned type, unsigned code, int32_t value)
{
	ev[n] = (struct input_ev){.type = (uint16_t)type, .code = (uint16_t)code, .value = value};
	return n + 1;
}

/* Programs of the old kind count notches. */
static unsigned put_wheel(struct viewer_conn *c, struct input_ev *ev, unsigned n, unsigned code, int32_t value)
{
	bool is_horizontal = code == REL_HWHEEL_HI_RES;
	int64_t rest = c->wheel[is_horizontal] + (int64_t)value;

	n = put(ev, n, EV_REL, code, value);
	if (rest / NOTCH != 0) {
		n = put(ev, n, EV_REL, is_horizontal ? REL_HWHEEL : REL_WHEEL, (int32_t)(rest / NOTCH));
	}
	c->wheel[is_horizontal] = (int)(rest % NOTCH);
	return n;
}

static void on_input(struct viewer_conn *c, const struct viewer_in_input *in)
{
	struct input_ev ev[2 * VIEWER_EVENTS_MAX + 1];
	unsigned n = 0;

	for (unsigned i = 0; i < in->nevents; i++) {
		const struct viewer_event *e = &in->event[i];

		if (e->type == EV_REL && (e->code == REL_WHEEL_HI_RES || e->code == REL_HWHEEL_HI_RES)) {
			n = put_wheel(c, ev, n, e->code, e->value);
		} else if (e->type == EV_ABS && e->code != ABS_MT_SLOT && e->code != ABS_MT_TRACKING_ID) {
			n = put(ev, n, EV_ABS, e->code, place(c, in->scanout, e->code == ABS_Y || e->code == ABS_MT_POSITION_Y, e->value));
		} else {
			n = put(ev, n, e->type, e->code, e->value);
		}
	}
	n = put(ev, n, EV_SYN, SYN_REPORT, 0);
	c->owner->ops->input(c->owner->ctx, c, in->device, ev, n);
	if (c->owner->display) {
		viewer_out_input(&c->out, in->time_ns);
	}
}

/* It must not come before those that wait already. */
static void put_late(struct viewer_conn *c, const struct viewer_in_input *in)
{
	c->late[(c->late_first + c->nlate++) % VIEWERS_LATE_MAX] = *in;
	watch(c);
}

void viewers_room(struct viewers *vs)
{
	struct viewer_conn *c = vs->controller;

	while (c && c->nlate > 0 && vs->ops->has_room(vs->ctx, c->late[c->late_first].device)) {
		const struct viewer_in_input *in = &c->late[c->late_first];

		c->late_first = (c->late_first + 1) % VIEWERS_LATE_MAX;
		c->nlate--;
		if (in->nevents > 0) {
			on_input(c, in);
		} else {
			release(c);
		}
		watch(c);
	}
}

/*
 * Reading.
 */

static void protocol_error(struct viewer_conn *c, const char *why)
{
	c->owner->refused++;
	log_msg(LOG_INFO, "viewer %u (process %d): %s", c->number, (int)c->pid, why);
	close_conn(c, VIEWER_BYE_PROTOCOL, why);
}

/* Return: NULL when there are none, or no memory: pictures in memory do as well. */
static struct viewer_formats *formats_of(const struct viewer_format *format, uint32_t n)
{
	struct viewer_formats *f = n > 0 ? malloc(sizeof(*f) + n * sizeof(*format)) : NULL;

	if (f) {
		f->n = n;
		memcpy(f->at, format, n * sizeof(*format));
	}
	return f;
}

static void on_hello(struct viewer_conn *c, const struct viewer_in_hello *hello)
{
	struct viewers *vs = c->owner;

	if (hello->version != VIEWER_VERSION) {
		close_conn(c, VIEWER_BYE_VERSION, "this monitor speaks another version of the viewer protocol");
		return;
	}
	loop_timer_stop(&c->patience);
	memcpy(c->name, hello->name, sizeof(c->name));
	c->wants = !(hello->flags & VIEWER_OBSERVES);
	c->out.takes_guest = hello->features & VIEWER_CAN_GUEST;
	c->takes_dmabufs = vs->has_dmabufs && vs->display && (hello->features & VIEWER_CAN_DMABUF);
	if (!say_hello(c)) {
		close_conn(c, VIEWER_BYE_SLOW, "no room for the hello");
		return;
	}
	if (c->takes_dmabufs) {
		c->out.imports = formats_of(hello->format, hello->nformats);
		c->imports_any = c->out.imports != NULL;
		c->out.awaits_imports = hello->nformats == 0;
	}
	c->state = VIEWER_ACTIVE;
	c->input_new = true;
	if (vs->display) {
		mail_begin(c)->start = true;
		mail_end(c);
	}
	vs->ops->event(vs->ctx, c, "connected");
	share_control(vs);
	say_roles(vs);
}

static void on_release(struct viewer_conn *c, const struct viewer_release *m)
{
	struct viewer_mail *mail = mail_begin(c);
	bool is_second = mail->released & 1u << m->scanout;

	mail->released |= 1u << m->scanout;
	mail->release[m->scanout] = m->number;
	mail_end(c);
	/* The display's loop has not sent another frame since the first one came. */
	if (is_second) {
		protocol_error(c, "release of a frame that is not with the viewer");
	}
}

static void on_presented(struct viewer_conn *c, const struct viewer_presented *m)
{
	struct viewer_mail *mail = mail_begin(c);

	mail->presented |= 1u << m->scanout;
	mail->present[m->scanout] = m->number;
	mail->presented_ns[m->scanout] = m->presented_ns;
	mail_end(c);
}

static void on_imports(struct viewer_conn *c, const struct viewer_in_imports *m)
{
	struct viewer_formats *formats = c->takes_dmabufs ? formats_of(m->format, m->nformats) : NULL;
	struct viewer_mail *mail;

	if (!c->takes_dmabufs) {
		return;
	}
	c->imports_any = formats != NULL;
	memcpy(c->imports_why, m->text, sizeof(c->imports_why));
	log_make_printable(c->imports_why);
	if (!formats && !c->said_imports) {
		c->said_imports = true;
		log_msg(LOG_INFO, "viewer %u (process %d) takes no dma-bufs: %s", c->number, (int)c->pid, c->imports_why[0] ? c->imports_why : "it does not say why");
	}
	mail = mail_begin(c);
	free(mail->imports);
	mail->imports = formats;
	mail->has_imports = true;
	mail_end(c);
}

static void on_output(struct viewer_conn *c, const struct viewer_output *m)
{
	struct viewer_mail *mail = mail_begin(c);

	mail->outputs |= 1u << m->scanout;
	mail->output[m->scanout] = *m;
	mail_end(c);
}

static void on_control(struct viewer_conn *c, bool wants)
{
	struct viewers *vs = c->owner;

	c->wants = wants;
	if (wants) {
		give_control(vs, c);
	} else if (vs->controller == c) {
		give_control(vs, NULL);
		share_control(vs);
	}
	say_roles(vs);
}

static void on_message(struct viewer_conn *c, int type, const union viewer_in *m)
{
	struct viewers *vs = c->owner;
	bool controls = vs->controller == c;

	if (!vs->display && (type == VIEWER_RELEASE || type == VIEWER_PRESENTED || type == VIEWER_OUTPUT)) {
		protocol_error(c, "there is no scanout");
		return;
	}
	switch (type) {
	case VIEWER_CLIENT_HELLO:
		protocol_error(c, "a second hello");
		break;
	case VIEWER_RELEASE:
		on_release(c, &m->release);
		break;
	case VIEWER_PRESENTED:
		on_presented(c, &m->presented);
		break;
	case VIEWER_CONTROL:
		on_control(c, m->control.wants);
		break;
	case VIEWER_IMPORTS:
		on_imports(c, &m->imports);
		break;
	case VIEWER_OUTPUT:
		if (controls) {
			on_output(c, &m->output);
		}
		break;
	case VIEWER_INPUT:
		if (controls && c->nlate == 0 && vs->ops->has_room(vs->ctx, m->input.device)) {
			on_input(c, &m->input);
		} else if (controls) {
			put_late(c, &m->input);
		}
		break;
	case VIEWER_FOCUS:
		if (controls && !m->focus.has && c->nlate > 0) {
			put_late(c, &(const struct viewer_in_input){.device = VIEWER_KEYBOARD});
		} else if (controls && !m->focus.has) {
			release(c);
		}
		break;
	case VIEWER_ACTION:
		if (controls) {
			vs->ops->action(vs->ctx, m->action.action);
		}
		break;
	default:
		break;
	}
}

static void on_packet(struct viewer_conn *c, const void *packet, size_t len)
{
	unsigned nscanouts = c->owner->display ? c->owner->display->nscanouts : 0;
	char why[VIEWER_TEXT_LEN];
	union viewer_in m;
	int type = viewer_in_parse(&m, packet, len, nscanouts, why, sizeof(why));

	if (type < 0) {
		protocol_error(c, why);
	} else if (c->state == VIEWER_ACTIVE) {
		on_message(c, type, &m);
	} else if (type == VIEWER_CLIENT_HELLO) {
		on_hello(c, &m.hello);
	} else if (!c->is_kept) {
		protocol_error(c, "the first message is no hello");
	} /* else it was meant for the monitor before the restart. */
}

/* Return: whether there may be more. */
static bool read_one(struct viewer_conn *c)
{
	static uint8_t packet[VIEWER_PACKET_MAX];
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(c->src.fd, &msg, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	if (n <= 0) {
		close_conn(c, 0, "");
	} else if (msg.msg_flags & MSG_TRUNC) {
		protocol_error(c, "a packet that is too long");
	} else if (msg.msg_flags & MSG_CTRUNC) {
		protocol_error(c, "a descriptor, where none belongs");
	} else {
		on_packet(c, packet, (size_t)n);
	}
	return c->state != VIEWER_CLOSING && !is_full(c);
}

static void on_event(struct loop_source *src, uint32_t events)
{
	struct viewer_conn *c = (struct viewer_conn *)((char *)src - offsetof(struct viewer_conn, src));

	if (events & EPOLLOUT) {
		say_news(c);
	}
	if (is_full(c)) {
		/* Nothing but its end can have come. */
		if (events & (EPOLLHUP | EPOLLERR)) {
			close_conn(c, 0, "");
		}
		return;
	}
	for (unsigned i = 0; (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && i < TURN_PACKETS; i++) {
		if (!read_one(c)) {
			break;
		}
	}
}

/*
 * Coming and going.
 */

/* @reason 0: nobody is there to be told. */
static void close_conn(struct viewer_conn *c, enum viewer_bye_reason reason, const char *text)
{
	struct viewers *vs = c->owner;
	bool was_active = c->state == VIEWER_ACTIVE;

	if (c->state == VIEWER_CLOSING) {
		return;
	}
	if (reason) {
		say_bye(c->src.fd, reason, text);
	}
	c->state = VIEWER_CLOSING;
	loop_remove(&c->src);
	loop_timer_stop(&c->patience);
	if (was_active) {
		release(c);
		vs->controller = vs->controller == c ? NULL : vs->controller;
		vs->ops->event(vs->ctx, c, "left");
	}
	if (was_active && vs->display) {
		mail_begin(c)->stop = true;
		mail_end(c);
	} else {
		loop_post(vs->loop, &c->back);
	}
	if (was_active && !vs->is_stopping) {
		share_control(vs);
		say_roles(vs);
	}
}

static void on_patience(struct loop_timer *timer)
{
	struct viewer_conn *c = (struct viewer_conn *)((char *)timer - offsetof(struct viewer_conn, patience));

	protocol_error(c, "no hello");
}

/* Return: NULL when there is no place. */
static struct viewer_conn *new_conn(struct viewers *vs, int fd)
{
	struct viewer_conn *c = NULL;
	unsigned i = 0;

	while (i < VIEWERS_MAX && vs->conn[i]) {
		i++;
	}
	c = i < VIEWERS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		return NULL;
	}
	*c = (struct viewer_conn){.owner = vs, .index = i, .src = {.fd = fd, .events = EPOLLIN, .fn = on_event}, .number = ++vs->came, .there.fn = on_there,
		.back.fn = on_back, .lost.fn = on_lost_here};
	if (loop_add(vs->loop, &c->src) < 0) {
		free(c);
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	loop_timer_init(&c->patience, vs->loop, on_patience);
	vs->conn[i] = c;
	vs->n++;
	return c;
}

static void on_connection(struct listener *l, int fd, pid_t pid)
{
	struct viewers *vs = (struct viewers *)((char *)l - offsetof(struct viewers, listener));
	struct viewer_conn *c = new_conn(vs, fd);

	if (!c) {
		say_bye(fd, VIEWER_BYE_FULL, "too many viewers");
		close(fd);
		return;
	}
	c->pid = pid;
	loop_timer_set(&c->patience, clock_now_ns() + VIEWERS_HELLO_NS);
}

int viewers_add(struct viewers *vs, int fd, pid_t pid)
{
	struct viewer_conn *c = new_conn(vs, fd);

	if (!c) {
		return -ENOMEM;
	}
	c->is_kept = true;
	c->pid = pid;
	return 0;
}

void viewers_init(struct viewers *vs, struct loop *loop, struct display *display, const char *vm, const struct viewers_ops *ops, void *ctx)
{
	*vs = (struct viewers){.loop = loop, .display = display, .vm = vm, .ops = ops, .ctx = ctx};
}

int viewers_listen(struct viewers *vs, int fd)
{
	int r = listener_init(&vs->listener, vs->loop, fd, "viewer", on_connection);

	vs->listener.allow = vs->allow;
	vs->listener.nallow = vs->nallow;
	return r;
}

void viewers_stop(struct viewers *vs, enum viewer_bye_reason reason)
{
	if (!vs->loop || vs->is_stopping) {
		return;
	}
	vs->is_stopping = true;
	listener_finish(&vs->listener);
	for (unsigned i = 0; i < VIEWERS_MAX; i++) {
		if (vs->conn[i]) {
			close_conn(vs->conn[i], reason, reason == VIEWER_BYE_RESTART ? "the VM starts again" : "the VM has ended");
		}
	}
	end_stop(vs);
}
