# SPDX-License-Identifier: MIT
"""The small guest with a disk of guest-images/opengl: Debian's Mesa and one program, under tinyvmm or under QEMU's virtio-gpu-gl with egl-headless, and a shell on the console. It starts in seconds, where a
Debian of its own takes a minute in the host VM."""
import glob
import os
import re

from screen import CACHE, Qemu, Tinyvmm, check, until

NODES = glob.glob("/dev/dri/renderD*")
NODE = "auto" if NODES else "surfaceless"
if not NODES:
    # LLVM takes the processor that QEMU emulates (AMD's, family 6) for one without 64 bits, and ends whoever wants to draw: Mesa's other renderer does without it.
    os.environ.update(GALLIUM_DRIVER="softpipe", DRAW_USE_LLVM="0")


def disk(program):
    return f"{CACHE}/opengl/{program}.erofs"


class Monitor:
    """What the monitor has open and holds for the guest."""

    def __init__(self, g):
        stats = g.stats()["gpu"]
        self.fds = len(os.listdir(f"/proc/{g.pid()}/fd"))
        with open(f"/proc/{g.pid()}/status", encoding="ascii") as f:
            self.mib = int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) / 1024
        self.of_guest = stats["contexts"], stats["resources"], stats["memory"]

    def __str__(self):
        return "{} descriptors, {:.0f} MiB; {} contexts, {} resources, {} bytes of the guest's".format(self.fds, self.mib, *self.of_guest)

    def has_no_more_than(self, before):
        return self.of_guest == before.of_guest and self.fds <= before.fds


def ends_as(name, g, before):
    """The guest's numbers are what they were; descriptors and memory at most, since Mesa keeps some once it has drawn."""
    now = until(lambda: Monitor(g), lambda m: m.has_no_more_than(before), 30)
    check(f"{name}: {now}", now.has_no_more_than(before), f"before: {before}")
    return now


class SmallShell:
    """What a guest's class has besides when it is the small guest with a shell on its console."""

    commands = 0

    def ready(self):
        self.wait(r"/ # ", 180)
        self.run("stty -echo; PS1=; while read -r m; do insmod /modules/$m.ko; done < /modules/disk 2> /dev/null")

    def run(self, command, seconds=120):
        """Returns what it says."""
        self.commands += 1
        self.type(f"{command}\necho '<<'{self.commands}:$?'>>'\n")
        return self.wait(rf"<<{self.commands}:\d+>>\n", seconds)


class Programs(SmallShell):
    """And a disk of programs. For both monitors."""

    def __init__(self, name, program, *more, **options):
        super().__init__(name, *more, do="shell", memory="1G", size=(1024, 768), initrds=[f"{CACHE}/rootfs/disk.cpio"], **options)
        self.program = program

    def ready(self):
        super().ready()
        self.run("mkdir -p /gl /dev/shm; mount -t erofs -o ro /dev/vda /gl; for d in dev proc sys; do mount --bind /$d /gl/$d; done; mount -t tmpfs t /gl/tmp; export HOME=/tmp PATH=$PATH:/usr/bin")

    def chroot(self, command, seconds=120):
        """A program of the disk's. From the console it would read what is meant for the shell."""
        return self.run(f"chroot /gl {command} < /dev/null 2>&1", seconds)


class TinyvmmPrograms(Programs, Tinyvmm):
    def __init__(self, name, program, extra=(), **options):
        super().__init__(name, program, extra=["--disk", disk(program), "--set", "disk.0.readonly=true", "--set", "gpu.mode=virgl", "--set", f"gpu.render_node={NODE}", *extra], **options)


class QemuPrograms(Programs, Qemu):
    """virglrenderer wants an extension of OpenGL that Mesa's virgl has not, and a context is lost for it. tinyvmm does without (devices/virgl.c); QEMU's shall not lose by it either."""

    gpu = "virtio-gpu-gl-device"
    environment = {"MESA_EXTENSION_OVERRIDE": "+GL_AMD_seamless_cubemap_per_texture"}

    def __init__(self, name, program, **options):
        self.display = f"egl-headless,rendernode={NODES[0]}"
        super().__init__(name, program, extra=["-drive", f"file={disk(program)},if=none,id=root,format=raw,readonly=on", "-device", "virtio-blk-device,drive=root"], **options)


def one_mode(g):
    """glmark2 draws as large as the largest mode is, off the screen too, and that is not the same under all monitors. So the kernel is told of a screen that has but one mode, the 1024 x 768 of the VM, whose shape is also what
    glmark2's own validation wants. The driver asks for that when it is bound."""
    driver = "/sys/bus/virtio/drivers/virtio_gpu"
    g.run(f"echo edid/1024x768.bin > /sys/module/drm/parameters/edid_firmware; d=$(cd {driver}; echo virtio*); echo $d > {driver}/unbind; echo $d > {driver}/bind; sleep 1")


def glmark2(g, scenes, options="", seconds=600):
    """Frames a second of each scene, drawn off the screen, and what it said."""
    said = g.chroot(f"glmark2-es2-drm --off-screen {options} " + " ".join(f"-b '{s}'" for s in scenes), seconds)
    return [1000 / float(ms) for ms in re.findall(r"FrameTime: ([\d.]+) ms", said) if float(ms) > 0], said
