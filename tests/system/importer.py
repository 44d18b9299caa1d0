# SPDX-License-Identifier: MIT
"""build/viewer/importer, which imports dma-bufs, and what is known of the VM it looks at. For tests on hosts with a render node."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import zlib

import picture
from screen import KEEP, WORK, check, until
from viewerclient import Viewer
from weston import Weston, scanned

NODES = [n for n in sorted(glob.glob("/dev/dri/renderD*")) if os.access(n, os.R_OK | os.W_OK)]

HAS_SCREEN = os.access("/dev/dri/card0", os.W_OK) and "DISPLAY" not in os.environ and "WAYLAND_DISPLAY" not in os.environ

# As tinyvmm gpu-info says it.
DMABUF = r"dma-buf [AX][BR]24, modifier 0x[0-9a-f]{16}, \d planes?"
IN_ROWS = "; in rows: not every viewer can import what the GPU likes better"

# In user, file and process namespaces of its own, without any right: it has the host's programs and libraries to read, one GPU and the socket, and sees neither the monitor nor what that has open.
# Root may do without the first of them, where the kernel has none for users.
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
UNSHARE = next((u for u in ([*UNSHARE, "--user", "--map-root-user"], UNSHARE) if subprocess.run([*u, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0), None) if NODES else None
APART = """set -e
socket=$2 node=$3 viewer=$PWD/build/viewer
mount -t tmpfs -o mode=755 none "$1"
cd "$1"
mkdir -p usr sys proc dev/dri viewer old
for d in bin lib lib64; do ln -s usr/$d $d; done
mount --bind -o ro /usr usr
mount --rbind -o ro /sys sys
mount -t proc none proc
mount --bind -o ro "$viewer" viewer
touch socket ".$node"
mount --bind "$socket" socket
mount --bind "$node" ".$node"
pivot_root . old
cd /
umount -l old
rmdir old
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs /viewer/importer /socket "$node" $4
"""


class Importer(Viewer):
    program = "build/viewer/importer"

    def __init__(self, g, *args, **more):
        super().__init__(g, NODES[0], *args, **more)

    def command(self, path, *args):
        if not UNSHARE:
            return super().command(path, *args)
        return [*UNSHARE, "sh", "-c", APART, "apart", tempfile.mkdtemp(dir=WORK), path, *args]

    def pid(self):
        """Of the viewer, not of who has made it and waits for it; None: it is not there yet."""
        pid = self.process.pid
        while True:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read().split(b"\0")[0].endswith(b"/importer"):
                    return pid
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                children = f.read().split()
            if not children:
                return None
            pid = int(children[0])

    def end(self, signo=None):
        """The first process of a namespace does not take what it does not wait for."""
        self.say("quit")
        self.process.wait(20)
        self.process.stdin.close()

    def last(self, kind):
        return [line for line in list(self.lines) if line.startswith(kind)][-1:]

    def torn(self):
        return [line for line in list(self.lines) if line.endswith(" torn")]


class Frames:
    """When what a viewer is sent came and went, from now on, as the monitor has it, which keeps that of the last 256. One connection: a process for each answer would take what is to be drawn with."""

    AT_ONCE = 48

    def __init__(self, g, viewer):
        self.control = g.connect(os.path.join(WORK, "tinyvmm", g.name, "control.sock")).makefile("rw", encoding="utf-8")
        self.viewer, self.after = viewer, 0
        self.more()

    def more(self):
        """Since it was asked for the last time."""
        found, some = [], True
        while some:
            self.control.write(json.dumps({"do": "frames", "viewer": self.viewer, "after": self.after}) + "\n")
            self.control.flush()
            got = json.loads(self.control.readline())
            found += got["frames"]
            self.after = got["next"]
            # More came while that was asked.
            some = len(got["frames"]) == self.AT_ONCE
        return found

    def released(self):
        """As more(), but for what the viewer still has, and what came after that: next time."""
        found = self.more()
        n = next((i for i, f in enumerate(found) if not f["released_ns"]), len(found))
        self.after -= len(found) - n
        return found[:n]


def gpu(g):
    return g.stats()["gpu"]


def way(g, name="importer"):
    return next(v for v in g.stats()["viewers"] if v["name"] == name)


def dmabufs(g):
    """(descriptors that are dma-bufs, all descriptors)"""
    names = []
    for fd in os.listdir(f"/proc/{g.pid()}/fd"):
        try:
            names.append(os.readlink(f"/proc/{g.pid()}/fd/{fd}"))
        except OSError:
            pass
    return sum(n.startswith("/dmabuf:") for n in names), len(names)


def named(g, name, want, who="importer"):
    """tinyvmm gpu-info says of the viewer how its pictures come, and why not in a better way."""
    pattern = re.compile(rf"^viewer \d+ +{who}: ({want})$", re.M)
    code, text = until(lambda: g.verb("gpu-info", g.name), lambda got: pattern.search(got[1]), 10)
    found = pattern.search(text)
    check(f"{name}: gpu-info says {found[1] if found else want}", code == 0 and found, text)


def same(g, v, name):
    """What it has imported is, to the pixel, what a screenshot reads back."""
    shot = g.shot()
    want = f"{shot.width}x{shot.height} {zlib.crc32(bytes(shot.rgb)):08x}"
    got = until(lambda: v.last("frame 0 "), lambda got: got and want in got[0], 20)
    check(f"{name}: what is imported is the screenshot", got and want in got[0], (want, got, v.lines[-5:]))


def apart(g, v):
    """What it has of the machine, besides programs and libraries: its GPU, pipes, one socket, and pictures. The guest's memory is nobody's but the monitor's."""
    if not UNSHARE:
        check("the viewer sees nothing else # SKIP this kernel has no namespaces for who is not root", True)
        return
    pid = v.pid()
    kinds = ["mnt", "pid", *(["user"] if "--user" in UNSHARE else [])]
    check(f"the viewer is in namespaces of its own: {' '.join(kinds)}", all(os.readlink(f"/proc/{pid}/ns/{n}") != os.readlink(f"/proc/self/ns/{n}") for n in kinds), pid)
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rights = re.findall(r"^(Cap(?:Prm|Eff|Bnd|Amb)):\s+(\w+)$", f.read(), re.M)
    check("it has no right, and can have none", len(rights) == 4 and all(int(bits, 16) == 0 for _, bits in rights), rights)
    # Paths of its mounts, from outside, begin where those were mounted.
    named = re.compile(r"(/\w+)?(/usr/|/viewer/|/dev/dri/)")
    maps = sorted(mapped(pid))
    others = [m for m in maps if m and not named.match(m) and not m.startswith("[")]
    check(f"in its memory, of others: {' '.join(others) or 'nothing'}", set(others) <= {"/memfd:gpu (deleted)"}, maps)
    of_guest = [size for name, size in mapped(g.pid()).items() if name == ""]
    check(f"the guest's memory has no name to be mapped by: {max(of_guest) >> 20} MiB", max(of_guest) >= 256 << 20, of_guest)
    fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    check(f"open: {' '.join(sorted(set(fds)))}", all(n.startswith(("pipe:", "socket:", "/dmabuf:", "anon_inode:sync_file")) or n.endswith(NODES[0]) for n in fds) and
          sum(n.startswith("socket:") for n in fds) == 1, fds)
    roots = os.listdir(f"/proc/{pid}/root")
    check(f"of the file system it sees {' '.join(sorted(roots))}", set(roots) <= {"bin", "lib", "lib64", "usr", "sys", "proc", "dev", "viewer", "socket"}, roots)
    nodes = os.listdir(f"/proc/{pid}/root/dev"), os.listdir(f"/proc/{pid}/root/dev/dri")
    check("of devices one GPU", nodes == (["dri"], [os.path.basename(NODES[0])]), nodes)
    check("of processes itself", [n for n in os.listdir(f"/proc/{pid}/root/proc") if n.isdigit()] == ["1"])


