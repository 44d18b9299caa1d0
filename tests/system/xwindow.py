# SPDX-License-Identifier: MIT
"""An X server without a screen, and what a person would do to a window on it: xdotool's hands, and eyes for the picture and the pointer."""
import contextlib
import ctypes
import os
import re
import subprocess
import tempfile
import time

import picture


@contextlib.contextmanager
def started(words, **more):
    """A process, which whoever asked for it waits for in the end; not so where something has gone wrong: it may run for ever."""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, **more) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


class Fixes(ctypes.Structure):
    """XFixesCursorImage"""
    _fields_ = [("x", ctypes.c_short), ("y", ctypes.c_short), ("width", ctypes.c_ushort), ("height", ctypes.c_ushort), ("hot_x", ctypes.c_ushort),
                ("hot_y", ctypes.c_ushort), ("serial", ctypes.c_ulong), ("pixels", ctypes.POINTER(ctypes.c_ulong))]


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, as long as an XEvent"""
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int), ("display", ctypes.c_void_p), ("window", ctypes.c_ulong),
                ("message_type", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("rest", ctypes.c_long * 24)]


class X:
    """Ends with the `with` it was made for. DISPLAY is set as long."""

    def __init__(self, width=1600, height=1200):
        read, write = os.pipe()
        self.server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"], pass_fds=[write],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as f:
            os.environ["DISPLAY"] = f":{f.readline().strip()}"
        self.x, self.xfixes = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXfixes.so.3")
        self.x.XOpenDisplay.restype, self.x.XInternAtom.restype = ctypes.c_void_p, ctypes.c_ulong
        self.xfixes.XFixesGetCursorImage.restype = ctypes.POINTER(Fixes)
        self.display = ctypes.c_void_p(self.x.XOpenDisplay(None))
        self.xfixes.XFixesQueryExtension(self.display, ctypes.byref(ctypes.c_int()), ctypes.byref(ctypes.c_int()))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.server.terminate()
        self.server.wait()
        del os.environ["DISPLAY"]

    def do(self, *words):
        return subprocess.run(["xdotool", *[str(w) for w in words]], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout

    @contextlib.contextmanager
    def manager(self):
        """A window manager, ready: openbox loses a window that comes up while it starts, and whoever waits for that window waits for ever."""
        with tempfile.TemporaryDirectory() as folder:
            ready = os.path.join(folder, "ready")
            with subprocess.Popen(["openbox", "--sm-disable", "--startup", f"touch {ready}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while not os.path.exists(ready) and process.poll() is None:
                    time.sleep(0.05)
                try:
                    yield
                finally:
                    process.terminate()

    def windows(self, title, n=1, seconds=60):
        """{title: window} of those that are seen, when there are n, or as they are in the end."""
        end = time.monotonic() + seconds
        while True:
            ids = self.do("search", "--onlyvisible", "--class", "tinyvmm-view").split()
            found = {self.do("getwindowname", i).strip(): i for i in ids}
            found = {name: i for name, i in found.items() if re.search(title, name)}
            if len(found) == n or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def moves(self, dx, dy, n):
        """Relative motion, @n times that on the average. None is like the one before it: SDL takes such for the same twice where a busy X server looks at both in one millisecond."""
        for i in range(n):
            more = 0 if i == n - 1 and n % 2 else 1 - i % 2 * 2
            self.do("mousemove_relative", "--", dx + more, dy + more)

    def unfocus(self):
        """The keyboard is nobody's: keys go to whatever is under the pointer (PointerRoot)."""
        self.x.XSetInputFocus(self.display, ctypes.c_ulong(1), 0, ctypes.c_ulong(0))
        self.x.XSync(self.display, 0)

    def title(self, window):
        return self.do("getwindowname", window).strip()

    def geometry(self, window):
        """(x, y, width, height)"""
        got = dict(line.split("=") for line in self.do("getwindowgeometry", "--shell", window).split())
        return tuple(int(got[k]) for k in ("X", "Y", "WIDTH", "HEIGHT"))

    def picture(self, window="root"):
        """Without the pointer."""
        done = subprocess.run(["import", "-silent", "-window", str(window), "-depth", "8", "ppm:-"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return picture.read_ppm(done.stdout)

    def pointer(self):
        """(width, height, hot x, hot y, pixels 0xAARRGGBB multiplied by alpha) of what X shows."""
        image = self.xfixes.XFixesGetCursorImage(self.display).contents
        return image.width, image.height, image.hot_x, image.hot_y, [p & 0xffffffff for p in image.pixels[:image.width * image.height]]

    def close(self, window):
        """As its close button does."""
        message = ClientMessage(type=33, window=int(window), format=32, message_type=self.x.XInternAtom(self.display, b"WM_PROTOCOLS", 0))
        message.data[0] = self.x.XInternAtom(self.display, b"WM_DELETE_WINDOW", 0)
        self.x.XSendEvent(self.display, ctypes.c_ulong(int(window)), 0, ctypes.c_long(0), ctypes.byref(message))
        self.x.XSync(self.display, 0)


def blended(shot, at, pointer):
    """The picture with X's pointer (X.pointer) in it, which points there."""
    width, height, hot_x, hot_y, pixels = pointer
    out = bytearray(shot.rgb)
    for y in range(height):
        for x in range(width):
            left, top, p = at[0] - hot_x + x, at[1] - hot_y + y, pixels[y * width + x]
            if 0 <= left < shot.width and 0 <= top < shot.height:
                for i, shift in enumerate((16, 8, 0)):
                    k = (top * shot.width + left) * 3 + i
                    out[k] = min(255, (p >> shift & 255) + (out[k] * (255 - (p >> 24)) + 127) // 255)
    return picture.Picture(shot.width, shot.height, out)
