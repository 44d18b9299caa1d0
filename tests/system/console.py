# SPDX-License-Identifier: MIT
"""A Debian guest for tests: started with `tinyvmm run --detach`, driven by typing on its console socket. And TAP."""
import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import time

from work import TINYVMM, WORK

GUEST = subprocess.check_output(["guest-images/build", "--print-dir"], text=True).strip()
ROOTFS = subprocess.check_output(["guest-images/rootfs", "--print-dir"], text=True).strip()

# The kernel's tests of its own ciphers are an eighth of a boot.
QUIET = "quiet cryptomgr.notests"

count = 0
last = ""


def check(name, good):
    global count
    count += 1
    print(f"{'' if good else 'not '}ok {count} - {name}", flush=True)
    if not good:
        for line in last.splitlines()[-30:]:
            print("# " + line.encode("ascii", "replace").decode(), flush=True)
    return good


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}", flush=True)


def leave_nothing():
    """Also when a test stumbles: a VM that stays would take the next test's devices."""
    subprocess.run([TINYVMM, "stop", "--all", "--kill"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
    shutil.rmtree(WORK, ignore_errors=True)


atexit.register(leave_nothing)


def finish():
    print(f"1..{count}")
    sys.exit(0)


def tinyvmm(*args, timeout=60, program=(TINYVMM,), pass_fds=()):
    """Runs a verb. Returns (exit code, output of both kinds)."""
    global last
    done = subprocess.run([*program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False,
                          pass_fds=pass_fds)
    last = done.stdout.decode(errors="replace")
    return done.returncode, last


class Gone(Exception):
    """The guest ended, or said nothing that was waited for."""


class Guest:
    def __init__(self, name, *args, root="ext4", bare=False, program=(TINYVMM,)):
        """
        @args: more for `run`. The root disk is vda, thrown away at the end; the next one is vdb. @bare: a shell and nothing else, a few seconds
        after the start instead of half a minute. @program: a command that ends in tinyvmm.
        """
        self.name, self.text, self.sock, self.marks = name, "", None, 0
        command = ["run", "--detach", "--name", name, "--kernel", f"{GUEST}/vmlinux", "--initrd", f"{GUEST}/initramfs.cpio",
                   "--initrd", f"{ROOTFS}/disk.cpio", "--append", f"{QUIET} init=/bin/bash" if bare else f"{QUIET} systemd.show_status=0", "--disk", f"{ROOTFS}/root.{root}",
                   "--set", "disk.0.root=true", "--set", "disk.0.readonly=true" if root == "erofs" else "disk.0.ephemeral=true", *args]
        code, said = tinyvmm(*command, program=program)
        if code != 0:
            raise Gone(f"run ended with {code}: {said}")
        self.login(bare)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.path.join(WORK, "tinyvmm", self.name, "console.sock"))

    def login(self, bare=False, timeout=180):
        self.connect()
        if not bare:
            self.wait(r"login: $", timeout)
            self.type("root\n")
        self.wait(r"# $", timeout)
        self.run("stty -echo; dmesg -n 1; PS1=; export PATH=/usr/sbin:/usr/bin:/sbin:/bin")
        if bare:
            self.run("for fs in proc:/proc sysfs:/sys tmpfs:/tmp tmpfs:/run; do mount -t ${fs%:*} none ${fs#*:}; done; mkdir -p /dev/shm; mount -t tmpfs none /dev/shm")

    def wait(self, pattern, timeout):
        """Text up to the pattern and with it is consumed."""
        global last
        end = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text, re.MULTILINE)
            if found:
                got, self.text = self.text[: found.end()], self.text[found.end():]
                return got
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                data = b""
            last = self.text
            if not data or time.monotonic() > end:
                raise Gone(f"{self.name}: no {pattern!r}")
            self.text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", self.text + data.decode(errors="replace").replace("\r", ""))

    def type(self, text):
        self.sock.sendall(text.encode())

    def run(self, command, timeout=120):
        """A shell command in the guest. Returns (exit status, output)."""
        self.start(command)
        return self.result(timeout)

    def start(self, command):
        self.marks += 1
        self.type(f"{command}; echo \"<<\"{self.marks}:$?\">>\"\n")

    def result(self, timeout=120):
        got = self.wait(rf"<<{self.marks}:\d+>>\n", timeout)
        status = int(re.search(rf"<<{self.marks}:(\d+)>>", got)[1])
        return status, got[: got.rindex("<<")]

    def pid(self):
        with open(os.path.join(WORK, "tinyvmm", self.name, "pid"), encoding="ascii") as f:
            return int(f.read())

    def end(self):
        if self.sock:
            self.sock.close()
        return tinyvmm("stop", "--kill", self.name)[0]
