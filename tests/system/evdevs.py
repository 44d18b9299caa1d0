# SPDX-License-Identifier: MIT
"""Input devices for tests: made with uinput from the descriptions in tests/devices, a guest that reads its own, and what a reader says."""
import glob
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import time

import console

UINPUT, EVREAD = "build/evdev/uinput", "build/evdev/evread"
DEVICES = "tests/devices"


def names():
    return sorted(os.path.basename(path)[: -len(".evemu")] for path in glob.glob(f"{DEVICES}/*.evemu"))


def fields(line):
    """KEY=VALUE pairs, the values numbers."""
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def tell_udev(node, kinds):
    """What udev's daemon, which does not run here, would have found out about a device: libinput believes its data base only."""
    number = os.stat(node).st_rdev
    os.makedirs("/run/udev/data", exist_ok=True)
    with open(f"/run/udev/data/c{os.major(number)}:{os.minor(number)}", "w", encoding="ascii") as f:
        f.write("I:1\nE:ID_INPUT=1\n" + "".join(f"E:ID_INPUT_{kind}=1\n" for kind in kinds) + "G:seat\nQ:seat\nV:1\n")


class Source:
    """A device of the host. create() plugs it in; see tests/evdev/uinput.c."""

    def __init__(self, name, path=None):
        self.name, self.lights, self.node = name, [], None
        path = path or f"{DEVICES}/{name}.evemu"
        with open(path, encoding="utf-8") as f:
            self.title = next(line[3:66].strip() for line in f if line.startswith("N:"))
        self.process = subprocess.Popen([UINPUT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

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
    if found["wrong"]:
        console.last += line + "\n"
        # The reader has given up; the source waits for it, and passes over what is too much.
        source.say("\n".join("+" * n))
    found["sent"] = int(source.answer("sent")[1])
    return found


def is_exact(found, n):
    """@found: of a reader that compared @n frames."""
    return found["wrong"] == found["lost"] == 0 and found["frames"] == found["sent"] == n


def host_state(node):
    return subprocess.check_output([EVREAD, "state", node], text=True)


def host_slot(node):
    return int(subprocess.check_output([EVREAD, "slot", node], text=True))


def describe(node):
    return subprocess.check_output(["evemu-describe", node], text=True, stderr=subprocess.STDOUT)


def facts(description):
    """evemu's text without its comments, and without what it writes whatever the device is: lines of nothing but zeros at the end, and type 0."""
    lines = [line.strip() for line in description.splitlines() if not line.startswith("#") and line.strip()]
    kinds = {}
    for line in lines:
        key = line[:5] if line.startswith("B:") else line[:2]
        kinds.setdefault(key, []).append(line)
    for key, group in kinds.items():
        while key.startswith(("B:", "P:")) and len(group) > 1 and not re.sub(r"[0 ]", "", group[-1][len(key):]):
            group.pop()
    return [line for group in kinds.values() for line in group if not re.fullmatch(r"B: \w\w( 00)*|B: 00.*", line)]


def make_initrd():
    """What the small guest needs besides: its first program, evread, and evemu-describe with its libraries."""
    tree, path = os.path.join(console.WORK, "tree"), os.path.join(console.WORK, "evdev.cpio")
    program = shutil.which("evemu-describe")
    files = {"evdev-init": "tests/guest/evdev-init", "bin/evread": EVREAD, "bin/evemu-describe": program}
    for library in re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", program], text=True)):
        files[library.lstrip("/")] = os.path.realpath(library)
    for name, source in files.items():
        os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
        shutil.copy(source, os.path.join(tree, name))
    listed = subprocess.check_output(["find", ".", "-mindepth", "1"], cwd=tree)
    with open(path, "wb") as f:
        subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=tree, input=listed, stdout=f, check=True)
    return path


class Guest(console.Guest):
    """The small guest with a shell. Its devices' nodes are .nodes, in the order of the configuration."""

    initrd = None

    def __init__(self, name, *args, pass_fds=()):  # pylint: disable=super-init-not-called
        Guest.initrd = Guest.initrd or make_initrd()
        self.name, self.text, self.sock, self.marks = name, "", None, 0
        code, said = console.tinyvmm("run", "--detach", "--name", name, "--kernel", f"{console.GUEST}/vmlinux", "--initrd",
                                     f"{console.GUEST}/initramfs.cpio", "--initrd", Guest.initrd, "--append", f"{console.QUIET} rdinit=/evdev-init", *args, pass_fds=pass_fds)
        if code != 0:
            raise console.Gone(f"run ended with {code}: {said}")
        self.connect()
        self.find_devices()

    def reset(self):
        """It starts anew, in a monitor that has executed itself."""
        ctl(self.name, {"do": "reset"})
        # The socket stays: connected to before the new one looks, one waits for it.
        self.sock.close()
        time.sleep(1)
        self.text = ""
        self.connect()
        self.find_devices()

    def find_devices(self):
        """Waits for its shell, and looks."""
        self.wait(r"shell\n", 90)
        self.listed = [line.split("|") for line in self.run("evread list")[1].splitlines()]
        virtio = [line for line in self.listed if line[2].startswith("virtio")]
        virtio.sort(key=lambda line: int(re.match(r"virtio(\d+)", line[2])[1]))
        self.nodes = [line[0] for line in virtio]
        self.names = [line[1] for line in virtio]

    def describe(self, node):
        return self.run(f"evemu-describe {node} | grep -v '^#'")[1]

    def state(self, node):
        return self.run(f"evread state {node}")[1]

    def slot(self, node):
        return int(self.run(f"evread slot {node}")[1])

    def reader(self, *args):
        self.start("evread " + " ".join(str(a) for a in args))
        self.wait(r"ready\n", 30)
        return GuestReader(self)

    def wait_until(self, true, seconds=10):
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def evdev_states(self):
        answer = json.loads(ctl(self.name, {"do": "evdev"}))
        return {device["device"]: device["state"] for device in answer["devices"]}

    def wait_for_state(self, device, state):
        return self.wait_until(lambda: self.evdev_states()[device] == state)

    def stats(self):
        return json.loads(ctl(self.name, {"do": "stats"}))["input"]


class GuestReader:
    """As HostReader, in the guest: one at a time."""

    def __init__(self, guest):
        self.guest = guest

    def line(self, *starts):
        pattern = "|".join(re.escape(start) for start in starts)
        got = self.guest.wait(rf"^({pattern}).*\n", 90)
        lines = got.splitlines()
        if lines[-1].startswith("result"):
            # It ends now; what the shell says about that is nothing for the next command to read.
            self.guest.result(30)
        console.last = got
        return lines[-1]

    def rest(self):
        return self.guest.result()[1]


class Control:
    """The control socket, for many requests."""

    def __init__(self, name):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.path.join(console.WORK, "tinyvmm", name, "control.sock"))
        self.file = self.sock.makefile("r", encoding="utf-8")

    def ask(self, request):
        self.sock.sendall(request.encode() + b"\n")
        return json.loads(self.file.readline())

    def close(self):
        self.file.close()
        self.sock.close()


