# SPDX-License-Identifier: MIT
"""Fifty points of the viewer protocol at which a viewer is killed: a process of its own that speaks it as far as that, and gets SIGKILL there."""
import contextlib
import json
import mmap
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

from screen import WORK, Gone, until

# display/viewer_proto.h
HELLO, MODE, BUFFER, BUFFER_GONE, FRAME, CURSOR_IMAGE, CURSOR, INPUT_STATE, ROLE, BYE = range(1, 11)
CLIENT_HELLO, RELEASE, PRESENTED, OUTPUT, INPUT, FOCUS, CONTROL, ACTION = range(65, 73)
HEARD = {"HELLO": HELLO, "MODE": MODE, "BUFFER": BUFFER, "BUFFER_GONE": BUFFER_GONE, "FRAME": FRAME, "CURSOR_IMAGE": CURSOR_IMAGE, "CURSOR": CURSOR, "INPUT_STATE": INPUT_STATE,
         "ROLE": ROLE, "BYE": BYE}
OBSERVES, KEYBOARD, TABLET, POWER_BUTTON = 1, 1, 3, 1
KEY_A, BTN_LEFT = 30, 272
PACKET_MAX = 32768
PATIENCE = 30  # seconds until a point must have been reached


def die(_kept=None):
    """With what it has open."""
    os.kill(os.getpid(), signal.SIGKILL)


