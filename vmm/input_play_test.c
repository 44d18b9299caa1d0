/* SPDX-License-Identifier: MIT */
/* Commands and the events they come to, on a VM that writes down what it is sent. */
#include "vmm/input_play.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/clock.h"

static const struct input_play_device devices[] = {
	{.name = "pad0", .type = "evdev"}, {.name = "kb", .type = "keyboard", .layout = "us"}, {.name = "kb2", .type = "keyboard", .layout = "de"},
	{.name = "m", .type = "mouse"}, {.name = "t", .type = "tablet"}, {.name = "screen", .type = "multitouch"},
};

static struct input_play play;
static struct input_script script;
static char said[1 << 20];
static size_t said_len;
/* Caps Lock in the guest, and its light, which follows so many looks later; whether the key is Caps Lock there. */
static bool caps, light, caps_is_caps;
static unsigned caps_late, behind;
static bool keeps_pace; /* the pauses between commands have a test of their own */
static unsigned asked, sends, largest;
static int fail_send; /* the send that fails, from 1 */
static uint32_t box[2]; /* the display */

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	said_len += (size_t)vsnprintf(said + said_len, sizeof(said) - said_len, fmt, ap);
	va_end(ap);
	assert_true(said_len < sizeof(said));
}

/* `kb:k30+;k30-; ` for A pressed and released; ABS is a, REL r. */
static int on_send(void *ctx, const char *device, const struct input_ev *ev, unsigned n)
{
	assert_ptr_equal(ctx, &caps);
	assert_true(n > 0 && ev[n - 1].type == EV_SYN);
	say("%s%s:", said_len ? " " : "", device);
	for (unsigned i = 0; i < n; i++) {
		if (ev[i].type == EV_SYN) {
			say(";");
		} else if (ev[i].type == EV_KEY) {
			say("k%u%c", ev[i].code, ev[i].value ? '+' : '-');
			if (caps_is_caps && ev[i].code == KEY_CAPSLOCK && ev[i].value) {
				caps = !caps;
				behind = caps_late;
			}
		} else {
			say("%c%u=%d", ev[i].type == EV_ABS ? 'a' : 'r', ev[i].code, ev[i].value);
		}
	}
	largest = n > largest ? n : largest;
	return (int)++sends == fail_send ? -EIO : 0;
}

static int on_sleep(void *ctx, uint64_t ns)
{
	(void)ctx;
	say(" ~%u", (unsigned)(ns / CLOCK_NS_PER_MS));
	return 0;
}

static int on_wait(void *ctx, const char *regex, uint64_t timeout_ns)
{
	(void)ctx;
	say(" ?%s/%u", regex, (unsigned)(timeout_ns / CLOCK_NS_PER_MS));
	return 0;
}

static int on_box(void *ctx, uint32_t size[2])
{
	(void)ctx;
	size[0] = box[0];
	size[1] = box[1];
	return 0;
}

static int on_shot(void *ctx, const char *path)
{
	(void)ctx;
	say(" !%s", path);
	return 0;
}

static int on_caps(void *ctx, const char *device, bool *on)
{
	(void)ctx;
	assert_string_equal(device, "kb");
	asked++;
	light = behind ? light : caps;
	behind -= behind > 0;
	*on = light;
	return 0;
}

static const struct input_play_ops ops = {.send = on_send, .sleep = on_sleep, .wait = on_wait, .has_caps = on_caps, .box = on_box, .shot = on_shot};

static int setup(void **state)
{
	(void)state;
	play = (struct input_play){.device = devices, .ndevices = sizeof(devices) / sizeof(devices[0]), .ops = &ops, .ctx = &caps};
	said_len = 0;
	said[0] = '\0';
	caps = keeps_pace = false;
	caps_is_caps = true;
	caps_late = behind = 0;
	asked = sends = largest = 0;
	fail_send = 0;
	box[0] = box[1] = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	input_script_finish(&script);
	input_play_finish(&play);
	input_play_finish(&play);
	return 0;
}

static const struct input_command *command(const char *text)
{
	input_script_finish(&script);
	assert_int_equal(input_script_read(&script, text, strlen(text)), 0);
	assert_int_equal(script.n, 1);
	if (script.command[0].mistake) {
		fail_msg("%s: %s", text, script.command[0].mistake);
	}
	return &script.command[0];
}

