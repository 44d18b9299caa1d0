# SPDX-License-Identifier: MIT
"""tests/viewer/client, the second client of the viewer protocol, told what to do and heard."""
import os
import re
import signal
import subprocess
import threading
import zlib

from screen import WORK, check, until


class Viewer:
    program = "build/viewer/client"

    def __init__(self, g, *args, path=None):
        self.process = subprocess.Popen(self.command(path or os.path.join(WORK, "tinyvmm", g.name, "viewer.sock"), *args), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        threading.Thread(target=self.read, daemon=True).start()

    def command(self, path, *args):
        return [self.program, path, *args]

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def heard(self, pattern, seconds=20):
        return until(lambda: [line for line in list(self.lines) if re.fullmatch(pattern, line)], bool, seconds)

    def frames(self):
        return len([line for line in list(self.lines) if line.startswith("frame")])

    def end(self, signo=signal.SIGTERM):
        self.process.send_signal(signo)
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(10)
        self.process.stdin.close()


def looks(g, v, name):
    """The last frame of the first screen is the picture that a screenshot has."""
    shot = g.shot()
    want = f"{shot.width}x{shot.height} {zlib.crc32(bytes(shot.rgb)):08x}"
    got = until(lambda: [line for line in list(v.lines) if line.startswith("frame 0 ")][-1:], lambda got: got and want in got[0], 10)
    check(f"{name}: the viewer's frame is the screenshot", got and want in got[0], (want, got))