class Viewer:
    """One that only sends what happens on one device, as docs/display-protocol.md has it, and waits where the monitor does not read."""

    DEVICES = ("keyboard", "mouse", "tablet", "multitouch")

    def __init__(self, name, device="keyboard"):
        self.device = 1 + self.DEVICES.index(device)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(os.path.join(console.WORK, "tinyvmm", name, "viewer.sock"))
        self.say(65, struct.pack("<IIII64s", 1, 0, 0, 0, b"input test"))
        self.waited = False

    def say(self, kind, rest):
        self.sock.sendall(struct.pack("<II", kind, 0) + rest)

    def hear(self):
        while select.select([self.sock], [], [], 0)[0]:
            if not self.sock.recv(32768):
                raise RuntimeError("the monitor has ended the connection")

    def send(self, events):
        """Whole frames, each of which ends in [0, 0, 0], as the guest is to have them."""
        frame = []
        for kind, code, value in events:
            if kind != 0:
                # A place is from 0 to 65535 here, and to 32767 there, cut.
                value = -(-value * 65535 // 32767) if kind == 3 and code in (0, 1, 53, 54) else value
                frame.append(struct.pack("<HHi", kind, code, value))
                continue
            self.hear()
            self.waited |= not select.select([], [self.sock], [], 0)[1]
            self.say(69, struct.pack("<QIIII", 0, self.device, 0, len(frame), 0) + b"".join(frame))
            frame = []

    def close(self):
        self.sock.close()


def ctl(name, request):
    return console.tinyvmm("ctl", name, json.dumps(request))[1]


def in_guest(name):
    """The facts about a device but for what virtio-input cannot carry: force feedback, and a name of more than 63 bytes."""
    with open(f"{DEVICES}/{name}.evemu", encoding="utf-8") as f:
        lines = facts(f.read())
    for i, line in enumerate(lines):
        if line.startswith("N:"):
            lines[i] = "N: " + line[3:66]
    return sorted(line for line in lines if not line.startswith(("B: 15", "S:", "L:")))
