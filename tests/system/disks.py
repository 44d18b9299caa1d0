# SPDX-License-Identifier: MIT
"""For tests of disks: files, a guest that writes and says what it was promised, and a block device of the host that fails on command."""
import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import console as c  # noqa: E402

CHUNK = 512 << 10  # bytes that one run of fio writes


def sparse(name, megabytes):
    path = os.path.join(c.WORK, name)
    with open(path, "wb") as f:
        f.truncate(megabytes << 20)
    return path


def boots_to_a_login(root, cpus, *disks):
    """Returns the guest, if it is to go on: with more @disks."""
    try:
        vm = c.Guest("boot", "--cpus", str(cpus), *disks, root=root)
        seen = vm.run("nproc; findmnt -n -o FSTYPE /; ps -o comm= 1")[1].split()
        good = seen == [str(cpus), "ext4" if root == "ext4" else "overlay", "systemd"]
    except c.Gone as e:
        vm, good, seen = None, False, str(e)
    c.last = repr(seen)
    c.check(f"{root}, {cpus} CPUs: a login under systemd", good)
    if good and disks:
        return vm
    c.check("and it ends", c.tinyvmm("stop", "--kill", "boot")[0] == 0)
    return None


def fio(engine, depth, *more, size="12M", device="/dev/vdb", rw="randwrite"):
    """A command line: blocks of random sizes in random places, each with a CRC of its own, read back and compared at the end."""
    return (f"fio --name=verify --filename={device} --ioengine={engine} --iodepth={depth} --direct=1 --rw={rw} --bsrange=512-64k --size={size} "
            f"--verify=crc32c --verify_fatal=1 --allow_file_create=0 --eta=never --output=/dev/null {' '.join(more)}")


class Writer:
    """
    A job of the guest's shell that writes one piece of the disk after the other, up to the end of the disk. Once fsync has said that a piece is
    safe, it says so on the console: what the host has read there is the record of all promises, which no end of guest or monitor can take back.
    """

    def __init__(self, vm, engine, depth, device="/dev/vdb"):
        self.vm, self.engine, self.depth, self.device, self.promised, self.over = vm, engine, depth, device, 0, False
        self.heard = ""
        self.teach(vm)
        pieces = int(vm.run(f"cat /sys/block/{os.path.basename(device)}/size")[1]) * 512 // CHUNK
        vm.run(f"rm -f /tmp/enough; {{ (i=0; while [ $i -lt {pieces} ] && [ ! -e /tmp/enough ] && piece $i --do_verify=0 --end_fsync=1 2> /tmp/why; do "
               "echo promised-$i; i=$((i + 1)); done; echo no-more) & }")

    def teach(self, vm):
        # By a node of its own: one in /dev comes and goes with the driver, and fio takes the place of one that is missing, or removes one that has just come.
        node = "/tmp/" + os.path.basename(self.device)
        vm.run(f"[ -b {node} ] || cp -a {self.device} {node}")
        vm.run("piece() { " + fio(self.engine, self.depth, '--offset=$(($1 * %d)) "${@:2}"' % CHUNK, size=str(CHUNK), device=node) + "; }")

    def wait(self, pieces, timeout=120):
        """Until so many more have been promised."""
        want = self.promised + pieces
        while self.promised < want and not self.over:
            self.note(self.vm.wait(r"promised-\d+\n|no-more\n", timeout))
        if self.promised < want:
            raise c.Gone(f"no more than {self.promised} pieces: {self.vm.run('cat /tmp/why')[1]}")

    def end(self, timeout=120, enough=False):
        """Until it has met an error, or the end of the disk. @enough: this piece is the last one."""
        if enough:
            self.note(self.vm.run("touch /tmp/enough")[1])
        while not self.over:
            self.note(self.vm.wait(r"promised-\d+\n|no-more\n", timeout))

    def note(self, text):
        self.heard += text
        for number in re.findall(r"promised-(\d+)\n", text):
            self.promised = int(number) + 1
        self.over = self.over or "no-more" in text

    def missing(self, vm):
        """@vm: the guest itself, or one that was started later on the same disk. Returns the pieces that are not what was promised."""
        self.teach(vm)
        status, said = vm.run(f"for i in $(seq 0 {self.promised - 1}); do piece $i --verify_only=1 || echo missing-$i; done", 240)
        return re.findall(r"missing-\d+", said) if status == 0 else [f"status {status}"]


