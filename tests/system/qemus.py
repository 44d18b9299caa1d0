# SPDX-License-Identifier: MIT
"""The QEMU that tinyvmm is put beside, and what it must be given to boot at all."""
import os
import shutil

CACHE = os.environ.get("TINYVMM_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache"), "tinyvmm")


def qemu_program():
    """(command, environment) of the QEMU that tools/hostvm keeps, or else of an installed one; None when there is none."""
    root = f"{CACHE}/qemu/root"
    lib = f"{root}/usr/lib/x86_64-linux-gnu"
    if os.access(f"{root}/usr/bin/qemu-system-x86_64", os.X_OK):
        env = {"LD_LIBRARY_PATH": f"{lib}:{root}/lib/x86_64-linux-gnu:{lib}/pulseaudio", "QEMU_MODULE_DIR": f"{lib}/qemu"}
        return [f"{root}/usr/bin/qemu-system-x86_64", "-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios"], {**os.environ, **env}
    program = shutil.which("qemu-system-x86_64")
    return ([program], dict(os.environ)) if program else None


def clear_of_acpi(size):
    """
    Zeros to put behind an initrd of @size bytes. -M microvm loads it from a page's beginning, as high as memory goes: into the page in whose last kilobyte its firmware has put the ACPI tables. Where the
    initrd's last page is three quarters full it writes over them, and the guest sums up a table of 170 MB, byte by byte, by an exit each, for hours.
    """
    return bytes(-size % 4096 + 4)
