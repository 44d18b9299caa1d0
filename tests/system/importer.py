# SPDX-License-Identifier: MIT
"""build/viewer/importer, which imports dma-bufs, and what is known of the VM it looks at. For tests on hosts with a render node."""
import glob
import os
import subprocess
import time
import zlib

from screen import WORK, check, until
from viewerclient import Viewer

NODES = [n for n in sorted(glob.glob("/dev/dri/renderD*")) if os.access(n, os.R_OK | os.W_OK)]

HAS_SCREEN = os.access("/dev/dri/card0", os.W_OK) and "DISPLAY" not in os.environ and "WAYLAND_DISPLAY" not in os.environ


class Importer(Viewer):
    program = "build/viewer/importer"

    def __init__(self, g):
        super().__init__(g, NODES[0])

    def last(self, kind):
        return [line for line in list(self.lines) if line.startswith(kind)][-1:]

    def torn(self):
        return [line for line in list(self.lines) if line.endswith(" torn")]


def gpu(g):
    return g.stats()["gpu"]


def way(g, name="importer"):
    return next(v for v in g.stats()["viewers"] if v["name"] == name)


def dmabufs(g):
    """(descriptors that are dma-bufs, all descriptors)"""
    names = []
    for fd in os.listdir(f"/proc/{g.pid()}/fd"):
        try:
            names.append(os.readlink(f"/proc/{g.pid()}/fd/{fd}"))
        except OSError:
            pass
    return sum(n.startswith("/dmabuf:") for n in names), len(names)


def same(g, v, name):
    """What it has imported is, to the pixel, what a screenshot reads back."""
    shot = g.shot()
    want = f"{shot.width}x{shot.height} {zlib.crc32(bytes(shot.rgb)):08x}"
    got = until(lambda: v.last("frame 0 "), lambda got: got and want in got[0], 20)
    check(f"{name}: what is imported is the screenshot", got and want in got[0], (want, got, v.lines[-5:]))


def window(g):
    """tinyvmm-view on this host's own screen, which the same GPU drives."""
    log = os.path.join(WORK, "view.log")
    env = {**os.environ, "SDL_VIDEODRIVER": "kmsdrm"}
    with open(log, "wb") as out:
        view = subprocess.Popen(["build/tinyvmm-view", "--socket", os.path.join(WORK, "tinyvmm", g.name, "viewer.sock"), "--scale", "fixed", "-v"], env=env, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=out)
    try:
        met = until(lambda: [v for v in g.stats()["viewers"] if v["name"] == "tinyvmm-view"], bool, 60)
        check("the window is there", met, open(log, encoding="utf-8", errors="replace").read())
        g.kms("paint 1 scene 11")
        g.kms("flip 0 1")
        got = until(lambda: way(g, "tinyvmm-view"), lambda w: w["way"] == "dma-buf" and w["released"] > 1, 60) if met else {}
        check("it imports dma-bufs, and releases them", got.get("way") == "dma-buf", (got, open(log, encoding="utf-8", errors="replace").read()))
        before = gpu(g)["read_bytes"]
        g.kms("count 0 1 2 20")
        got = until(lambda: way(g, "tinyvmm-view"), lambda w: w["released"] > got["released"], 20) if met else {}
        check(f"and goes on: {got.get('released')} frames, nothing read back", gpu(g)["read_bytes"] == before, got)
        with open(log, encoding="utf-8", errors="replace") as said:
            said = said.read()
        check("it says so", "are imported as dma-bufs" in said and "instead" not in said, said)
        # For whoever looks at the screen from outside.
        g.kms("paint 1 scene 12")
        g.kms("flip 0 1")
        time.sleep(float(os.environ.get("DMABUF_LOOK", "0")))
    finally:
        view.kill()
        view.wait()
