# SPDX-License-Identifier: MIT
"""Reads text off a picture. The kernel's console by the kernel's own font: a glyph is there to the pixel, or it is none. A terminal's in a desktop by what its characters
look like where it is known which they are."""


UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Font:
    """@line: what kms says to `font`."""

    def __init__(self, line):
        _, width, height, data = line.split()
        self.width, self.height, bytes_wide = int(width), int(height), (int(width) + 7) // 8
        data = bytes.fromhex(data)
        self.glyphs = {}
        # Printable characters last, where two look alike: a blank is a blank.
        for code in [c for c in range(256) if not 32 <= c < 127] + list(range(126, 31, -1)):
            rows = [data[(code * 32 + y) * bytes_wide:(code * 32 + y + 1) * bytes_wide] for y in range(self.height)]
            bits = "".join(bin(int.from_bytes(r, "big") | 1 << 8 * bytes_wide)[3:3 + self.width] for r in rows)
            self.glyphs[bits] = chr(code) if 32 <= code < 127 else "\N{REPLACEMENT CHARACTER}"

    def finds(self, picture, text, colour=0xFF):
        """Where the text is, (x, y) of its first pixel, wherever that may be; None. In one colour, grey or white, on anything else."""
        bits = {char: glyph for glyph, char in self.glyphs.items()}
        want = ["".join(bits[c][y * self.width:(y + 1) * self.width] for c in text) for y in range(self.height)]
        names = bytes(49 if i == colour else 48 for i in range(256))
        rows = [picture.row(y)[0::3].translate(names).decode() for y in range(picture.height)]
        # The first row that has anything: a blank one is everywhere.
        first = next(y for y, row in enumerate(want) if "1" in row)
        for top in range(picture.height - self.height + 1):
            x = rows[top + first].find(want[first])
            while x >= 0:
                if all(rows[top + y][x:x + len(want[y])] == want[y] for y in range(self.height)):
                    return x, top
                x = rows[top + first].find(want[first], x + 1)
        return None

    def read(self, picture, colour=0xAA):
        """Rows of text without the blanks at their ends. Grey on black; a place that is not the picture of a character is a U+FFFD."""
        names = bytes(48 if i == 0 else 49 if i == colour else 63 for i in range(256))
        rows = []
        for top in range(0, picture.height - self.height + 1, self.height):
            lines = [picture.row(y) for y in range(top, top + self.height)]
            if all(not any(line) for line in lines):
                rows.append("")
                continue
            grey = [line[0::3].translate(names).decode() if line[0::3] == line[1::3] == line[2::3] else "?" * picture.width for line in lines]
            text = ""
            for x in range(0, picture.width - self.width + 1, self.width):
                text += self.glyphs.get("".join(line[x:x + self.width] for line in grey), "\N{REPLACEMENT CHARACTER}")
            rows.append(text.rstrip())
        return rows


class Cells:
    """A terminal whose cells are @width x @height pixels, the first one at @x, @y. Its letters have soft edges, which reach into the cells beside them: a character is the one it is most like, when no
    stroke is more or less than there."""

    # Of 255 levels: more is a stroke, and no edge.
    STROKE = 80

    def __init__(self, x, y, width, height):
        self.x, self.y, self.width, self.height, self.glyphs = x, y, width, height, {}

    def cell(self, picture, column, row, off=0):
        """Without its last row of pixels, into which a cursor below it reaches."""
        return picture.crop(self.x + column * self.width, self.y + row * self.height + off, self.width, self.height - 1).rgb

    def learn(self, picture, text):
        """What is in the first row."""
        for column, char in enumerate(text):
            self.glyphs[self.cell(picture, column, 0)] = char

    def char(self, cell):
        """(it, by how many levels the cell is off)"""
        if cell in self.glyphs:
            return self.glyphs[cell], 0
        off, glyph = min((sum(abs(p - q) for p, q in zip(cell, glyph)), glyph) for glyph in self.glyphs)
        return UNKNOWN if any(abs(p - q) > self.STROKE for p, q in zip(cell, glyph)) else self.glyphs[glyph], off

    def read(self, picture, row, columns):
        """A row without the blanks at its end. Others than the first one may be a pixel higher or lower in their cells."""
        found = []
        for off in (0, -1, 1) if row else (0,):
            chars = [self.char(self.cell(picture, column, row, off)) for column in range(columns)]
            found.append((sum(levels for _, levels in chars), "".join(char for char, _ in chars).rstrip()))
        return min(found)[1]
