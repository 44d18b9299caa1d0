# SPDX-License-Identifier: MIT
"""A person at a viewer's window, with hands and eyes: at one on an X server that has no screen (OnX), where pictures come in memory, and at one on this host's own screen, under a compositor (OnScreen), where they come as
dma-bufs. What is done and seen is the same."""
import contextlib
import struct
import time

import picture
from screen import check, until
from weston import Weston, scanned
from xwindow import X

EV_KEY, EV_REL, EV_ABS = 1, 2, 3
BTN_LEFT, LEFT_SHIFT = 272, 42
# Linux's keys: the first of a row, and what is on them, without and with Shift.
ROWS = ((2, "1234567890-=", "!@#$%^&*()_+"), (16, "qwertyuiop[]", "QWERTYUIOP{}"), (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'), (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"), (57, " ", ""))
KEYS = {c: (first + i, shifted) for first, *texts in ROWS for shifted, text in enumerate(texts) for i, c in enumerate(text)}
NAMED = {"ctrl": 29, "alt": 56, "Return": 28}


def chord(keyboard, *codes):
    """Down in their order, and up again. A device is a process of its own: this one has done it when this returns."""
    for code, value in [(c, 1) for c in codes] + [(c, 0) for c in reversed(codes)]:
        keyboard.send((EV_KEY, code, value))
    keyboard.release()


class OnX(X):
    """@window: to be found when it is there."""

    tolerance, window, kept = 0, None, "headless"

    def find(self, title):
        self.window = next(iter(self.windows(title).values()), None)
        return self.window

    def go(self, at):
        """To a pixel of the guest's."""
        left, top, _, _ = self.geometry(self.window)
        self.do("mousemove", left + at[0], top + at[1])

    def press(self, keys):
        """Like ctrl+alt+g."""
        self.do("key", keys)

    def click(self):
        self.do("windowfocus", "--sync", self.window)
        self.do("click", 1)

    def types(self, text):
        self.do("type", "--delay", "120", text)

    def shown(self):
        """What the window shows, without the pointer."""
        return self.picture(self.window)

    def is_captured(self):
        return "and the pointer" in self.title(self.window)

    def unread(self, _g, _what):
        """Is read back."""
        return contextlib.nullcontext()


class OnScreen(Weston):
    """The window is in the middle, and has the guest's size. Ends with the `with` it was made for."""

    # What is seen has been through the GPU's hands twice.
    tolerance, kept = 2, "headless-dmabuf"

    def __init__(self, size):
        super().__init__({"at-keyboard": ("KEY", "KEYBOARD"), "gaming-mouse": ("MOUSE",), "absolute-pointer": ("MOUSE",)})
        self.size, self.at = size, (0, 0)

    def __enter__(self):
        super().__enter__()
        self.keyboard, self.mouse, self.tablet = self.devices
        screen = self.whole()
        self.screen = screen.width, screen.height
        self.corner = tuple((n - m) // 2 for n, m in zip(self.screen, self.size))
        return self

    def whole(self):
        """All of the screen, without the pointer. A moment after a change it may not be there."""
        done = until(scanned, lambda done: done.returncode == 0, 20)
        done.check_returncode()
        return picture.read_ppm(done.stdout)

    def go(self, at):
        self.at = at
        self.tablet.send(*((EV_ABS, axis, round((corner + n + 0.5) * 32768 / size)) for axis, (corner, n, size) in enumerate(zip(self.corner, at, self.screen))))

    def press(self, keys):
        chord(self.keyboard, *(NAMED.get(k) or KEYS[k][0] for k in keys.split("+")))

    def click(self):
        self.mouse.send((EV_KEY, BTN_LEFT, 1))
        self.mouse.send((EV_KEY, BTN_LEFT, 0))
        self.mouse.release()

    def types(self, text):
        for c in text:
            key, shifted = KEYS[c]
            chord(self.keyboard, *([LEFT_SHIFT] if shifted else []), key)
            time.sleep(0.12)

    def moves(self, dx, dy, n):
        for _ in range(n):
            self.mouse.send((EV_REL, 0, dx), (EV_REL, 1, dy))
            time.sleep(0.02)

    def shown(self):
        return self.whole().crop(*self.corner, *self.size)

    def pointer(self):
        """As X.pointer() has it: the plane it is in lies somewhere, and points to where it was sent."""
        done = scanned("pointer")
        done.check_returncode()
        line, _, pixels = done.stdout.partition(b"\n")
        if not line:
            return 0, 0, 0, 0, []
        x, y, width, height = (int(n) for n in line.split())
        hot = (corner + n - first for corner, n, first in zip(self.corner, self.at, (x, y)))
        return width, height, *hot, list(struct.unpack(f"<{width * height}I", pixels))

    def is_captured(self):
        """Then it is not to be seen; else a mouse's is."""
        return not any(p >> 24 for p in self.pointer()[4])

    @contextlib.contextmanager
    def unread(self, g, what):
        """All that is shown meanwhile comes as dma-bufs, and nothing is read back: not by a screenshot either, so none is made meanwhile."""
        before = g.stats()
        yield
        after = g.stats()
        (old,), (new,) = before["viewers"], after["viewers"]
        sent, dmabufs = new["sent"] - old["sent"], new["dmabufs"] - old["dmabufs"]
        check(f"{what}: {sent} frames, as dma-bufs, and nothing is read back", old["way"] == new["way"] == "dma-buf" and dmabufs == sent and before["gpu"]["read_bytes"] == after["gpu"]["read_bytes"],
              (old, new, before["gpu"], after["gpu"]))