/* Checks, then does it, and wants it to come to that. */
static void assert_played(const char *text, const char *want)
{
	const struct input_command *c = command(text);

	said_len = 0;
	said[0] = '\0';
	play.nsent = keeps_pace ? play.nsent : 0;
	if (input_play_check(&play, c) < 0) {
		fail_msg("%s: %s", text, play.err);
	}
	assert_int_equal(said_len, 0);
	assert_int_equal(input_play_run(&play, c), 0);
	assert_string_equal(said, want);
}

static void assert_refused(const char *text, const char *want)
{
	const struct input_command *c = command(text);

	said_len = 0;
	assert_int_equal(input_play_check(&play, c), -EINVAL);
	if (!strstr(play.err, want)) {
		fail_msg("%s: want \"%s\", got \"%s\"", text, want, play.err);
	}
	assert_int_equal(said_len, 0);
}

static void test_input_play_types_with_the_layout_of_the_device(void **state)
{
	(void)state;
	assert_played("type aB", "kb:k30+;k30-;k42+;k48+;k48-;k42-;");
	input_play_finish(&play);
	play.wanted = "kb2";
	assert_refused("type \xe2\x88\x9e", "type: \"\xe2\x88\x9e\" (U+221E) is on no key of the layout \"de\"");
	input_play_finish(&play);
	play.layout = "fr";
	assert_refused("type \xe2\x88\x9e", "layout \"fr\"");
	play.wanted = NULL;
	assert_played("type a", "kb:k16+;k16-;");
}

static void test_input_play_refuses_a_text_before_its_first_character(void **state)
{
	(void)state;
	/* More than one portion before the character that cannot be typed. */
	assert_refused("type abcdefghijklmnopqrstuvwxyz\xc3\xa9", "type: \"\xc3\xa9\" (U+00E9)");
	assert_refused("type a\x1b", "control character U+001B");
	play.layout = "nolayout";
	input_play_finish(&play);
	assert_refused("type a", "type: there is no keyboard layout \"nolayout\"");
}

static void test_input_play_caps_lock_is_off_while_text_is_typed(void **state)
{
	(void)state;
	caps = true;
	assert_played("type aB", "kb:k58+;k58-; ~10 kb:k30+;k30-;k42+;k48+;k48-;k42-;k58+;k58-;");
	assert_true(caps);
	/* A key is a key. */
	asked = 0;
	assert_played("key a", "kb:k30+;k30-;");
	assert_int_equal(asked, 0);
}

static void test_input_play_caps_lock_is_waited_for(void **state)
{
	(void)state;
	caps_late = 2;
	assert_played("key capslock", "kb:k58+;k58-; ~10 ~10");
	assert_true(light);
	/* So that this one knows. */
	assert_played("type a", "kb:k58+;k58-; ~10 ~10 kb:k30+;k30-;k58+;k58-; ~10 ~10");
	assert_played("type b", "kb:k58+;k58-; ~10 ~10 kb:k48+;k48-;k58+;k58-; ~10 ~10");
	assert_played("key capslock", "kb:k58+;k58-; ~10 ~10");
	assert_played("type a", "kb:k30+;k30-;");
	/* But not for ever. */
	caps_is_caps = false;
	assert_int_equal(input_play_check(&play, command("key capslock")), 0);
	asked = 0;
	assert_int_equal(input_play_run(&play, &script.command[0]), 0);
	assert_int_equal(asked, 51);
	caps = true;
	said_len = 0;
	assert_int_equal(input_play_run(&play, command("type a")), 0);
	assert_non_null(strstr(said, "kb:k30+;k30-;"));
}

