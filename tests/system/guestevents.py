# SPDX-License-Identifier: MIT
"""What the kernel of the small guest (screen.py) says of its input devices; it must have evread with it."""
import time

from screen import check, until


def node(g, kind):
    """/dev/input/eventN of a device: they come in any order."""
    line = next(line for line in g.kms("sh evread list") if f"tinyvmm {kind}" in line)
    return line.split("|")[0]


class Reader:
    """The events of a device, from now on."""

    def __init__(self, g, kind):
        self.g, self.file = g, f"/{kind}{time.monotonic_ns()}"
        g.kms(f"sh evread events {node(g, kind)} 1000 300 > {self.file} 2>&1 &")
        until(lambda: g.kms(f"sh cat {self.file}"), lambda lines: "ready" in " ".join(lines))

    def got(self):
        lines = [line.split() for line in self.g.kms(f"sh cat {self.file}")]
        return [tuple(int(w) for w in line) for line in lines if len(line) == 3 and line[0].isdigit() and line[0] != "0" and line[0] != "17" and line[0] != "20"]

    def becomes(self, name, want):
        """@want: a list, or a function of one."""
        def good(events):
            return bool(want(events)) if callable(want) else events == want

        got = until(self.got, good, 20)
        return check(name, good(got), got)
