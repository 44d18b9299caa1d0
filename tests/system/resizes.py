# SPDX-License-Identifier: MIT
"""A window that is pulled to many sizes, and a guest that follows it (`follow` of tests/guest/kms): for each size that settles one mode, no other, and its picture in the window to the pixel."""
import os
import random
import re

import picture
from kmsmodel import Scene
from screen import KEEP, check, until

LARGEST, SMALLEST = (1500, 1100), (64, 64)  # the X server's screen is 1600 x 1200; Linux takes no smaller mode from an EDID


def pulls(seed, n):
    """Sizes one after another at once, of which the last one settles: each other than the one before. Some tiny, some odd; every fifth is several, and every tenth comes back to where it began."""
    rng, last = random.Random(seed), None

    def size():
        largest = (200, 150) if rng.random() < 0.2 else LARGEST
        return rng.randint(SMALLEST[0], largest[0]), rng.randint(SMALLEST[1], largest[1])

    for i in range(n):
        settles = last if last and i % 10 == 9 else size()
        hasty = [size() for _ in range(rng.randint(2, 8))] if i % 5 == 4 else []
        yield [*hasty, settles]
        last = settles


class Follower:
    """The guest follows as long as the `with` lasts. @n: how many modes it has set, which is the number in the picture."""

    def __init__(self, g, x, window, *own):
        self.g, self.x, self.window, self.own, self.n, self.size = g, x, window, own, 0, None

    def __enter__(self):
        self.g.type(" ".join(["follow 0", *map(str, self.own)]) + "\n")
        self.heard()
        return self

    def __exit__(self, kind, value, trace):
        if not kind:
            said = self.g.kms("sh true")
            check(f"the guest has set {self.n} modes in all", f"ok follow {self.n}" in said, said)

    def heard(self):
        """The next mode that the guest sets."""
        said = re.search(r"follows (\d+) (\d+)x(\d+)\n", self.g.wait(r"^kms: follows .*\n", 60))
        self.n += 1
        self.size = int(said[2]), int(said[3])
        return int(said[1]) == self.n

    def want(self):
        scene = Scene(*self.size, self.n)
        return picture.Picture(*self.size, b"".join(bytes(scene.row(y)) for y in range(self.size[1])))

    def shows(self):
        """Why the window has not its size, or not its picture; None: it has."""
        want = self.want()
        got = until(lambda: self.x.picture(self.window), lambda p: (p.width, p.height, bytes(p.rgb)) == (want.width, want.height, bytes(want.rgb)), 20)
        return picture.compare(got, want, out=f"{KEEP}/window-resized")

    def pulled(self, sizes):
        """Why the guest does not follow to the last one, and only to that; None: it does."""
        before = self.size
        self.x.do(*[word for w, h in sizes for word in ("windowsize", self.window, w, h)])
        if sizes[-1] != before and not (self.heard() and self.size == sizes[-1]):
            return f"mode {self.n} is {self.size}"
        return self.shows()


def resized(g, x, window, seed, n):
    os.makedirs(KEEP, exist_ok=True)
    # What lies outside the screen has no picture.
    x.do("windowmove", "--sync", window, 0, 0)
    wrong = []
    with Follower(g, x, window) as guest:
        for sizes in pulls(seed, n):
            if why := guest.pulled(sizes):
                wrong.append(f"{sizes}: {why}")
                break
        picture.write_png(f"{KEEP}/window-resized-last.png", x.picture(window))
    check(f"the guest follows the window to each size that settles, of {n}, and its picture is there to the pixel", not wrong, "\n".join(wrong))
    told = guest.size
    with Follower(g, x, window, 640, 480) as guest:
        until(lambda: x.geometry(window)[2:], lambda size: size == (640, 480), 20)
        why = guest.shows() or guest.pulled([told])
        check("the window follows a mode of the guest's own, and back at the size it was told before, the guest follows again", not why, why)