static void test_input_play_long_text_goes_in_portions_with_pauses(void **state)
{
	(void)state;
	assert_played("type aaaaaaaaa", "kb:k30+;k30-;k30+;k30-;k30+;k30-;k30+;k30-; ~10 kb:k30+;k30-;k30+;k30-;k30+;k30-;k30+;k30-; ~10 kb:k30+;k30-;");
	keeps_pace = true;
	/* Portions of different commands have pauses between them too. */
	assert_played("key b", "kb:k48+;k48-;");
	assert_played("type aaaaaaaa", " ~10 kb:k30+;k30-;k30+;k30-;k30+;k30-;k30+;k30-; ~10 kb:k30+;k30-;k30+;k30-;k30+;k30-;k30+;k30-;");
	/* A key comes up in the portion in which it goes down: the guest would repeat it meanwhile. */
	assert_played("type aAaAaAaA", " ~10 kb:k30+;k30-;k42+;k30+;k30-;k42-;k30+;k30-; ~10 kb:k42+;k30+;k30-;k42-;k30+;k30-; ~10 kb:k42+;k30+;k30-;k42-;k30+;k30-; ~10 kb:k42+;k30+;k30-;k42-;");
	assert_true(largest <= INPUT_PLAY_EVENTS);
}

static void test_input_play_no_portion_is_larger_than_a_reader_s(void **state)
{
	static const char *const layouts[] = {"us", "de", "us(intl)", "fr(bepo)", "de(neo)"};
	char text[4096] = "type ";

	(void)state;
	for (size_t n = 5; n < sizeof(text) - 1; n++) {
		text[n] = (char)(33 + n * 7919 % 94);
	}
	/* A modifier is held to the end. */
	text[sizeof(text) - 2] = 'A';
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		const struct input_command *c = command(text);

		input_play_finish(&play);
		play.layout = layouts[i];
		said_len = 0;
		assert_int_equal(input_play_check(&play, c), 0);
		assert_int_equal(input_play_run(&play, c), 0);
		assert_true(largest <= INPUT_PLAY_EVENTS);
		/* All that went down came up. */
		for (unsigned code = 1; code < 128; code++) {
			char down[16], up[16];
			unsigned downs = 0, ups = 0;

			snprintf(down, sizeof(down), "k%u+", code);
			snprintf(up, sizeof(up), "k%u-", code);
			for (const char *at = said; (at = strstr(at, down)); at++) {
				downs++;
			}
			for (const char *at = said; (at = strstr(at, up)); at++) {
				ups++;
			}
			assert_int_equal(downs, ups);
		}
	}
}

static void test_input_play_chords(void **state)
{
	(void)state;
	assert_played("key ctrl+alt+t", "kb:k29+;k56+;k20+;k20-;k56-;k29-;");
	assert_played("key enter  esc", "kb:k28+;k28-;k1+;k1-;");
	assert_played("key KEY_VOLUMEUP", "kb:k115+;k115-;");
	assert_played("key ctrl+-", "kb:k29+;k12+;k12-;k29-;");
	assert_played("key 5", "kb:k6+;k6-;");
	play.layout = "de";
	input_play_finish(&play);
	assert_played("key ctrl+z KEY_Z", "kb:k29+;k21+;k21-;k29-;k44+;k44-;");
	assert_played("key ctrl++", "kb:k29+;k27+;k27-;k29-;");
	assert_played("key + ctrl+\xc3\xa4", "kb:k27+;k27-;k29+;k40+;k40-;k29-;");
}

static void test_input_play_wrong_chords(void **state)
{
	(void)state;
	assert_refused("key entr", "key: \"entr\" is no key");
	assert_refused("key ctrl+", "\"\" is no key");
	assert_refused("key enter ctrl+nokey", "\"nokey\" is no key");
	assert_refused("key \xff", "is no key");
	assert_refused("key BTN_LEFT", "is no key");
	assert_refused("key T", "\"T\" is not on a key by itself: name shift and the key");
	assert_refused("key +", "\"+\" is not on a key by itself");
	assert_refused("key \xc3\xa9", "(U+00E9) is on no key of the layout \"us\"; a name such as KEY_C");
	assert_refused("key ctrl+shift+ctrl", "\"ctrl+shift+ctrl\" has a key twice");
	assert_refused("key a+b+c+d+e+f+g+h+i", "is more than 8 keys");
	play.layout = "de";
	input_play_finish(&play);
	assert_refused("key ^", "\"^\" takes more than one key; type can do that");
	assert_refused("key ctrl++a", "\"ctrl++a\": keys have a + between them");
	assert_refused("key ++", "\"\" is no key");
	assert_refused("key @", "\"@\" is not on a key by itself: name altgr or shift");
}

