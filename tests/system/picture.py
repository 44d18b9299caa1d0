# SPDX-License-Identifier: MIT
"""Pictures of 8-bit RGB: PNG and PPM read, PNG written, compared to the pixel. Only the standard library, so that nothing is trusted that we did not look at."""
import re
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Picture:
    """@rgb: rows from the top, three bytes a pixel."""

    def __init__(self, width, height, rgb):
        if len(rgb) != width * height * 3:
            raise ValueError(f"{len(rgb)} bytes are no {width} x {height} pixels")
        self.width, self.height, self.rgb = width, height, bytes(rgb)

    def row(self, y):
        return self.rgb[y * self.width * 3:(y + 1) * self.width * 3]

    def pixel(self, x, y):
        at = (y * self.width + x) * 3
        return tuple(self.rgb[at:at + 3])

    def crop(self, x, y, width, height):
        return Picture(width, height, b"".join(self.row(i)[x * 3:(x + width) * 3] for i in range(y, y + height)))

    def swapped(self):
        """Red for blue."""
        out = bytearray(self.rgb)
        out[0::3], out[2::3] = self.rgb[2::3], self.rgb[0::3]
        return Picture(self.width, self.height, out)

    def flipped(self):
        """Upside down."""
        return Picture(self.width, self.height, b"".join(self.row(y) for y in range(self.height - 1, -1, -1)))

    def mirrored(self):
        """Left for right."""
        out = bytearray(len(self.rgb))
        for c in range(3):
            for y in range(self.height):
                row = self.row(y)[c::3]
                out[y * self.width * 3 + c:(y + 1) * self.width * 3:3] = row[::-1]
        return Picture(self.width, self.height, out)


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    return read_png(data) if data.startswith(SIGNATURE) else read_ppm(data)


def read_ppm(data):
    """As QEMU's screendump writes it: no comments, 8 bits, and, a mistake of its own, rows filled up to four bytes."""
    found = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    if not found:
        raise ValueError("this is no PPM of 8 bits")
    width, height, rgb = int(found[1]), int(found[2]), data[found.end():]
    stride = (width * 3 + 3) // 4 * 4
    if len(rgb) == stride * height:
        rgb = b"".join(rgb[y * stride:y * stride + width * 3] for y in range(height))
    return Picture(width, height, rgb)


def unfilter(kind, row, before, bpp):
    """One row of a PNG. @row is changed."""
    if kind == 1:
        for c in range(bpp):
            total = 0
            for i in range(c, len(row), bpp):
                total = row[i] = (total + row[i]) & 255
    elif kind == 2:
        row[:] = bytes([(a + b) & 255 for a, b in zip(row, before)])
    elif kind == 3:
        for i, b in enumerate(before):
            left = row[i - bpp] if i >= bpp else 0
            row[i] = (row[i] + (left + b) // 2) & 255
    elif kind == 4:
        for i, b in enumerate(before):
            left, corner = (row[i - bpp], before[i - bpp]) if i >= bpp else (0, 0)
            p = left + b - corner
            distance = (abs(p - left), abs(p - b), abs(p - corner))
            row[i] = (row[i] + (left, b, corner)[distance.index(min(distance))]) & 255
    elif kind != 0:
        raise ValueError(f"no filter {kind}")


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + size]
        if len(body) < size or zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + size)[0]:
            raise ValueError(f"chunk {kind.decode('ascii', 'replace')} is broken")
        yield kind, body
        at += 12 + size


def read_png(data):
    """RGB or RGBA of 8 bits, not interlaced. Alpha must be 255 everywhere: a screen has none."""
    header, packed, ended = None, b"", False
    for kind, body in chunks(data):
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        ended = kind == b"IEND"
    if not header or header[2:] not in ((8, 2, 0, 0, 0), (8, 6, 0, 0, 0)) or not ended:
        raise ValueError("this is no whole PNG of 8-bit RGB or RGBA")
    width, height, bpp = header[0], header[1], 3 if header[3] == 2 else 4
    raw, pitch = zlib.decompress(packed), width * bpp
    if len(raw) != (pitch + 1) * height:
        raise ValueError("too many or too few pixels")
    rows, before = [], bytes(pitch)
    for y in range(height):
        at = y * (pitch + 1)
        row = bytearray(raw[at + 1:at + 1 + pitch])
        unfilter(raw[at], row, before, bpp)
        rows.append(row)
        before = row
    if bpp == 4:
        if any(row[3::4] != b"\xff" * width for row in rows):
            raise ValueError("a screenshot with alpha")
        for row in rows:
            del row[3::4]
    return Picture(width, height, b"".join(rows))


def write_png(path, picture):
    rows = b"".join(b"\0" + picture.row(y) for y in range(picture.height))
    with open(path, "wb") as f:
        f.write(SIGNATURE)
        for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")):
            f.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def differences(got, want, tolerance=0):
    """[(y, [x, ...]), ...] of pixels that differ by more than @tolerance in a colour. Both have the same size."""
    found = []
    if got.rgb == want.rgb:
        return found
    for y in range(want.height):
        a, b = got.row(y), want.row(y)
        if a != b:
            columns = sorted({i // 3 for i in range(len(a)) if abs(a[i] - b[i]) > tolerance})
            if columns:
                found.append((y, columns))
    return found


def compare(got, want, tolerance=0, out=None):
    """None when they are the same, otherwise why not. @out: where the two and their difference are put then, as OUT-got.png and so on."""
    if (got.width, got.height) != (want.width, want.height):
        why, rows = f"{got.width} x {got.height} pixels, not {want.width} x {want.height}", []
    else:
        rows = differences(got, want, tolerance)
        if not rows:
            return None
        y, (x, *_) = rows[0]
        why = f"{sum(len(xs) for _, xs in rows)} of {want.width * want.height} pixels differ, the first at {x},{y}: " \
              f"{'%02x%02x%02x' % got.pixel(x, y)}, not {'%02x%02x%02x' % want.pixel(x, y)}"
    if out:
        write_png(f"{out}-got.png", got)
        write_png(f"{out}-want.png", want)
        if rows:
            # What is there, dark, and red where it is wrong.
            picture = bytearray(b // 4 for b in got.rgb)
            for y, columns in rows:
                for x in columns:
                    at = (y * want.width + x) * 3
                    picture[at:at + 3] = b"\xff\0\0"
            write_png(f"{out}-difference.png", Picture(want.width, want.height, picture))
    return why
