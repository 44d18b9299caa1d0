# SPDX-License-Identifier: MIT
"""The small guest with a screen, under tinyvmm or under QEMU: tests/guest/kms on its console does commands, kmsmodel knows what must be seen. And TAP."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import kmsmodel
import picture
from qemus import CACHE, clear_of_acpi, qemu_program
from work import TINYVMM, WORK

UDMABUF = os.access("/dev/udmabuf", os.R_OK | os.W_OK)
GUEST, GPU = f"{CACHE}/guest", f"{CACHE}/gpu"
# What went wrong can be looked at afterwards, also from outside the host VM.
KEEP = os.path.abspath("build/hostvm/pictures" if os.path.isdir("build/hostvm") else "build/pictures")

count = 0
said = ""


def check(name, good, why=""):
    global count
    count += 1
    print(f"{'' if good else 'not '}ok {count} - {name}", flush=True)
    if not good:
        for line in (str(why).splitlines() + said.splitlines())[-30:]:
            print("# " + line.encode("ascii", "replace").decode(), flush=True)
    return good


def finish():
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"1..{count}")
    sys.exit(0)


class Gone(Exception):
    """The guest ended, or said nothing that was waited for, or a command failed."""


def until(get, good, seconds=30, pause=0.2):
    """The first of what @get returns that is good, or the last."""
    end = time.monotonic() + seconds
    while True:
        got = get()
        if good(got) or time.monotonic() > end:
            return got
        time.sleep(pause)


def initrd(*programs, name="tests.cpio", **files):
    """A further initrd with programs in /bin: paths, and name=text for scripts."""
    root = os.path.join(WORK, "initrd")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(f"{root}/bin")
    for program in programs:
        shutil.copy(program, f"{root}/bin/")
    for n, text in files.items():
        with open(f"{root}/bin/{n}", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f"{root}/bin/{n}", 0o755)
    path = os.path.join(WORK, name)
    listed = "\n".join(["bin"] + [f"bin/{n}" for n in sorted(os.listdir(f"{root}/bin"))])
    with open(path, "wb") as f:
        subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, input=listed.encode(), stdout=f, check=True)
    return path


class Guest:
    """@do: what tinyvmm.do= says. Ends with the `with` it was made for."""

    monitor = ""

    def __init__(self, name, do="run=kms,poweroff", append="", memory="512M", screens=1, size=(1280, 800), blob=False, initrds=(), extra=(), kernel=f"{GUEST}/vmlinux"):
        self.name, self.do, self.append, self.memory, self.screens, self.size, self.blob = name, do, append, memory, screens, size, blob
        self.initrds = [f"{GUEST}/initramfs.cpio", f"{GPU}/gpu.cpio", *(initrds or [initrd("build/guest/kms")])]
        self.kernel = kernel
        self.extra, self.text, self.sock, self.shots, self.process = list(extra), "", None, 0, None
        self.model, self.kept = self.fresh_model(), {}

    def fresh_model(self):
        """Blobs are shown where they are only where the host has udmabuf, and are copied like anything else elsewhere."""
        return kmsmodel.Model(self.screens, self.blob and UDMABUF)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.end()
        if kind and issubclass(kind, (Gone, OSError, subprocess.SubprocessError)):
            check(f"{self.monitor} {self.name}: {value}", False)
            return True
        return False

    def connect(self, path, seconds=60):
        end = time.monotonic() + seconds
        while True:
            try:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(path)
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > end or (self.process and self.process.poll() is not None):
                    raise
                time.sleep(0.02)

    def wait(self, pattern, seconds=120):
        """Console output up to the pattern and with it is consumed."""
        global said
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text, re.MULTILINE)
            if found:
                got, self.text = self.text[: found.end()], self.text[found.end():]
                return got
            said = self.text
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                data = b""
            if not data:
                raise Gone(f"the guest did not say {pattern!r}")
            self.text += data.decode(errors="replace").replace("\r", "")

    def type(self, text):
        self.sock.sendall(text.encode())

    def ready(self):
        self.wait(r"^kms: ready\n")

    def kms(self, command, seconds=120):
        """Does a command and returns its lines, without `kms: `; the last one is the answer."""
        self.type(command + "\n")
        got = self.wait(rf"^kms: (ok|error) {command.split()[0]}\b.*\n", seconds)
        lines = [line.removeprefix("kms: ") for line in got.splitlines()]
        if not lines[-1].startswith("ok"):
            raise Gone(lines[-1])
        self.model.apply(command)
        return lines

    def scene(self, name, *commands, screens=None, cursor=False, tolerance=0):
        """Does commands, and looks whether the screens (default: all that are on) show what they must."""
        for command in commands:
            self.kms(command)
        why, self.kept[name] = "", []
        for s in range(self.screens) if screens is None else screens:
            want = self.model.expected(s, cursor)
            if want:
                got = self.shot(s, cursor)
                self.kept[name].append(got)
                os.makedirs(KEEP, exist_ok=True)
                wrong = picture.compare(got, want, tolerance, out=f"{KEEP}/{self.monitor}-{self.name}-{re.sub('[^a-z0-9]+', '-', name.lower())}-{s}")
                why += f"screen {s}: {wrong}\n" if wrong else ""
        return check(f"{self.monitor}: {name}", not why, why)

    def shot_path(self, suffix):
        self.shots += 1
        return os.path.join(WORK, f"{self.name}-{self.shots}.{suffix}")


class Tinyvmm(Guest):
    monitor = "tinyvmm"

    def command(self):
        gpu = ["--set", "gpu.mode=2d", "--set", f"gpu.size={self.size[0]}x{self.size[1]}", "--set", f"gpu.scanouts={self.screens}", "--set", f"gpu.blob={str(self.blob).lower()}",
               "--set", "gpu.max_host_memory=1G"]
        return [TINYVMM, "run", "--name", self.name, "--kernel", self.kernel, *[w for i in self.initrds for w in ("--initrd", i)], "--memory", self.memory,
                "--append", f"quiet cryptomgr.notests loglevel=1 tinyvmm.do={self.do} {self.append}", "--set", "console.type=socket", *gpu, *self.extra]

    def start(self):
        log = open(os.path.join(WORK, f"{self.name}.log"), "wb")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.sock = self.connect(os.path.join(WORK, "tinyvmm", self.name, "console.sock"))

    def restarted(self, seconds=60):
        """Waits until the guest has ended, and listens to the next one on the same socket."""
        self.sock.settimeout(seconds)
        while self.sock.recv(65536):
            pass
        self.sock.close()
        self.text, self.model = "", self.fresh_model()
        self.sock = self.connect(os.path.join(WORK, "tinyvmm", self.name, "console.sock"))

    def verb(self, *args, seconds=60):
        """(exit code, output of both kinds)"""
        done = subprocess.run([TINYVMM, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def ctl(self, **request):
        code, text = self.verb("ctl", self.name, json.dumps(request))
        if code != 0:
            raise Gone(text)
        return json.loads(text)

    def stats(self):
        return self.ctl(do="stats")

    def raw(self, screen=0, cursor=False):
        """(width, height, stride, file of pixels: blue, green, red and one that says nothing) from the control socket: as `tinyvmm screenshot` gets it."""
        with self.connect(os.path.join(WORK, "tinyvmm", self.name, "control.sock")) as sock:
            sock.settimeout(60)
            sock.sendall(json.dumps({"do": "screenshot", "scanout": screen, "cursor": cursor}).encode() + b"\n")
            line, fds, _, _ = socket.recv_fds(sock, 65536, 4)
        answer = json.loads(line)
        if not answer["ok"]:
            raise Gone(answer["error"]["text"])
        file = os.fdopen(fds[0], "rb")
        file.seek(0)
        return answer["width"], answer["height"], answer["stride"], file

    def shot(self, screen=0, cursor=False):
        width, height, stride, file = self.raw(screen, cursor)
        with file:
            data = file.read()
        if stride != width * 4:
            data = b"".join(data[y * stride:y * stride + width * 4] for y in range(height))
        rgb = bytearray(width * height * 3)
        rgb[0::3], rgb[1::3], rgb[2::3] = data[2::4], data[1::4], data[0::4]
        return picture.Picture(width, height, rgb)

    def png(self, *options):
        """By the verb."""
        path = self.shot_path("png")
        code, text = self.verb("screenshot", *options, self.name, path)
        if code != 0:
            raise Gone(text)
        return picture.read(path)

    def dark(self, screen):
        """Nothing is shown there."""
        code, text = self.verb("screenshot", "--scanout", str(screen), self.name, self.shot_path("png"))
        check(f"screen {screen} shows nothing", code == 1 and "shows nothing" in text, text)

    def pid(self):
        return self.process.pid

    def end(self):
        if self.sock:
            self.sock.close()
        if self.process and self.process.poll() is None:
            self.verb("stop", "--kill", self.name)
            self.process.wait(30)


class Qemu(Guest):
    """-M microvm: the same bus as tinyvmm's."""

    monitor = "qemu"
    machine = ("-M", "microvm,accel=kvm,rtc=on,isa-serial=off", "-global", "virtio-mmio.force-legacy=false", "-cpu", "host")
    display, gpu, environment = "none", "virtio-gpu-device", {}

    def start(self):
        program, env = qemu_program()
        base = os.path.join(WORK, self.name)
        with open(f"{base}.cpio", "wb") as out:
            for path in self.initrds:
                with open(path, "rb") as f:
                    data = f.read()
                out.write(data + bytes(-len(data) % 4))
            out.write(clear_of_acpi(out.tell()))
        command = [*program, *self.machine, "-smp", "1", "-m", self.memory, "-name", "guest,debug-threads=on", "-no-user-config", "-nodefaults",
                   "-display", self.display, "-no-reboot", "-kernel", self.kernel, "-initrd", f"{base}.cpio",
                   "-append", f"quiet cryptomgr.notests loglevel=1 panic=-1 {self.append} console=hvc0 tinyvmm.do={self.do}",
                   "-chardev", f"socket,id=c,path={base}.console,server=on,wait=off", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c",
                   "-device", f"{self.gpu},id=gpu,max_outputs={self.screens},xres={self.size[0]},yres={self.size[1]},max_hostmem=1G",
                   "-qmp", f"unix:{base}.qmp,server=on,wait=off", *self.extra]
        with open(f"{base}.log", "wb") as log:
            self.process = subprocess.Popen(command, env={**env, **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.sock = self.connect(f"{base}.console")
        self.qmp_sock = self.connect(f"{base}.qmp").makefile("rw", encoding="utf-8")
        json.loads(self.qmp_sock.readline())
        self.qmp("qmp_capabilities")

    def qmp(self, command, **arguments):
        self.qmp_sock.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_sock.flush()
        while True:
            line = self.qmp_sock.readline()
            if not line:
                raise Gone("QEMU ended")
            answer = json.loads(line)
            if "error" in answer:
                raise Gone(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def shot(self, screen=0, cursor=False):
        """Never with the cursor: QEMU's screendump has none."""
        path = self.shot_path("ppm")
        self.qmp("screendump", filename=path, device="gpu", head=screen)
        return picture.read(path)

    def pid(self):
        return self.process.pid

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.sock:
            self.sock.close()
