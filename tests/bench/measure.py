# SPDX-License-Identifier: MIT
"""Counters of any monitor, taken from outside: KVM's trace points, /proc and strace. Nothing asks the monitor itself."""
import glob
import os
import re
import shutil
import subprocess
import time

TRACING = "/sys/kernel/tracing"

# Key, benchmark, text.
ROWS = [
    ("start_syscalls", "start_run", "system calls before the first KVM_RUN"),
    ("start_ioctls", "start_run", "  of them ioctl"),
    ("start_mmaps", "start_run", "  of them mmap"),
    ("start_files", "start_run", "files opened"),
    ("start_libraries", "start_run", "shared libraries opened"),
    ("bzimage_syscalls", "start_run", "system calls with a bzImage, unpacked before"),
    ("bzimage_dirty_kib", "start_run", "  private and dirty then, KiB"),
    ("user_exits", "boot_exits", "exits to user space"),
    ("user_io", "boot_exits", "  ports"),
    ("user_mmio", "boot_exits", "  device memory"),
    ("exits", "boot_exits", "exits, all"),
    ("exits_npf", "boot_exits", "  nested page faults"),
    ("exits_cpuid", "boot_exits", "  CPUID"),
    ("exits_msr", "boot_exits", "  MSR"),
    ("exits_io", "boot_exits", "  ports"),
    ("rss_kib", "mem_overhead", "resident, without guest memory, KiB"),
    ("pss_kib", "mem_overhead", "  its share of what is shared, KiB"),
    ("dirty_kib", "mem_overhead", "  private and dirty, KiB"),
    ("threads", "mem_overhead", "threads"),
    ("fds", "mem_overhead", "open descriptors"),
    ("idle_user_exits", "idle", "exits to user space in 10 s"),
    ("idle_exits", "idle", "exits, all"),
    ("idle_wakeups", "idle", "switches of threads that are no vCPU"),
    ("idle_syscalls", "idle", "system calls, all threads"),
    ("key_syscalls", "input", "system calls for 20 keys"),
    ("key_user_exits", "input", "  exits to user space"),
    ("key_instructions", "input", "  instructions for a key"),
    ("motion_syscalls", "input", "system calls for 20 motions"),
    ("motion_user_exits", "input", "  exits to user space"),
    ("motion_instructions", "input", "  instructions for a motion"),
]

# Exit reasons: KVM's own to user space, then SVM's and VMX's.
USER = {2: "user_io", 6: "user_mmio"}
SVM = {0x400: "exits_npf", 0x72: "exits_cpuid", 0x7C: "exits_msr", 0x7B: "exits_io"}
VMX = {48: "exits_npf", 49: "exits_npf", 10: "exits_cpuid", 31: "exits_msr", 32: "exits_msr", 30: "exits_io"}

has_trace = False


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def events():
    return ((f"{TRACING}/events/kvm/kvm_userspace_exit", "reason"), (f"{TRACING}/events/kvm/kvm_exit", "exit_reason"))


def trace_prepare():
    """Whether exits can be counted here."""
    global has_trace
    try:
        if not os.path.exists(f"{TRACING}/events"):
            subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True, stderr=subprocess.DEVNULL)
        has_trace = True
        trace_start()
        trace_stop()
    except (OSError, subprocess.SubprocessError):
        has_trace = False
    return has_trace


def trace_stop():
    for event, key in events() if has_trace else ():
        try:
            put(f"{event}/trigger", f"!hist:keys={key}")
        except OSError:
            pass


def trace_start():
    trace_stop()
    for event, key in events() if has_trace else ():
        put(f"{event}/trigger", f"hist:keys={key}")


def histogram(event, key):
    with open(f"{event}/hist", encoding="ascii") as f:
        return {int(k, 0): int(n) for k, n in re.findall(rf"{{ {key}: +(\w+) .*?}} hitcount: +(\d+)", f.read())}


def trace_read():
    if not has_trace:
        return {}
    (user_event, user_key), (exit_event, exit_key) = events()
    user, exits = histogram(user_event, user_key), histogram(exit_event, exit_key)
    names = SVM if os.path.exists("/sys/module/kvm_amd") else VMX
    seen = {"user_exits": sum(user.values()), "exits": sum(exits.values())}
    seen.update({name: 0 for name in (*USER.values(), *names.values())})
    for table, found in ((USER, user), (names, exits)):
        for reason, name in table.items():
            seen[name] += found.get(reason, 0)
    return seen


