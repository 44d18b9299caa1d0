# SPDX-License-Identifier: MIT
"""What a screen must show after the commands that tests/guest/kms was given: its pictures as tests/guest/paint.h has them, and what Linux' virtio-gpu driver sends of
them. Knows nothing of a monitor.

A dumb buffer in guest memory and the host's copy of it are two things here: painting changes the first, and only damage, a mode and a flip bring it to the second. With
a device that shows guest memory itself (blob), there is no second, unless the buffer is of more than udmabuf takes."""
import picture

# What udmabuf takes whatever lies where: its list_limit, each a page.
UDMABUF_PIECES = 1024


def ramp(n):
    """0 to 255 over n places."""
    return bytes(i * 255 // max(n - 1, 1) for i in range(n))


class Scene:
    def __init__(self, w, h, frame):
        self.w, self.h, self.frame = w, h, frame
        self.red, self.green = ramp(w), ramp(h)
        # Any row's blue is a part of this.
        self.blue = bytes(range(256)) * (w // 256 + 2)
        self.blocks = [(0, 0, w // 4, h // 8, 0xFF2010), (w - w // 8, 0, w // 8, h // 4, 0x10FF20),
                       (0, h - h // 16, w // 16, h // 16, 0x2010FF), (w - w // 3, h - h // 32, w // 3, h // 32, 0xF0F0F0)]
        # The first one wins where they meet: painted last.
        self.blocks.reverse()
        if w >= 96 and h >= 32:
            self.blocks += [(w // 2 - 32 + 4 * i, h // 2, 4, 8, 0xFFFFFF if frame >> (15 - i) & 1 else 0) for i in range(16)]

    def row(self, y):
        """The whole row, three bytes a pixel."""
        out = bytearray(3 * self.w)
        shift = (3 * y + 29 * self.frame) & 255
        out[0::3], out[1::3], out[2::3] = self.red, self.green[y:y + 1] * self.w, self.blue[shift:shift + self.w]
        for bx, by, bw, bh, colour in self.blocks:
            if by <= y < by + bh:
                out[3 * bx:3 * (bx + bw)] = colour.to_bytes(3, "big") * bw
        return out


class Solid:
    def __init__(self, w, h, colour):
        self.w, self.h, self.colour, self.line = w, h, colour, bytearray((colour & 0xFFFFFF).to_bytes(3, "big") * w)

    def row(self, y):
        return self.line

    def argb(self, x, y):
        return tuple(self.colour.to_bytes(4, "big"))


class Cursor:
    def __init__(self, w, h):
        self.w, self.h = w, h

    def row(self, y):
        """On a screen: without alpha."""
        return bytearray(b"".join(bytes(self.argb(x, y)[1:]) for x in range(self.w)))

    def argb(self, x, y):
        """(alpha, red, green, blue), multiplied by alpha."""
        if x < 16 and y < 8:
            return 255, 255, 0, 0
        if self.w - x <= 8 and self.h - y <= 16:
            return 0, 0, 0, 0
        alpha = x * 255 // max(self.w - 1, 1)
        red = alpha * y // max(self.h - 1, 1)
        return alpha, red, alpha - red, 0


def painter(kind, w, h, frame):
    if kind == "scene":
        return Scene(w, h, frame)
    if kind == "cursor":
        return Cursor(w, h)
    return Solid(w, h, int(kind.removeprefix("solid:"), 16))


def clip(rect, to):
    """The common part as (x, y, w, h), None when there is none."""
    x, y = max(rect[0], to[0]), max(rect[1], to[1])
    w, h = min(rect[0] + rect[2], to[0] + to[2]) - x, min(rect[1] + rect[3], to[1] + to[3]) - y
    return (x, y, w, h) if w > 0 and h > 0 else None


class Buffer:
    """@painted: (painter, rectangle), the older ones first; @sent: (how many of painted there were, rectangle). No pixel is made before somebody looks:
    a buffer may be larger than what Python would like to hold."""

    def __init__(self, w, h):
        self.w, self.h, self.painted, self.sent = w, h, [], []
        self.native = False  # a resource in a format of the device's, which is never a blob, and which kms sends itself

    def paint(self, what, rect):
        self.painted.append((what, rect))

    def send(self, rect):
        if rect == (0, 0, self.w, self.h):
            self.sent.clear()
        self.sent.append((len(self.painted), rect))

    def memory_row(self, y, n):
        """What the guest has painted, the first n times."""
        out = bytearray(3 * self.w)
        for what, (px, py, pw, ph) in self.painted[:n]:
            if py <= y < py + ph:
                out[3 * px:3 * (px + pw)] = what.row(y)[3 * px:3 * (px + pw)]
        return out

    def host_row(self, y):
        out = bytearray(3 * self.w)
        rows = {}
        for n, (sx, sy, sw, sh) in self.sent:
            if sy <= y < sy + sh:
                if n not in rows:
                    rows[n] = self.memory_row(y, n)
                out[3 * sx:3 * (sx + sw)] = rows[n][3 * sx:3 * (sx + sw)]
        return out


class Screen:
    """@buffer: None while it is off. @cursor: what was painted on the cursor's buffer when it was set."""

    def __init__(self):
        self.buffer, self.source, self.cursor, self.place, self.hot = None, None, None, (0, 0), (0, 0)


class Model:
    def __init__(self, screens=1, blob=False):
        self.buffers, self.screens, self.blob = {}, [Screen() for _ in range(screens)], blob

    def apply(self, command):
        """A command that kms has done. Those that no picture depends on are passed over."""
        name, *words = command.split()
        do = getattr(self, "do_" + name, None)
        if do:
            do(*[int(w) if w.lstrip("-").isdigit() else w for w in words])

    def do_create(self, buffer, w, h, kind=None):
        self.buffers[buffer] = Buffer(w, h)
        self.buffers[buffer].native = str(kind).startswith("virtio:")

    def do_remove(self, buffer):
        gone = self.buffers.pop(buffer)
        for s in self.screens:
            if s.buffer is gone:
                s.buffer = None

    def do_paint(self, buffer, kind, frame, *rect):
        b = self.buffers[buffer]
        b.paint(painter(str(kind), b.w, b.h, frame), rect or (0, 0, b.w, b.h))

    def do_set(self, screen, buffer, w, h, x=0, y=0):
        s = self.screens[screen]
        s.buffer, s.source = self.buffers[buffer], (x, y, w, h)
        self.send(s)

    def do_off(self, screen):
        self.screens[screen].buffer = None

    def do_flip(self, screen, buffer):
        s = self.screens[screen]
        s.buffer = self.buffers[buffer]
        self.send(s)

    @staticmethod
    def send(s):
        s.buffer.send((0, 0, s.buffer.w, s.buffer.h) if s.buffer.native else s.source)

    def do_dirty(self, buffer, *clips):
        """The driver sends one rectangle for each screen that shows the buffer: the least that has all clips in it."""
        b = self.buffers[buffer]
        if b.native:
            for i in range(0, max(len(clips), 1), 4):
                b.send(clips[i:i + 4] or (0, 0, b.w, b.h))
            return
        for s in self.screens:
            if s.buffer is not b:
                continue
            parts = [clip(clips[i:i + 4], s.source) for i in range(0, len(clips), 4)] or [s.source]
            parts = [p for p in parts if p]
            if parts:
                x, y = min(p[0] for p in parts), min(p[1] for p in parts)
                b.send((x, y, max(p[0] + p[2] for p in parts) - x, max(p[1] + p[3] for p in parts) - y))

    def do_cursor(self, screen, buffer, hot_x, hot_y):
        s = self.screens[screen]
        s.cursor, s.hot = self.buffers[buffer].painted[-1][0], (hot_x, hot_y)

    def do_nocursor(self, screen):
        self.screens[screen].cursor = None

    def do_move(self, screen, x, y):
        self.screens[screen].place = (x, y)

    def do_close(self):
        self.__init__(len(self.screens), self.blob)

    def expected(self, screen=0, cursor=False):
        """None while the screen is off."""
        s = self.screens[screen]
        if not s.buffer:
            return None
        x, y, w, h = s.source
        b = s.buffer
        is_memory = self.blob and not b.native and b.w * b.h * 4 <= UDMABUF_PIECES * 4096
        rows = [b.memory_row(i, None) if is_memory else b.host_row(i) for i in range(y, y + h)]
        rows = [row[3 * x:3 * (x + w)] for row in rows]
        if cursor and s.cursor:
            self.blend(rows, s, w, h)
        return picture.Picture(w, h, b"".join(rows))

    @staticmethod
    def blend(rows, s, w, h):
        """The cursor over the rows: its own colours, already multiplied by alpha, and what is left of those below."""
        cx, cy = s.place
        for y in range(max(cy, 0), min(cy + s.cursor.h, h)):
            for x in range(max(cx, 0), min(cx + s.cursor.w, w)):
                alpha, *colours = s.cursor.argb(x - cx, y - cy)
                for c in range(3):
                    rows[y][3 * x + c] = min(255, colours[c] + (rows[y][3 * x + c] * (255 - alpha) + 127) // 255)
