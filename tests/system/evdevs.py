# SPDX-License-Identifier: MIT
"""Input devices for tests: made with uinput from the descriptions in tests/devices, a guest that reads its own, and what a reader says."""
import glob
import os
import re
import subprocess

import console

UINPUT, EVREAD = "build/evdev/uinput", "build/evdev/evread"
DEVICES = "tests/devices"


def names():
    return sorted(os.path.basename(path)[: -len(".evemu")] for path in glob.glob(f"{DEVICES}/*.evemu"))


def fields(line):
    """KEY=VALUE pairs, the values numbers."""
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


class Source:
    """A device of the host. create() plugs it in; see tests/evdev/uinput.c."""

    def __init__(self, name):
        self.name, self.lights, self.node = name, [], None
        self.process = subprocess.Popen([UINPUT, f"{DEVICES}/{name}.evemu"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def answer(self, word):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"uinput for {self.name} ended")
            if line.startswith("led "):
                self.lights.append(tuple(int(x) for x in line.split()[1:]))
            elif line.startswith(word):
                return line.split()
            else:
                raise RuntimeError(f"uinput for {self.name}: {line}")

    def create(self):
        self.say("create")
        self.node = self.answer("node")[1]
        return self

    def destroy(self):
        self.say("destroy")
        self.answer("gone")

    def send(self, *events):
        self.say("ev " + " ".join(f"{t} {c} {v}" for t, c, v in events))

    def frames(self, n, mode, seed, hz=0):
        """Returns the number of frames and of events."""
        self.say(f"frames {n} {mode} {seed} {hz}")
        return tuple(int(x) for x in self.answer("sent")[1:])

    def release(self):
        self.say("release")
        self.answer("sent")

    def end(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


def read_line(process):
    return process.stdout.readline()


class HostReader:
    """evread on the host, as one of perhaps several readers of a node."""

    def __init__(self, *args):
        self.process = subprocess.Popen([EVREAD, *(str(a) for a in args)], stdout=subprocess.PIPE, text=True)
        self.line("ready")

    def line(self, *starts):
        """The next line that begins with one of these; others are kept to be shown when something fails."""
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("evread ended")
            if line.startswith(starts):
                return line.rstrip("\n")
            console.last += line

    def rest(self):
        text = self.process.stdout.read()
        self.process.wait()
        return text


def feed(source, reader, n, mode, seed):
    """N frames at the reader's pace. Returns what it found, with "sent"."""
    source.say(f"window {n} {mode} {seed}")
    while True:
        line = reader.line("+", "result")
        if line != "+":
            break
        source.say("+")
    found = fields(line)
    if found["wrong"] == 0 and found["frames"] == n:
        found["sent"] = int(source.answer("sent")[1])
    return found


def describe(node):
    return subprocess.check_output(["evemu-describe", node], text=True, stderr=subprocess.STDOUT)


def facts(description):
    """evemu's text without its comments, and without what it writes whether there is something or not: lines of nothing but zeros."""
    lines = [line.strip() for line in description.splitlines() if not line.startswith("#") and line.strip()]
    kinds = {}
    for line in lines:
        key = line[:5] if line.startswith("B:") else line[:2]
        kinds.setdefault(key, []).append(line)
    for key, group in kinds.items():
        while key.startswith(("B:", "P:")) and len(group) > 1 and not re.sub(r"[0 ]", "", group[-1][len(key):]):
            group.pop()
    return [line for group in kinds.values() for line in group if line.startswith("B: 00") or not re.fullmatch(r"B: \w\w( 00)*", line)]
