# SPDX-License-Identifier: MIT
"""A Debian guest with a desktop: its shell, what is to be looked at, and where a pointer is in a picture."""
import os
import time

import picture
from screen import CACHE, KEEP, Tinyvmm, check


class Desktop(Tinyvmm):
    """guest-images/desktop, a shell on its console."""

    commands = 0

    def __init__(self, name, size=(1280, 800), extra=(), **more):
        super().__init__(name, size=size, append="root=/dev/vda rootfstype=erofs init=/bin/bash", initrds=[f"{CACHE}/rootfs/disk.cpio"],
                         extra=["--disk", f"{CACHE}/desktop/desktop.erofs", "--set", "disk.0.readonly=true", *extra], **more)

    def ready(self):
        self.wait(r"# $", 180)
        self.run("stty -echo; PS1=; bind 'set enable-bracketed-paste off'; mount -t proc p /proc; mount -t sysfs s /sys; mount -t tmpfs t /run; mount -t tmpfs t /tmp;"
                 " mkdir -p -m 700 /run/user /dev/pts /dev/shm; mount -t devpts d /dev/pts; export HOME=/root XDG_RUNTIME_DIR=/run/user LANG=C.UTF-8")
        self.run("/lib/systemd/systemd-udevd --daemon; udevadm trigger; udevadm settle")

    def run(self, command, seconds=120):
        """In the shell on the console. Returns what it says."""
        self.commands += 1
        self.type(f"{command}\necho '<<'{self.commands}:$?'>>'\n")
        return self.wait(rf"<<{self.commands}:\d+>>\n", seconds)

    def input(self, *words):
        code, text = self.verb("input", self.name, *words)
        return check(f"input {' '.join(words)[:40]}", code == 0, text)

    def move(self, x, y):
        """To the middle of a pixel."""
        return self.input("move", f"{(x + 0.5) / self.size[0]:.6f}", f"{(y + 0.5) / self.size[1]:.6f}")

    def keep(self, name, cursor=True):
        shot = self.shot(0, cursor)
        os.makedirs(KEEP, exist_ok=True)
        picture.write_png(f"{KEEP}/{self.name}-{name}.png", shot)
        return shot

    def settled(self, seconds=60, still=2):
        """The first picture that does not change for some seconds."""
        end, last, since = time.monotonic() + seconds, self.shot(0, True), time.monotonic()
        while time.monotonic() < end:
            time.sleep(0.3)
            shot = self.shot(0, True)
            if shot.rgb != last.rgb:
                last, since = shot, time.monotonic()
            elif time.monotonic() - since >= still:
                break
        return last


def box(changes):
    """What encloses all the differences: x, y, width, height."""
    if not changes:
        return 0, 0, 0, 0
    left, right = min(xs[0] for _, xs in changes), max(xs[-1] for _, xs in changes)
    return left, changes[0][0], right - left + 1, changes[-1][0] - changes[0][0] + 1


def pointer_at(with_pointer, without):
    """Where the two pictures differ in a way that is a pointer's, no larger than 64 x 64."""
    changes = picture.differences(with_pointer, without)
    if not changes:
        return None
    found = box(changes)
    return found if found[2] <= 64 and found[3] <= 64 else None
