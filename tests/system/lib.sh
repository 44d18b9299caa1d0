# SPDX-License-Identifier: MIT
# For the tests in this folder: TAP, a guest, and what it said. Sourced by bash. They run where KVM works (tools/with-kvm).

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
tinyvmm=build/tinyvmm
# The other way of machine.mmio.
[ "${TINYVMM_TEST_MMIO:-}" != strict ] || tinyvmm=tests/strict
guest=$(guest-images/build --print-dir)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0
# The kernel's tests of its own ciphers are an eighth of a boot.
quiet="quiet cryptomgr.notests"

ok() {
	count=$((count + 1))
	echo "ok $count - $1"
}

not_ok() {
	count=$((count + 1))
	echo "not ok $count - $1"
	sed 's/^/# /' "$work/out" "$work/err" 2> /dev/null | tail -n 40
}

# NAME, then a command that must succeed.
check() {
	local name=$1
	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name"
	fi
}

# Runs a guest with `tinyvmm.do=$1` and more arguments; its output is in $work/out, messages in $work/err, the exit code in $code.
# Limits can be overridden by the arguments, the kernel by $kernel.
run_guest() {
	local action=$1
	shift
	"$tinyvmm" run --kernel "${kernel:-$guest/vmlinux}" --initrd "$guest/initramfs.cpio" --timeout 120s \
		--append "$quiet tinyvmm.do=$action ${more:-}" "$@" > "$work/out" 2> "$work/err" < /dev/null
	code=$?
}

# Starts one in the background: its process is $pid. The guest's line that contains $2 has been printed when this returns 0.
start_guest() {
	local action=$1 until=$2
	shift 2
	: > "$work/out"
	"$tinyvmm" run --kernel "${kernel:-$guest/vmlinux}" --initrd "$guest/initramfs.cpio" --timeout 120s \
		--append "$quiet tinyvmm.do=$action ${more:-}" "$@" > "$work/out" 2> "$work/err" < /dev/null &
	pid=$!
	wait_for "$work/out" "$until"
}

# The same with tests/guest/readers: $1 is how many events of which input devices it reads. What all of them are has been said when this returns 0.
start_readers() {
	local readers=$1
	shift
	mkdir -p "$work/readers/bin" && cp tests/guest/readers "$work/readers/bin/" || return
	(cd "$work/readers" && find bin | cpio -o -H newc -R 0:0 --quiet) > "$work/readers.cpio"
	more=readers=$readers start_guest input=0,run=readers readers=ready --initrd "$work/readers.cpio" "$@"
}

# What was read of device $1, one event in brackets after the other.
events_of() {
	tr -d '\r' < "$work/out" | sed -n "s/^tinyvmm-guest: event-$1=\(.*\)\$/[\1]/p" | tr '\n' ' '
}

# The first two with tests/guest/ends.S: $1 is what it does.
run_ends() {
	"$tinyvmm" run --kernel build/guest/ends.elf --append "$1" --timeout 60s --set serial.type=stdio --set console.type=none "${@:2}" > "$work/out" 2> "$work/err" < /dev/null
	code=$?
}

start_ends() {
	: > "$work/out"
	"$tinyvmm" run --kernel build/guest/ends.elf --append "$1" --timeout 60s --set serial.type=stdio --set console.type=none "${@:2}" > "$work/out" 2> "$work/err" < /dev/null &
	pid=$!
	wait_for "$work/out" ready
}

# True as soon as the file contains the text; false when the process $pid ends before, or after a minute.
wait_for() {
	local tries=600
	until grep -q -- "$2" "$1"; do
		kill -0 "$pid" 2> /dev/null || return 1
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

end_guest() {
	wait "$pid"
	code=$?
}

# The guest said KEY=VALUE (a grep pattern).
said() {
	tr -d '\r' < "$work/out" | grep -q -- "^tinyvmm-guest: $1\$"
}

# The value of the last KEY=... the guest said.
value() {
	tr -d '\r' < "$work/out" | sed -n "s/^tinyvmm-guest: $1=//p" | tail -n 1
}

exits() {
	[ "$code" = "$1" ]
}

finish() {
	echo "1..$count"
}
