#!/bin/bash
# SPDX-License-Identifier: MIT
# The rules about who may know whom (docs: README.md of each folder), and a few about the tree. Prints TAP. With --self-test
# nothing else: seeds a violation of each rule in a copy and wants it found.
set -u
cd "$(dirname "$0")/.." || exit 1

# Each rule: a name, then the lines that break it, if any, on stdout. $1: the tree.
rule_virtio() {
	grep -nE '#include "(devices|display|boot)/' "$1"/virtio/*.[ch]
	grep -nE '#include "vmm/' "$1"/virtio/*.[ch] | grep -vE '"vmm/(gmem|loop|log|clock)\.h"'
}
rule_devices() {
	grep -nE '#include "(display|boot|vmm)/' "$1"/devices/*.[ch] | grep -vE '"(display/display|vmm/(gmem|loop|log|clock))\.h"'
}
rule_display() {
	grep -nE '#include "(devices|virtio|boot|vmm)/' "$1"/display/*.[ch] | grep -vE '"vmm/(loop|log|clock)\.h"'
}
rule_png() {
	grep -rn 'include <png\.h>' --include=*.[ch] "$1"/{vmm,virtio,devices,display,boot} | grep -v '/vmm/png_file\.c:'
}
rule_boot() {
	grep -nE '#include "(devices|display|virtio|vmm)/' "$1"/boot/*.[ch] | grep -vE '"vmm/(gmem|log|clock)\.h"'
}
rule_services() {
	grep -nE '#include "' "$1"/vmm/{gmem,loop,log,clock}.[ch] | grep -vE '"vmm/(gmem|loop|log|clock)\.h"'
}
rule_kvm_h() {
	grep -rnE '^#include <linux/kvm\.h>' --include=*.[ch] "$1"/{vmm,virtio,devices,display,boot} | grep -vE '/vmm/(kvm|kvm_probe|kvm_stats|vcpu|x86_vcpu)(_test)?\.c:'
}
rule_toml() {
	grep -rn 'toml++' --include=*.[ch] --include=*.cc "$1"/{vmm,virtio,devices,display,boot} | grep '#include' | grep -v '/vmm/toml\.cc:'
}
rule_evdev() {
	grep -rnE '#include <(libevdev/|linux/uinput)' --include=*.[ch] "$1"/{vmm,virtio,devices,display,boot} | grep -vE '/devices/(evdev_host\.c|key_name\.c|evdev_lib\.[ch]):'
}
rule_xkb() {
	grep -rnE '#include <xkbcommon/' --include=*.[ch] "$1"/{vmm,virtio,devices,display,boot} | grep -v '/vmm/keymap\.c:'
}
rule_sdl() {
	grep -rnE '#include [<"](SDL2/)?SDL[_a-z]*\.h[>"]' --include=*.[ch] "$1"/{vmm,virtio,devices,display,boot} | grep -vE '/display/view_(sdl|window|draw|input|input_test)\.c:'
}
rule_exit() {
	grep -rnE '(^|[^_a-z])(_?exit|abort)\(' --include=*.c "$1"/{vmm,virtio,devices,display,boot} |
		grep -vE '_test\.c:|/vmm/(main|run|gpu_info)\.c:|^[^:]*:[0-9]+:[[:space:]]*(/?\*|//)'
}
rule_spdx() {
	(cd "$1" && git ls-files 2> /dev/null || find . -type f) | grep -vE '(^|/)(LICENSE|\.gitignore|\.clang-format|.*\.(md|hex|txt|svg))$' | while read -r f; do
		head -n 3 "$1/$f" 2> /dev/null | grep -q 'SPDX-License-Identifier: MIT' || echo "$f: no SPDX line"
	done
}

rules="virtio devices display png boot services kvm_h toml xkb evdev sdl exit spdx"
n=0
if [ "${1:-}" != --self-test ]; then
	for rule in $rules; do
		n=$((n + 1))
		bad=$("rule_$rule" . 2> /dev/null)
		if [ -z "$bad" ]; then
			echo "ok $n - $rule"
		else
			echo "not ok $n - $rule"
			sed 's/^/# /' <<< "$bad"
		fi
	done
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
seed() {
	local rule=$1 file=$2 line=$3
	rm -rf "$copy/t" && mkdir -p "$copy/t"/{vmm,virtio,devices,display,boot}
	printf '%s\n' "$line" > "$copy/t/$file"
	n=$((n + 1))
	if [ -n "$("rule_$rule" "$copy/t" 2> /dev/null)" ]; then
		echo "ok $n - a violation of $rule is found"
	else
		echo "not ok $n - a violation of $rule is found"
	fi
}
seed virtio virtio/x.c '#include "devices/rng.h"'
seed virtio virtio/x.c '#include "vmm/kvm.h"'
seed devices devices/x.c '#include "vmm/config.h"'
seed display display/x.c '#include "devices/gpu.h"'
seed display display/x.c '#include "vmm/gmem.h"'
seed png vmm/client.c '#include <png.h>'
seed boot boot/x.c '#include "virtio/mmio.h"'
seed services vmm/loop.c '#include "virtio/mmio.h"'
seed kvm_h vmm/vm.c '#include <linux/kvm.h>'
seed toml vmm/config.c '#include <toml++/toml.h>'
seed evdev vmm/vm.c '#include <libevdev/libevdev.h>'
seed xkb vmm/typing.c '#include <xkbcommon/xkbcommon.h>'
seed sdl vmm/vm.c '#include <SDL.h>'
seed exit devices/x.c '	exit(1);'
seed spdx vmm/x.c 'int x;'
echo "1..$n"
