# SPDX-License-Identifier: MIT
"""Scenes for a guest of screen.py with two screens, that any monitor must show to the pixel. Buffers 1 to 9 are theirs, and gone afterwards. Small modes: what
Python says of a picture takes its time in the host VM."""
import picture
from screen import check


def ten(g):
    """Those that are compared with QEMU. Its smallest mode is 16 x 16."""
    g.scene("a mode of its own, the whole buffer", "create 1 1280 800", "paint 1 scene 1", "set 0 1 1280 800")
    g.scene("a flip to another buffer", "create 2 1280 800", "paint 2 scene 2", "flip 0 2")
    g.scene("paint that is not said to be there is not shown; one rectangle of it is", "paint 2 scene 3", "dirty 2 301 17 333 257")
    g.scene("four clips, and the screen's last pixel", "paint 2 scene 4", "dirty 2 640 100 8 8 600 400 100 50 1279 799 1 1 700 300 1 200")
    g.kms("remove 1")
    g.scene("a crop with both offsets", "create 3 1001 777", "paint 3 scene 5", "set 0 3 640 400 361 377")
    g.scene("the same buffer on two screens, with other crops", "set 1 3 320 240 100 200")
    g.scene("damage that one of them shows, a part both, and a part none", "paint 3 scene 6", "dirty 3 90 190 400 300 990 760 11 17")
    g.scene("odd sizes", "create 4 333 257", "paint 4 scene 7", "set 0 4 333 257")
    g.scene("the smallest mode there is everywhere", "set 1 4 16 16 300 240")
    g.kms("off 1")
    g.scene("a corner of 8192 x 8192", "create 5 8192 8192", "paint 5 scene 8 7700 7900 492 292", "set 0 5 480 280 7712 7912")
    g.kms("close")


def more(g):
    """For tinyvmm: what QEMU refuses, or has no picture of."""
    g.scene("a screen of one pixel", "create 1 64 64", "paint 1 scene 9", "set 0 1 1 1 40 50")
    for w, h, x, y in ((1, 64, 33, 0), (64, 1, 0, 33), (2, 3, 62, 61), (15, 15, 7, 9), (17, 16, 47, 48)):
        g.scene(f"{w} x {h}", f"set 0 1 {w} {h} {x} {y}")
    g.scene("a row of 8192", "create 2 8192 32", "paint 2 scene 10", "set 0 2 8192 2 0 30")
    g.scene("a column of 8192", "create 3 32 8192", "paint 3 scene 11", "set 0 3 2 8192 30 0")
    g.scene("two buffers on two screens", "create 4 640 480", "paint 4 scene 12", "set 1 4 640 480", "set 0 1 64 64")
    g.scene("256 clips", "create 5 640 400", "paint 5 scene 13", "set 0 5 640 400", "paint 5 scene 14",
            "dirty 5 " + " ".join(f"{100 + 20 * (i % 16)} {50 + 13 * (i // 16)} 3 2" for i in range(256)))
    g.scene("all of it", "dirty 5")
    g.scene("damage outside the crop changes nothing", "set 0 5 100 100 5 6", "paint 5 scene 15", "dirty 5 105 6 20 20 5 106 20 20")
    g.scene("the crop moves", "set 0 5 100 100 6 5")
    g.scene("one that is off and on again", "off 0", "paint 5 scene 16", "set 0 5 640 400")
    g.scene("two flips between two pictures", "create 6 640 400", "paint 6 scene 17", "flip 0 6", "paint 5 scene 18", "flip 0 5")
    g.kms("create 7 1 1 bare")
    g.kms("create 8 8192 1 bare")
    g.kms("remove 4")
    g.dark(1)
    g.kms("close")


FORMATS = {1: "B8G8R8A8", 2: "B8G8R8X8", 3: "A8R8G8B8", 4: "X8R8G8B8", 67: "R8G8B8A8", 68: "X8B8G8R8", 121: "A8B8G8R8", 134: "R8G8B8X8"}