class Peer:
    """A viewer of the first screen, in the process that is to die."""

    def __init__(self, path, hello=True, flags=0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(path)
        self.maps, self.frame = {}, None
        if hello:
            self.say(self.message(CLIENT_HELLO, flags))

    def say(self, message):
        self.sock.send(message)

    def message(self, kind, flags=0):
        """A good one of the viewer's. Those about a frame are about the last one that was read."""
        number = self.frame[1] if self.frame else 0
        return struct.pack("<II", kind, 0) + {
            CLIENT_HELLO: lambda: struct.pack("<IIII64s", 1, 0, flags, 0, b"deaths"),
            RELEASE: lambda: struct.pack("<QII", number, 0, 0),
            PRESENTED: lambda: struct.pack("<QQII", number, time.monotonic_ns(), 0, 60000),
            OUTPUT: lambda: struct.pack("<8I", 0, 1, 800, 600, 0, 0, 0, 0),
            INPUT: lambda: self.events(KEYBOARD, (1, KEY_A, 1)),
            FOCUS: lambda: struct.pack("<II", 0, 0),
            CONTROL: lambda: struct.pack("<II", 1, 0),
            ACTION: lambda: struct.pack("<II", POWER_BUTTON, 0),
        }[kind]()

    @staticmethod
    def events(device, *events):
        return struct.pack("<QIIII", time.monotonic_ns(), device, 0, len(events), 0) + b"".join(struct.pack("<HHi", *e) for e in events)

    def input(self, device, *events):
        self.say(struct.pack("<II", INPUT, 0) + self.events(device, *events))

    def next(self):
        """What the next message is, which stays unread."""
        packet = self.sock.recv(8, socket.MSG_PEEK)
        if not packet:
            sys.exit("the monitor has ended the connection")
        return struct.unpack("<II", packet)[0]

    def read(self):
        packet, fds, _, _ = socket.recv_fds(self.sock, PACKET_MAX, 4)
        kind, _ = struct.unpack_from("<II", packet)
        if kind == BUFFER:
            number, _, size = struct.unpack_from("<QQQ", packet, 8)
            self.maps[number] = mmap.mmap(fds[0], size, prot=mmap.PROT_READ)
        elif kind == FRAME:
            self.frame = struct.unpack_from("<QQ", packet, 8)
        for fd in fds:
            os.close(fd)

    def until(self, kind, n=1):
        """Reads, and releases frames, until the n-th of these is the next."""
        while True:
            found = self.next()
            n -= found == kind
            if n == 0:
                return
            self.read()
            if found == FRAME:
                with contextlib.suppress(BrokenPipeError):  # a BYE is the last message
                    self.say(self.message(RELEASE))

    def has_frame(self, n=1):
        """The n-th frame is with it."""
        self.until(FRAME, n)
        self.read()


def heard(kind, is_read):
    def run(path):
        v = Peer(path)
        if kind == BYE:
            v.say(b"1234")
        v.until(kind)
        kept = socket.recv_fds(v.sock, PACKET_MAX, 4) if is_read else None
        die(kept)
    return run


def half_said(kind):
    """Which the monitor may not take."""
    def run(path):
        v = Peer(path, hello=kind != CLIENT_HELLO, flags=OBSERVES if kind == ACTION else 0)
        if kind != CLIENT_HELLO:
            v.has_frame(2)
        message = v.message(kind)
        v.say(message[:len(message) // 2])
        die()
    return run


def said(kind, seconds):
    """And as long afterwards."""
    def run(path):
        v = Peer(path, hello=kind != CLIENT_HELLO, flags=OBSERVES if kind == ACTION else 0)
        if kind != CLIENT_HELLO:
            v.has_frame(2)
        v.say(v.message(kind))
        time.sleep(seconds)
        die()
    return run


def connected(path):
    die(Peer(path, hello=False))


def mapped(path):
    v = Peer(path)
    v.until(BUFFER)
    v.read()
    die()


def half_a_picture(path):
    v = Peer(path)
    v.has_frame()
    picture = v.maps[v.frame[0]]
    die(sum(picture[:len(picture) // 2:64]))


def all_down(path):
    v = Peer(path)
    v.until(INPUT_STATE)
    v.input(KEYBOARD, (1, KEY_A, 1), (1, KEY_A + 1, 1))
    v.input(TABLET, (1, BTN_LEFT, 1), (3, 0, 1000), (3, 1, 2000))
    die()


def much_input(path):
    """As much as the socket takes."""
    v = Peer(path)
    v.until(ROLE)
    v.sock.setblocking(False)
    try:
        for i in range(500):
            v.input(KEYBOARD, (1, KEY_A, 1 - i % 2))
    except BlockingIOError:
        pass
    die()


def settling(path):
    """Sizes that the guest has not been told yet."""
    v = Peer(path)
    v.until(ROLE)
    for _ in range(20):
        v.say(v.message(OUTPUT))
    die()


def two_at_once(path):
    """Two connections: one takes over while the other one holds a key and a frame."""
    one, other = Peer(path), Peer(path)
    one.has_frame()
    one.input(KEYBOARD, (1, KEY_A, 1))
    other.say(other.message(CONTROL))
    other.has_frame()
    die()


SAID = {"CLIENT_HELLO": CLIENT_HELLO, "RELEASE": RELEASE, "PRESENTED": PRESENTED, "OUTPUT": OUTPUT, "INPUT": INPUT, "FOCUS": FOCUS, "CONTROL": CONTROL, "ACTION": ACTION}
POINTS = {
    **{f"{name} {'read' if is_read else 'unread'}": heard(kind, is_read) for name, kind in HEARD.items() for is_read in (False, True)},
    **{f"half of {name}": half_said(kind) for name, kind in SAID.items()},
    **{f"{name} sent": said(kind, 0) for name, kind in SAID.items()},
    **{f"{name} worked off": said(kind, 0.05) for name, kind in SAID.items() if kind != CLIENT_HELLO},
    "nothing but connected": connected, "BUFFER mapped": mapped, "half a picture read": half_a_picture, "keys and buttons down": all_down, "much INPUT at once": much_input,
    "OUTPUT settling": settling, "two at once": two_at_once,
}


def kill_at(name, path):
    """Return: whether the viewer died there."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        try:
            POINTS[name](path)
        except (OSError, SystemExit) as e:
            print(f"# {name}: {e}", flush=True)
        finally:
            os._exit(1)
    return os.WIFSIGNALED(status := os.waitpid(pid, 0)[1]) and os.WTERMSIG(status) == signal.SIGKILL


class Animation:
    """Two pictures in turn, a pointer that moves, and now and then a third picture that goes again. A thread of its own has the guest's console as long."""

    def __init__(self, g):
        self.g, self.stop, self.why, self.frames = g, threading.Event(), None, 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.stop.is_set():
                for command in ("flips 0 0 1 10 50", "moves 0 3", "create 2 640 480", "flip 0 2", "flip 0 0", "remove 2"):
                    self.g.kms(command)
        except (Gone, OSError) as e:
            self.why = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop.set()
        self.thread.join()


def fifty(g, seed, others=0):
    """A viewer is killed at each of the points, in an order of chance, while others look on. Returns those where none died, or the monitor did not notice."""
    names, folder, wrong = list(POINTS), os.path.join(WORK, "tinyvmm", g.name), []
    random.Random(seed).shuffle(names)
    with g.connect(os.path.join(folder, "control.sock")) as sock, sock.makefile() as answers:
        sock.settimeout(60)

        def viewers():
            sock.sendall(b'{"do":"status"}\n')
            return json.loads(answers.readline())["viewers"]

        for name in names:
            if not kill_at(name, os.path.join(folder, "viewer.sock")):
                wrong.append(f"{name}: it was not killed there")
            if left := until(viewers, lambda n: n == others, 10, 0.02) - others:
                wrong.append(f"{name}: {left} more viewers than before")
    return wrong