def mapped(pid):
    """{name of what is mapped, "" for what has none: bytes of the largest piece}"""
    found = {}
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            words = line.split(None, 5)
            start, end = (int(w, 16) for w in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else ""
            found[name] = max(found.get(name, 0), end - start)
    return found


def on_the_screen(g, *commands):
    """In the window, which is all of this host's screen, is what a screenshot has, and around it nothing. One of the two has been through a shader and another buffer: 2 of 255."""
    for command in commands:
        g.kms(command)
    shot = g.shot()

    def difference():
        done = scanned()
        if done.returncode != 0:
            return done.stderr.decode(errors="replace")
        screen = picture.read_ppm(done.stdout)
        left, top = (screen.width - shot.width) // 2, (screen.height - shot.height) // 2
        around = bytearray(screen.rgb)
        for y in range(top, top + shot.height):
            at = (y * screen.width + left) * 3
            around[at:at + shot.width * 3] = bytes(shot.width * 3)
        return picture.compare(screen.crop(left, top, shot.width, shot.height), shot, 2, out=f"{KEEP}/window-{g.name}") or ("" if not any(around) else "there is something around it")

    os.makedirs(KEEP, exist_ok=True)
    check(f"{commands[-1]}: what is scanned out to the screen is the screenshot", not until(difference, lambda why: not why, 20, 0.5), difference())


def windows(g):
    """By itself, and under a compositor, which draws what the window has drawn."""
    window(g, {"SDL_VIDEODRIVER": "kmsdrm"})
    # What is shown is a crop of a larger one, which a flip would keep; and that one is made anew.
    for command in ("paint 1 scene 9", "set 0 1 640 480", "remove 14"):
        g.kms(command)
    if shutil.which("weston"):
        with Weston({"at-keyboard": ("KEY", "KEYBOARD")}) as weston:
            said = weston.said()
            check("a compositor has the screen, and draws with the GPU", re.search(r"GL renderer: virgl", said), said)
            window(g, weston.ENV)
    else:
        check("a window under a compositor # SKIP no weston", True)


def window(g, env):
    """tinyvmm-view on this host's own screen, which the same GPU drives."""
    log = os.path.join(WORK, "view.log")
    env = {**os.environ, **env}
    with open(log, "wb") as out:
        view = subprocess.Popen(["build/tinyvmm-view", "--socket", os.path.join(WORK, "tinyvmm", g.name, "viewer.sock"), "--scale", "fixed", "-v"], env=env, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=out)
    try:
        met = until(lambda: [v for v in g.stats()["viewers"] if v["name"] == "tinyvmm-view"], bool, 60)
        check("the window is there", met, open(log, encoding="utf-8", errors="replace").read())
        g.kms("paint 1 scene 11")
        g.kms("flip 0 1")
        got = until(lambda: way(g, "tinyvmm-view"), lambda w: w["way"] == "dma-buf" and w["released"] > 1, 60) if met else {}
        check("it imports dma-bufs, and releases them", got.get("way") == "dma-buf", (got, open(log, encoding="utf-8", errors="replace").read()))
        before = gpu(g)["read_bytes"]
        g.kms("count 0 1 2 20")
        got = until(lambda: way(g, "tinyvmm-view"), lambda w: w["released"] > got["released"], 20) if met else {}
        check(f"and goes on: {got.get('released')} frames, nothing read back", gpu(g)["read_bytes"] == before, got)
        with open(log, encoding="utf-8", errors="replace") as said:
            said = said.read()
        check("it says so", "are imported as dma-bufs" in said and "instead" not in said, said)
        on_the_screen(g, "paint 2 scene 12", "flip 0 2")
        on_the_screen(g, "paint 2 scene 2", "dirty 2")
        on_the_screen(g, "create 14 700 500 virtio:2:1", "paint 14 scene 5", "set 0 14 640 400 33 77")
        # For whoever looks at the screen from outside.
        time.sleep(float(os.environ.get("DMABUF_LOOK", "0")))
    finally:
        view.kill()
        view.wait()
