# SPDX-License-Identifier: MIT
"""libdrm's modetest in a guest of screen.py: what it lists, and what it paints. And the modes that an EDID has, which it must list."""
import re
from dataclasses import dataclass, field

import picture

# Bits of "Established Timings" at 60 Hz, which are the ones we set.
ESTABLISHED = {0: (800, 600), 5: (640, 480), 11: (1024, 768)}


@dataclass
class Mode:
    size: tuple
    hz: int
    timing: tuple  # clock in kHz; end of picture, start and end of the pulse, end: of a line, of the picture
    is_preferred: bool


@dataclass
class Connector:
    id: int
    status: str
    modes: list = field(default_factory=list)
    edid: bytes = b""


def connectors(g):
    """As `modetest -c` lists them."""
    found, in_edid = [], False
    for line in g.kms("sh modetest -M virtio_gpu -c"):
        if row := re.match(r"(\d+)\s+\d+\s+(\w+)\s+Virtual-\d+\s", line):
            found.append(Connector(int(row[1]), row[2]))
        elif row := re.match(r"\s+#\d+ (\d+)x(\d+) ([\d.]+) ((?:\d+ ){8})(\d+) flags: .*; type: (.*)", line):
            found[-1].modes.append(Mode((int(row[1]), int(row[2])), round(float(row[3])), (int(row[5]), *map(int, row[4].split())), "preferred" in row[6]))
        elif re.match(r"\s+\d+ \w+:$", line):
            in_edid = line.split()[1] == "EDID:"
        elif in_edid and re.match(r"\s+[0-9a-f]+$", line):
            found[-1].edid += bytes.fromhex(line.strip())
    return found


def edid_modes(edid):
    """(the preferred one's timing as Mode has it, the sizes of all): what a base block says in detail, by its bits and in its two bytes each. E-EDID 3.8 to 3.10."""
    d = edid[54:72]
    width, height = d[2] | d[4] >> 4 << 8, d[5] | d[7] >> 4 << 8
    across, down = d[3] | (d[4] & 15) << 8, d[6] | (d[7] & 15) << 8
    h_front, h_sync = d[8] | d[11] >> 6 << 8, d[9] | (d[11] >> 4 & 3) << 8
    v_front, v_sync = d[10] >> 4 | (d[11] >> 2 & 3) << 4, d[10] & 15 | (d[11] & 3) << 4
    sizes = {(width, height)}
    bits = edid[35] | edid[36] << 8
    assert edid[126] == 0 and edid[24] & 1 == 0
    for bit in range(16):
        if bits >> bit & 1:
            sizes.add(ESTABLISHED[bit])
    for at in range(38, 54, 2):
        if edid[at:at + 2] != b"\1\1":
            w = (edid[at] + 31) * 8
            up, over = ((10, 16), (3, 4), (4, 5), (9, 16))[edid[at + 1] >> 6]
            assert edid[at + 1] & 63 == 0
            sizes.add((w, w * up // over))
    timing = ((d[0] | d[1] << 8) * 10, width, width + h_front, width + h_front + h_sync, width + across, height, height + v_front, height + v_front + v_sync, height + down)
    return timing, sizes


def smpte(width, height):
    """Its picture: three rows of fields, by SMPTE EG 1: seven bars, the same the other way round with black between, and shades."""
    grey, yellow, cyan, green = (192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0)
    magenta, red, blue, black = (192, 0, 192), (192, 0, 0), (0, 0, 192), (19, 19, 19)
    top = [grey, yellow, cyan, green, magenta, red, blue]
    middle = [blue, black, magenta, black, cyan, black, grey]
    wide, narrow = [(0, 33, 76), (255, 255, 255), (50, 0, 106), black], [(9, 9, 9), black, (29, 29, 29)]
    left, right = width * 5 // 7, width * 6 // 7

    def bottom(x):
        return wide[x * 4 // left] if x < left else narrow[(x - left) * 3 // (width // 7)] if x < right else black

    rows = [b"".join(bytes(bars[x * 7 // width]) for x in range(width)) for bars in (top, middle)] + [b"".join(bytes(bottom(x)) for x in range(width))]
    ends = [height * 6 // 9, height * 7 // 9, height]
    return picture.Picture(width, height, rows[0] * ends[0] + rows[1] * (ends[1] - ends[0]) + rows[2] * (ends[2] - ends[1]))
