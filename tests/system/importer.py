# SPDX-License-Identifier: MIT
"""build/viewer/importer, which imports dma-bufs, and what is known of the VM it looks at. For tests on hosts with a render node."""
import glob
import os
import zlib

from screen import check, until
from viewerclient import Viewer

NODES = [n for n in sorted(glob.glob("/dev/dri/renderD*")) if os.access(n, os.R_OK | os.W_OK)]


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