static void test_input_play_pointer_on_a_tablet(void **state)
{
	(void)state;
	assert_played("move 0.5 1.0", "t:a0=16384a1=32767;");
	assert_played("move 0.0 0.25", "t:a0=0a1=8192;");
	assert_played("click", "t:k272+; ~40 t:k272-; ~40");
	assert_played("click 0.5 0.5 middle", "t:a0=16384a1=16384;k274+; ~40 t:k274-; ~40");
	assert_played("drag 0.0 0.0 1.0 0.5 right",
		"t:a0=0a1=0;k273+; ~40 t:a0=4095a1=2048; ~10 t:a0=8191a1=4096; ~10 t:a0=12287a1=6144; ~10 t:a0=16383a1=8192; ~10 t:a0=20479a1=10240; ~10 "
		"t:a0=24575a1=12288; ~10 t:a0=28671a1=14336; ~10 t:a0=32767a1=16384; ~10 t:k273-; ~40");
	assert_refused("move 10 10", "move: there is no display whose pixels could be counted: give 0.0 to 1.0, with a dot");
	assert_refused("click 0.5 10", "click: there is no display");
	assert_refused("move 1.1 0.0", "move: a place is from 0.0 to 1.0");
	assert_refused("drag 0.0 0.0 -0.1 0.0", "drag: a place is from 0.0 to 1.0");
}

static void test_input_play_pixels_are_hit_in_their_middle(void **state)
{
	(void)state;
	box[0] = 1280;
	box[1] = 800;
	assert_played("move 0 0", "t:a0=12a1=20;");
	assert_played("move 1279 799", "t:a0=32755a1=32747;");
	assert_played("click 640 0.5", "t:a0=16396a1=16384;k272+; ~40 t:k272-; ~40");
	assert_refused("move 1280 0", "move: pixel 1280 is not on the display, whose pixels are 0 to 1279; for a part of the whole, 0.0 to 1.0, write a dot");
	assert_refused("move 0 800", "pixel 800 is not on the display, whose pixels are 0 to 799");
	assert_refused("move -1 0", "pixel -1 is not on the display");
	/* As libinput and others do it: the axis' range is what maximum - minimum + 1 is. */
	box[0] = 8192;
	for (uint32_t x = 0; x < box[0]; x++) {
		struct input_number number[2] = {{.value = x}, {.has_dot = true}};
		struct input_command c = {.verb = INPUT_MOVE, .nnumbers = 2};
		unsigned axis;

		memcpy(c.number, number, sizeof(number));
		play.nsent = 0;
		said_len = 0;
		assert_int_equal(input_play_run(&play, &c), 0);
		assert_int_equal(sscanf(said, "t:a0=%u", &axis), 1);
		assert_int_equal((uint64_t)axis * box[0] / (INPUT_TABLET_MAX + 1), x);
	}
}

static void test_input_play_display_that_shrank_is_an_error(void **state)
{
	const struct input_command *c;

	(void)state;
	box[0] = box[1] = 100;
	c = command("move 99 99");
	assert_int_equal(input_play_check(&play, c), 0);
	box[0] = 50;
	assert_int_equal(input_play_run(&play, c), -EINVAL);
	assert_string_equal(play.err, "move: pixel 99 is not on the display, whose pixels are 0 to 49; for a part of the whole, 0.0 to 1.0, write a dot");
	assert_int_equal(said_len, 0);
}

static void test_input_play_shot(void **state)
{
	(void)state;
	assert_refused("shot a.png", "shot: the VM has no display: its vm.toml needs [gpu] with mode = \"2d\"");
	box[0] = box[1] = 100;
	assert_played("shot my screen.png", " !my screen.png");
}

static void test_input_play_pointer_on_a_mouse(void **state)
{
	(void)state;
	play.ndevices = 4;
	assert_played("move -5 7", "m:r0=-5r1=7;");
	assert_played("move 0 7", "m:r1=7;");
	assert_played("move 0 0", "");
	assert_played("click right", "m:k273+; ~40 m:k273-; ~40");
	assert_played("scroll 0 1", "m:r8=-1r11=-120;");
	assert_refused("move 0.5 0.5", "a mouse moves by whole numbers");
	assert_refused("click 0.5 0.5", "click: the VM has no tablet: its vm.toml needs [[input]] with type = \"tablet\"");
	assert_refused("drag 0.0 0.0 1.0 1.0", "drag: the VM has no tablet");
	/* The mouse when it is asked for, where there is a tablet too. */
	play.ndevices = 6;
	play.wanted = "m";
	assert_played("move 3 0", "m:r0=3;");
	assert_played("click", "m:k272+; ~40 m:k272-; ~40");
}