def notices(g, name, screen=0):
    """Whether a reference that is spoiled on purpose is no longer what the screen shows, each for itself."""
    want, got = g.model.expected(screen), g.kept[name][screen]
    spoiled = {"red for blue": want.swapped(), "upside down": want.flipped(), "left for right": want.mirrored()}
    # Where there is one row, or one column, these are the same.
    fails = {how: picture.compare(got, other) for how, other in spoiled.items() if other.rgb != want.rgb}
    least = 1 + (want.height > 1) + (want.width > 1)
    return check(f"{g.monitor}: {name}: {', '.join(fails)} would be noticed", len(fails) >= least and all(fails.values()), fails)


def formats(g):
    """All that the specification has. Linux' own buffers have only the second."""
    for n, name in FORMATS.items():
        # The second picture is over a part of the first: a rectangle that begins and ends nowhere special.
        what = f"{name}, whole and in part"
        g.scene(what, f"create 1 173 97 virtio:{n}", f"paint 1 scene {n}", "set 0 1 160 90 13 5", f"paint 1 scene {n + 1}", "dirty 1 19 7 101 43")
        notices(g, what)
        g.kms("remove 1")
    g.kms("close")


# Width and height; of the largest, which is as large as Linux has them, a part is painted: that much is what a screen shows. It has none of less than 32 x 32, so smaller ones are the middle of one.
SIZES = [(1, 1), (2, 3), (1, 64), (64, 1), (15, 15), (16, 16), (17, 16), (333, 257), (1001, 777), (1920, 1080), (8192, 2), (2, 8192), (8192, 8192)]
SHOWN_MAX = 320


def matrix(g, sizes):
    """Each format in each size: a crop, of a large one that which ends with the last pixel, another one of the same buffer on the other screen, and then a part of another picture."""
    for n, name in FORMATS.items():
        for w, h in sizes:
            what = f"{name}, {w} x {h}"
            # A whole row or column where the other side is short.
            cw, ch = min(w, SHOWN_MAX if h > 64 else 8192), min(h, SHOWN_MAX if w > 64 else 8192)
            mw, mh = max(1, cw // 3), max(1, ch // 2)
            bw, bh = max(w, 32), max(h, 32)
            # The last pixel, but not of a corner that is grey.
            x, y = (bw - cw) // (1 if bw == w else 2), (bh - ch) // (1 if bh == h else 2)
            painted = f"{x} {y} {cw} {ch}" if w * h > 1 << 23 else ""
            g.scene(f"{what}, on two screens", f"create 1 {bw} {bh} virtio:{n}", f"paint 1 scene {n} {painted}", f"set 0 1 {cw} {ch} {x} {y}",
                    f"set 1 1 {mw} {mh} {x + (cw - mw) // 2} {y + (ch - mh) // 3}")
            notices(g, f"{what}, on two screens")
            part = f"{what}, a part of another picture"
            g.scene(part, f"paint 1 scene {n + 1} {painted}", f"dirty 1 {x + cw // 3} {y + ch // 5} {max(1, cw // 2)} {max(1, ch // 2)}")
            notices(g, part)
            g.kms("remove 1")
    g.kms("close")


def cursors(g):
    """The cursor in the screenshot, which QEMU's has not."""
    g.scene("a cursor in the middle", "create 1 640 400", "paint 1 scene 30", "set 0 1 640 400", "create 9 64 64 argb", "paint 9 cursor 0", "cursor 0 9 3 5", "move 0 200 100", screens=[0], cursor=True)
    for name, x, y in (("over the upper left corner", -10, -20), ("over the lower right corner", 630, 370), ("one pixel of it", 639, 399), ("all outside", 640, 5)):
        g.scene(f"a cursor {name}", f"move 0 {x} {y}", screens=[0], cursor=True)
    g.scene("a screenshot without it", "move 0 300 200", screens=[0])
    g.kms("paint 9 solid:80402010 0")
    g.scene("painting the buffer is no new cursor", screens=[0], cursor=True)
    g.scene("setting it is", "cursor 0 9 0 0", screens=[0], cursor=True)
    g.scene("a hidden cursor", "nocursor 0", screens=[0], cursor=True)
    g.scene("and shown again, with another picture", "paint 9 cursor 0", "cursor 0 9 63 63", screens=[0], cursor=True)
