#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs the Debian packages that building, testing and the guests need, saying which; through sudo where not root.
# With INSTALL=0 it only says what is missing.
#
# usage: tools/deps.sh GROUP...     groups: build test guest images kernel gpu
set -euo pipefail

build="gcc g++ make libc6-dev libtomlplusplus-dev libjansson-dev liburing-dev libevdev-dev libpng-dev libxkbcommon-dev libmd-dev liblzma-dev libzstd-dev zlib1g-dev pkg-config libsdl2-dev libvirglrenderer-dev libegl-dev libgbm-dev libdrm-dev"
guest="busybox-static cpio xz-utils zstd gcc libc6-dev ca-certificates"
test="clang clang-format clang-tidy libclang-rt-14-dev libcmocka-dev acpica-tools expect procps git binutils python3 e2fsprogs libxml2-utils scdoc edid-decode python3-yaml python3-jsonschema evemu-tools xkb-data libx11-data dmsetup strace xz-utils zstd xvfb xdotool weston openbox imagemagick libvirglrenderer1 libegl1 libgbm1 libgl1 libgl1-mesa-dri"

images="mmdebstrap erofs-utils e2fsprogs fakechroot fakeroot uidmap apt cpio busybox-static"
kernel="gcc make libc6-dev binutils flex bison bc libelf-dev xz-utils zstd apt"
gpu="xvfb libgl1-mesa-dri libgl1 libegl1 libepoxy0 libgbm1 libsdl2-2.0-0 libsdl2-image-2.0-0 libvirglrenderer1"

wanted=
for group in "$@"; do
	case $group in
	build) wanted="$wanted $build" ;;
	guest) wanted="$wanted $guest" ;;
	test) wanted="$wanted $test" ;;
	images) wanted="$wanted $images" ;;
	kernel) wanted="$wanted $kernel" ;;
	gpu) wanted="$wanted $gpu" ;;
	*) echo "deps: error: unknown group $group" >&2 && exit 2 ;;
	esac
done

missing=
for package in $(tr ' ' '\n' <<< "$wanted" | sort -u); do
	status=$(dpkg-query -W -f '${Status}' "$package" 2> /dev/null || :)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "deps: missing packages:$missing" >&2
if [ "${INSTALL:-1}" = 0 ]; then
	echo "deps: INSTALL=0: install them with: apt-get install$missing" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || { echo "deps: error: neither root nor sudo: apt-get install$missing" >&2; exit 1; }
	sudo=sudo
fi
# shellcheck disable=SC2086
install() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
}
# A package list that is old or not there at all is the usual reason for a failure.
install || { $sudo apt-get update -q >&2 && install; }
