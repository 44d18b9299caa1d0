# SPDX-License-Identifier: MIT
"""The monitors that are compared, as command lines that give one guest the same kernel, initramfs, memory, processor, disk and cache mode."""
import os
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import qemus  # noqa: E402

MEMORY_MIB = 256
CPUS = 1
DISK_MIB = 64
CMDLINE = "quiet console=hvc0 panic=-1 tinyvmm.do=hold nobutton"
PCI_MODULES = ("drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci")


def make_initramfs(guest, work):
    """The small guest's, and the drivers of virtio-pci, which -M pc needs: one file for all."""
    with open(f"{guest}/initramfs.cpio", "rb") as f:
        base = f.read()
    extra = os.path.join(work, "extra")
    os.makedirs(f"{extra}/modules")
    order = subprocess.check_output(["cpio", "-i", "--quiet", "--to-stdout", "*modules/order"], input=base).decode().split()
    names = [os.path.basename(m) for m in PCI_MODULES]
    for module, name in zip(PCI_MODULES, names):
        subprocess.run(["cp", f"{guest}/modules/kernel/{module}.ko", f"{extra}/modules/{name}.ko"], check=True)
    at = order.index("virtio") + 1
    with open(f"{extra}/modules/order", "w", encoding="ascii") as f:
        f.write("\n".join(order[:at] + names + order[at:]) + "\n")
    # The directory itself is in the first archive, with the rest of it.
    listed = "".join(f"modules/{name}\n" for name in sorted(os.listdir(f"{extra}/modules")))
    more = subprocess.check_output(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=extra, input=listed.encode())
    path = os.path.join(work, "initramfs.cpio")
    with open(path, "wb") as f:
        f.write(base + bytes(-len(base) % 4) + more)
    return path


def make_disk(work):
    path = os.path.join(work, "disk")
    with open(path, "wb") as f:
        f.truncate(DISK_MIB << 20)
    return path


class Monitor:
    """@command takes the path that gets the guest's console. @vcpu_thread: how the names of vCPU threads begin. @says: its standard output is the console."""

    def __init__(self, name, command, env, vcpu_thread, says=False):
        self.name, self.command, self.env, self.vcpu_thread, self.says = name, command, env, vcpu_thread, says


def tinyvmm(kernel, initramfs, disk, more=()):
    return Monitor("tinyvmm", lambda console: [
        "build/tinyvmm", "run", "-q", "--kernel", kernel, "--initrd", initramfs, "--append", CMDLINE, "--memory", f"{MEMORY_MIB}M",
        "--cpus", f"{CPUS}", "--disk", disk, "--set", "disk.0.cache=writeback", "--set", "console.type=file", "--set", f"console.log={console}",
        "--set", "serial.type=off", *more], {}, "vcpu")


def qemu(name, kernel, initramfs, disk, machine=(), drive="", device="", more=()):
    """None when there is no QEMU: neither the one tools/hostvm has fetched nor an installed one. @machine: instead of what is best for a stock kernel. @drive, @device: further
    properties of the disk's; @more: arguments."""
    found = qemus.qemu_program()
    if not found:
        return None
    program, env = found
    if name == "microvm":
        with open(initramfs, "ab") as f:
            f.write(qemus.clear_of_acpi(f.tell()))
    bus = "device" if name == "microvm" else "pci"
    # microvm leaves the clock chip out under KVM, and a stock kernel then polls for it 40,000 times: rtc=on is to its advantage. Its virtio devices are of the
    # old kind unless told, with which no guest takes a keyboard.
    kind = [*machine] or ["microvm,accel=kvm,rtc=on,isa-serial=off"] if name == "microvm" else ["pc,accel=kvm"]
    kind += ["-global", "virtio-mmio.force-legacy=false"] if name == "microvm" else []
    return Monitor(f"qemu-{name}", lambda console: [
        *program, "-M", *kind, *more, "-cpu", "host", "-smp", f"{CPUS}", "-m", f"{MEMORY_MIB}", "-name", "bench,debug-threads=on", "-no-user-config",
        "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", "-kernel", kernel, "-initrd", initramfs, "-append", CMDLINE,
        "-chardev", f"file,id=c,path={console}", "-device", f"virtio-serial-{bus}", "-device", "virtconsole,chardev=c",
        "-device", f"virtio-rng-{bus}", "-drive", f"file={disk},if=none,id=d,format=raw,cache=writeback{drive}",
        "-device", f"virtio-blk-{bus},drive=d{device}"], env, "CPU ")


def kvmtool(program, guest, initramfs, disk, work):
    """@program: lkvm, or lkvm-static. It loads no ELF kernel, so the guest unpacks the bzImage for itself; the rest of the command line is what it would give, but for the early console on the serial
    port, whose every character would be an exit."""
    append = f"noapic noacpi pci=conf1 reboot=k panic=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 i8042.noaux=1 {CMDLINE}"
    return Monitor("kvmtool", lambda console: [
        program, "run", "--name", "bench", "--nodefaults", "-k", f"{guest}/vmlinuz", "-i", initramfs, "-p", append, "-m", f"{MEMORY_MIB}M", "-c", f"{CPUS}", "-d", disk, "--rng",
        "--console", "virtio", "-n", "mode=none"], {"HOME": work}, "kvm-vcpu", says=True)