def memory(pid, guest_mib):
    """Of all mappings but the guest's memory, which is known by its size."""
    seen = {"rss_kib": 0, "pss_kib": 0, "dirty_kib": 0}
    keys = {"Rss": "rss_kib", "Pss": "pss_kib", "Private_Dirty": "dirty_kib"}
    size = 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name == "Size":
                size = int(rest.split()[0])
            elif name in keys and size < guest_mib << 9:
                seen[keys[name]] += int(rest.split()[0])
    seen["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    seen["fds"] = len(os.listdir(f"/proc/{pid}/fd"))
    return seen


def private(pid, guest_mib):
    """What the private memory of memory() is: (KiB, what and how large, in KiB) of each mapping that has some, in the order of addresses."""
    seen, name, size = [], "", 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if head := re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+ *(.*)$", line):
                name = f"{head[1]} {os.path.basename(head[2]) or '-'}"
            elif line.startswith("Size:"):
                size = int(line.split()[1])
            elif line.startswith("Private_Dirty:") and size < guest_mib << 9 and (kib := int(line.split()[1])):
                seen.append((kib, f"{name}, of {size}"))
    return seen


def switches(pid, vcpu_thread):
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(f"{task}/status", encoding="utf-8") as f:
                text = f.read()
        except OSError:
            continue
        if not re.match(rf"Name:\s+({vcpu_thread})", text):
            total += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", text))
    return total


def idle(pid, vcpu_thread, seconds):
    """Exits and wake-ups undisturbed, then system calls under strace: attaching itself wakes every thread."""
    before, woken = trace_read(), switches(pid, vcpu_thread)
    time.sleep(seconds)
    seen = {"idle_wakeups": switches(pid, vcpu_thread) - woken}
    after = trace_read()
    for key in ("user_exits", "exits") if has_trace else ():
        seen[f"idle_{key}"] = after[key] - before[key]
    if shutil.which("strace"):
        done = subprocess.run(["timeout", "-s", "INT", str(seconds), "strace", "-c", "-f", "-qq", "-p", str(pid)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        # The calls that each thread was in when strace came are begun anew, and counted: one for each thread, and more for a vCPU.
        total = re.search(r"^100\.00 +\S+ +\S* +(\d+) .*total$", done.stdout.decode(errors="replace"), re.M)
        seen["idle_syscalls"] = int(total.group(1)) if total else 0
    return seen


def middle(name, seen):
    """Of (instructions, system calls) that were stepped through, one for each time: the medians, the least, the most, and how many. None at all is an error, and no count that is less than any."""
    if not seen:
        raise RuntimeError(f"{name}: nothing was stepped through to its interrupt")
    seen = sorted(seen)
    return {"steps": seen[len(seen) // 2][0], "calls": seen[len(seen) // 2][1], "least": seen[0][0], "most": seen[-1][0], "n": len(seen)}


def wait_for_kvm_run(log, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.exists(log):
            with open(log, "rb") as f:
                if b"KVM_RUN" in f.read():
                    return
        if process.poll() is not None:
            raise RuntimeError(f"ended under strace with {process.returncode}")
        time.sleep(0.1)
    raise RuntimeError("no KVM_RUN under strace")


def start_run(log):
    seen = {"start_syscalls": 0, "start_ioctls": 0, "start_mmaps": 0, "start_files": 0, "start_libraries": 0}
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            call = line.split(None, 1)[1] if " " in line else line
            if "KVM_RUN" in call:
                break
            # A call that was interrupted by another thread's has two lines.
            if call.startswith("<...") or not re.match(r"\w+\(", call):
                continue
            seen["start_syscalls"] += 1
            seen["start_ioctls"] += call.startswith("ioctl(")
            seen["start_mmaps"] += call.startswith("mmap(")
            if call.startswith("open") and not re.search(r"= -1 ", call):
                seen["start_files"] += 1
                seen["start_libraries"] += bool(re.search(r"\.so[.\d]*\"", call))
    return seen
