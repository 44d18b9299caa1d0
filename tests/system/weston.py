# SPDX-License-Identifier: MIT
"""weston on this host's own screen, with devices of the host's: what a laptop's desktop is to the viewer. It shows one window, as large as the screen."""
import os
import subprocess

from evdevs import Source, tell_udev
from screen import WORK, until


def scanned(*more):
    """What the kernel says of the screen to somebody who asks it (tests/viewer/scanned.c): the process that has asked."""
    return subprocess.run(["build/viewer/scanned", "/dev/dri/card0", *more], stdin=subprocess.DEVNULL, capture_output=True, check=False)


class Weston:
    """Ends with the `with` it was made for. @devices: which of tests/devices, and what udev says of each. SDL wants a seat of it, so there must be one."""

    ENV = {"SDL_VIDEODRIVER": "wayland", "WAYLAND_DISPLAY": "hosts"}

    def __init__(self, devices, *words):
        self.names, self.words, self.log = devices, words, os.path.join(WORK, "weston.log")

    def __enter__(self):
        self.devices = [Source(name).create() for name in self.names]
        for device, kinds in zip(self.devices, self.names.values()):
            tell_udev(device.node, kinds)
        self.process = subprocess.Popen(["weston", "--backend=drm-backend.so", "--drm-device=card0", "--tty=1", "--idle-time=0", "--no-config", "--shell=kiosk-shell.so", f"--socket={self.ENV['WAYLAND_DISPLAY']}",
                                         f"--log={self.log}", *self.words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.process.poll() is not None or os.path.exists(os.path.join(WORK, self.ENV["WAYLAND_DISPLAY"])), bool, 60)
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait()
        for device in self.devices:
            device.end()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()