def kill(vm):
    """SIGKILL for the monitor. Returns what the guest had said before."""
    os.kill(vm.pid(), signal.SIGKILL)
    with contextlib.suppress(c.Gone):
        vm.wait("this never comes", 30)
    said, vm.text = vm.text, ""
    return said


class Pauses:
    """While it lasts, the VM is paused and resumed again and again. @count: how often it was."""

    def __init__(self, name):
        self.name, self.count, self.wrong, self.over = name, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.wait(0.15):
            good = self.ask("pause")
            self.over.wait(0.1)
            good = self.ask("resume") and good
            self.count += good
            self.wrong += not good

    def ask(self, verb):
        return subprocess.run([c.TINYVMM, verb, self.name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=60, check=False).returncode == 0

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def rebind(vm, writer=None):
    """
    The guest's driver lets go of vdb, with requests in flight if there are any, and takes it again. @writer: who writes it. Returns whether it
    reads then.
    """
    said = vm.run("dev=$(basename $(readlink -f /sys/block/vdb/device)); drv=/sys/bus/virtio/drivers/virtio_blk")[1]
    status, more = vm.run("echo $dev > $drv/unbind; sleep 0.2; echo $dev > $drv/bind; for i in $(seq 50); do [ -b /dev/vdb ] && break; sleep 0.1; done; "
                          "dd if=/dev/vdb of=/dev/null bs=1M count=4 status=none", 120)
    if writer:
        writer.note(said + more)
    return status == 0


# x86-64: every call but io_uring_setup (425), which is not permitted.
NO_URING = """
import ctypes, os, struct, sys
code = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, 425, 6, 0, 0, 0x50000 | 1, 6, 0, 0, 0x7fff0000)
buf = ctypes.create_string_buffer(code)
prog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buf)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def without_io_uring(program):
    """A command in front of which io_uring is forbidden: disks are served by threads then."""
    return [sys.executable, "-c", NO_URING, program]


def rings(pid):
    """How many io_urings a process has open."""
    folder = f"/proc/{pid}/fd"
    return sum("io_uring" in os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder))


def mapper_why_not():
    """Why there is no device-mapper to be had here, or None. Loads its modules."""
    if os.geteuid() != 0:
        return "needs root for device-mapper"
    for module in ("drivers/block/loop", "drivers/md/dm-mod", "drivers/md/dm-flakey"):
        name = os.path.basename(module)
        # In the host VM there is no /lib/modules for its kernel, which is the guest's.
        subprocess.run(f"modprobe -q {name} || busybox insmod {c.GUEST}/modules/kernel/{module}.ko", shell=True, stderr=subprocess.DEVNULL, check=False)
    try:
        known = subprocess.run(["dmsetup", "targets"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    except FileNotFoundError:
        return "dmsetup is missing"
    return None if re.search("^flakey", known, re.M) else f"no dm-flakey: {known.strip()}"


class Mapper:
    """A block device of this machine, in memory below, whose behaviour is changed while it is in use."""

    def __init__(self, name, megabytes):
        self.name, self.sectors = f"tinyvmm-test-{os.getpid()}-{name}", megabytes << 11
        self.path = f"/dev/mapper/{self.name}"
        self.loop = self.do("losetup", "-f", "--show", sparse(name, megabytes)).strip()
        self.do("dmsetup", "create", self.name, text=self.linear())
        if not os.path.exists(self.path):
            self.do("dmsetup", "mknodes")

    @staticmethod
    def do(*command, text=""):
        return subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout

    def linear(self, start=0, end=None):
        return f"{start} {(end or self.sectors) - start} linear {self.loop} {start}"

    def become(self, *table):
        """Another table from now on; what is under way ends by the old one. Nothing of the page cache is written out for it."""
        self.stop()
        self.do("dmsetup", "load", self.name, text="\n".join(table))
        self.go()

    def stop(self):
        """From now on nothing is answered, until go()."""
        self.do("dmsetup", "suspend", "--noflush", "--nolockfs", self.name)

    def go(self):
        self.do("dmsetup", "resume", self.name)

    def whole(self):
        self.become(self.linear())

    def dead(self):
        self.become(f"0 {self.sectors} error")

    def bad(self, start, end):
        """Sectors from @start to before @end cannot be read or written."""
        self.become(self.linear(0, start), f"{start} {end - start} error", self.linear(end))

    def refuses_writes(self):
        self.become(f"0 {self.sectors} flakey {self.loop} 0 0 3600 1 error_writes")

    def forget(self):
        """While it is dead: what waits in the host's page cache is lost. The host says so once, to whoever syncs first, which must not be the next VM."""
        fd = os.open(self.path, os.O_RDWR)
        with contextlib.suppress(OSError):
            os.fsync(fd)
        fcntl.ioctl(fd, 0x1261)  # BLKFLSBUF
        os.close(fd)

    def remove(self):
        for command in (["dmsetup", "remove", "--retry", "--force", self.name], ["losetup", "-d", self.loop]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


def power_failure(caches, files=12):
    """
    The host's power fails, for a guest with a disk of each of these cache modes: what a device has got stays, what is in the host's page cache is lost. On the disks whose flushes mean something the guest's
    journal has to hold, and every file that it has synced has to be there. Returns for each (files promised, files that are not there or not whole).
    """
    disks = [Mapper(f"power-{cache}", 64) for cache in caches]
    args = [word for i, cache in enumerate(caches) for word in ("--disk", disks[i].path, "--set", f"disk.{i + 1}.cache={cache}")]
    names = [f"vd{letter}" for letter, _ in zip("bcdefgh", caches)]
    said = ""
    try:
        vm = c.Guest("power", *args, bare=True)
        for name in names:
            vm.run(f"mkdir /tmp/{name}; mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 /dev/{name} && mount /dev/{name} /tmp/{name} && sync")
        for name in names:
            # Some that nobody syncs, so that there is something to lose.
            vm.run(f"{{ (for i in $(seq 500); do dd if=/dev/urandom of=/tmp/{name}/loose$((i % 20)) bs=64k count=4 status=none; done) & }}")
            vm.run(f"{{ (for i in $(seq 500); do dd if=/dev/urandom of=/tmp/{name}/f$i bs=4k count=$((i % 9 + 1)) conv=fsync status=none || break; "
                   f"echo promised-{name}-$i-$(cksum < /tmp/{name}/f$i | tr ' ' -); done; echo no-more-{name}) & }}")
        for name in names:
            said += "" if f"promised-{name}-{files}-" in said else vm.wait(rf"promised-{name}-{files}-.*\n", 180)
        for disk in disks:
            disk.dead()
        # A guest whose flushes mean nothing notices nothing.
        for name, cache in zip(names, caches):
            if cache != "unsafe" and f"no-more-{name}\n" not in said:
                with contextlib.suppress(c.Gone):
                    said += vm.wait(rf"no-more-{name}\n", 10)
        said += kill(vm)
        for disk in disks:
            disk.forget()
            disk.whole()
        vm = c.Guest("power", *args, bare=True)
        results, details = [], ""
        for name in names:
            promised = dict(re.findall(rf"promised-{name}-(\d+)-(\d+-\d+)\n", said))
            seen = vm.run(f"mkdir /tmp/{name}; mount /dev/{name} /tmp/{name} && for f in /tmp/{name}/f*; do echo is-${{f#/tmp/{name}/f}}-$(cksum < $f | tr ' ' -); done", 120)[1]
            is_there = dict(re.findall(r"is-(\d+)-(\d+-\d+)\n", seen))
            lost = [n for n, sum_ in promised.items() if is_there.get(n) != sum_]
            details += f"{name}: {promised}\n{seen}\n{lost}\n"
            results.append((len(promised), len(lost)))
        vm.end()
        c.last = details
        return results
    finally:
        c.tinyvmm("stop", "--all", "--kill")
        for disk in disks:
            disk.remove()