static void test_input_play_wheels_turn_notch_by_notch(void **state)
{
	(void)state;
	assert_played("scroll 0 -2", "t:r8=1r11=120;r8=1r11=120;");
	assert_played("scroll 1 0", "t:r6=1r12=120;");
	assert_played("scroll -1.5 0.25", "t:r6=-1r12=-120r11=-30;r12=-60;");
	assert_played("scroll 0 0", "");
	sends = 0;
	assert_int_equal(input_play_run(&play, command("scroll 0 1000")), 0);
	/* Three events a notch. */
	assert_int_equal(sends, 200);
}

static void test_input_play_touch(void **state)
{
	(void)state;
	assert_played("touch 0.5 1.0", "screen:a47=0a57=1a53=16384a54=32767k330+a0=16384a1=32767; ~40 screen:a47=0a57=-1k330-; ~40");
	assert_refused("touch 5 5", "touch: there is no display");
	play.ndevices = 5;
	assert_refused("touch 0.5 0.5", "touch: the VM has no multitouch: its vm.toml needs [[input]] with type = \"multitouch\"");
}

static void test_input_play_devices_that_are_missing(void **state)
{
	(void)state;
	play.ndevices = 1;
	assert_refused("type a", "type: the VM has no keyboard: its vm.toml needs [[input]] with type = \"keyboard\"");
	assert_refused("key enter", "key: the VM has no keyboard");
	assert_refused("move 1 1", "move: the VM has no tablet and no mouse");
	assert_refused("scroll 0 1", "scroll: the VM has no tablet and no mouse");
	play.ndevices = 0;
	assert_refused("click", "click: the VM has no tablet and no mouse");
}

static void test_input_play_says_whether_the_wanted_device_is_used(void **state)
{
	(void)state;
	play.wanted = "kb2";
	assert_played("move 0.0 0.0", "t:a0=0a1=0;");
	assert_false(play.wanted_used);
	assert_int_equal(input_play_check(&play, command("key enter")), 0);
	assert_true(play.wanted_used);
	assert_int_equal(input_play_run(&play, &script.command[0]), 0);
	assert_non_null(strstr(said, "kb2:"));
}

static void test_input_play_passes_time(void **state)
{
	(void)state;
	assert_played("sleep 200ms", " ~200");
	assert_played("wait text=a b 3s", " ?a b/3000");
	assert_played("wait text=a", " ?a/0");
}

static void test_input_play_ends_where_the_vm_refuses(void **state)
{
	const struct input_command *c = command("type aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");

	(void)state;
	assert_int_equal(input_play_check(&play, c), 0);
	fail_send = 2;
	assert_int_equal(input_play_run(&play, c), -EIO);
	assert_int_equal(sends, 2);
	c = command("drag 0.0 0.0 1.0 1.0");
	fail_send = 4;
	assert_int_equal(input_play_check(&play, c), 0);
	assert_int_equal(input_play_run(&play, c), -EIO);
	assert_int_equal(sends, 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_input_play_types_with_the_layout_of_the_device),
		T(test_input_play_refuses_a_text_before_its_first_character),
		T(test_input_play_caps_lock_is_off_while_text_is_typed),
		T(test_input_play_caps_lock_is_waited_for),
		T(test_input_play_long_text_goes_in_portions_with_pauses),
		T(test_input_play_no_portion_is_larger_than_a_reader_s),
		T(test_input_play_chords),
		T(test_input_play_wrong_chords),
		T(test_input_play_pointer_on_a_tablet),
		T(test_input_play_pixels_are_hit_in_their_middle),
		T(test_input_play_display_that_shrank_is_an_error),
		T(test_input_play_shot),
		T(test_input_play_pointer_on_a_mouse),
		T(test_input_play_wheels_turn_notch_by_notch),
		T(test_input_play_touch),
		T(test_input_play_devices_that_are_missing),
		T(test_input_play_says_whether_the_wanted_device_is_used),
		T(test_input_play_passes_time),
		T(test_input_play_ends_where_the_vm_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
