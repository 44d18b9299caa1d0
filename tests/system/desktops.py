# SPDX-License-Identifier: MIT
"""A Debian guest with a desktop: its shell, what is to be looked at, and where a pointer is in a picture."""
import json
import os
import re
import time

import picture
from screen import CACHE, KEEP, WORK, Tinyvmm, check, until


class Shell:
    """What a guest's class has besides when it is a Debian with bash as its init, on its console."""

    ARGS = {"append": "root=/dev/vda rootfstype=erofs init=/bin/bash", "initrds": [f"{CACHE}/rootfs/disk.cpio"]}
    commands = 0

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


class Desktop(Shell, Tinyvmm):
    """guest-images/desktop, or another Debian."""

    def __init__(self, name, size=(1280, 800), extra=(), root=f"{CACHE}/desktop/desktop.erofs", **more):
        super().__init__(name, size=size, extra=["--disk", root, "--set", "disk.0.readonly=true", *extra], **self.ARGS, **more)

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


class Sway(Desktop):
    """sway in it: wev, which says all that happens to it, at the left, foot at the right."""

    # Keys are not repeated: where the machine is busy one that is let go of comes late.
    CONFIG = ("input type:keyboard repeat_rate 0", "seat * xcursor_theme DMZ-White 24", "default_border normal 6", "focus_follows_mouse no", "output * bg '#305070' solid_color", "input type:pointer accel_profile flat")
    # It refuses to be root's: a user has the devices, and there is no login that would give them.
    USER = "setpriv --reuid 1000 --regid 1000 --clear-groups"

    def __init__(self, name, extra=(), **more):
        # What it needs comes on a disk, which are whole sectors.
        with open("build/guest/linear.so", "rb") as f:
            library = f.read()
        path = os.path.join(WORK, f"{name}-linear.img")
        with open(path, "wb") as f:
            f.write(library + bytes(-len(library) % 512))
        super().__init__(name, extra=["--disk", path, "--set", "disk.1.readonly=true", *extra], **more)

    def start_sway(self):
        lines = " ".join(f'"{line}"' for line in self.CONFIG)
        self.run(f"printf '%s\\n' {lines} > /tmp/config; printf '[mouse]\\nhide-when-typing=yes\\n' > /tmp/foot.ini; chmod 1777 /dev/shm; chmod 666 /dev/dri/* /dev/input/* /dev/hvc0;"
                 " chown 1000:1000 /run/user")
        self.run("export HOME=/tmp SHELL=/bin/bash LIBSEAT_BACKEND=builtin SEATD_VTBOUND=0 WLR_RENDERER=pixman XCURSOR_THEME=DMZ-White XCURSOR_SIZE=24; cat /dev/vdb > /tmp/linear.so")
        self.run(f"{self.USER} env LD_PRELOAD=/tmp/linear.so sway -c /tmp/config > /tmp/sway.log 2>&1 &")
        self.run("for i in $(seq 300); do export WAYLAND_DISPLAY=wayland-1 SWAYSOCK=$(echo /run/user/sway-ipc.*.sock); [ -S \"$SWAYSOCK\" ] && break; sleep 0.2; done")
        # It answers before it has its outputs.
        said = until(lambda: self.swaymsg("-t get_outputs"), lambda text: '"Virtual-1"' in text, 60, 1)
        if not check("sway runs in the guest, on virtio-gpu", '"Virtual-1"' in said, said + self.run("cat /tmp/sway.log")):
            return False
        # Lines as they come: to a file wev would say nothing until there is much of it.
        return self.open_window("wev", "stdbuf -oL wev > /tmp/wev.log 2>&1") and self.open_window("foot", "foot -c /tmp/foot.ini > /tmp/foot.log 2>&1")

    def swaymsg(self, words):
        return self.run(f"{self.USER} swaymsg -r {words}")

    def open_window(self, app, command):
        self.run(f"{self.USER} {command} &")
        return check(f"{app} has a window", until(lambda: self.rect(app), bool, 120), self.run("cat /tmp/sway.log /tmp/foot.log"))

    def tree(self):
        said = self.swaymsg("-t get_tree")
        return json.loads(said[said.index("{"):said.rindex("}") + 1])

    def rect(self, app):
        """(x, y, width, height) of what is inside the window's frame; None: it has none."""

        def find(node):
            if node.get("app_id") == app:
                inner, outer = node["window_rect"], node["rect"]
                return outer["x"] + inner["x"], outer["y"] + inner["y"], inner["width"], inner["height"]
            return next((found for n in [*node["nodes"], *node["floating_nodes"]] if (found := find(n))), None)

        return find(self.tree())

    def events(self):
        """What wev has said, a line each."""
        return self.run("cat /tmp/wev.log").splitlines()[:-1]

    def becomes(self, name, pattern, seconds=60):
        """wev has said that, anywhere."""
        got = until(self.events, lambda lines: re.search(pattern, "\n".join(lines)), seconds, 0.5)
        return check(name, re.search(pattern, "\n".join(got)), "\n".join(got[-25:]))

    def forget(self):
        self.run(": > /tmp/wev.log")
