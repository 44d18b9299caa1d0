# SPDX-License-Identifier: MIT
# For the scripts in this folder: the cache, and Debian's packages. Sourced by bash; the script's folder is $here.

cache=${TINYVMM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tinyvmm}

die() {
	echo "guest-images: error: $*" >&2
	exit 1
}

# Nobody else makes the same thing at the same time.
lock_out() {
	mkdir -p "$out"
	exec 9> "$out/lock"
	flock 9
}

# What apt-get and apt-cache are told: nothing, or where package lists of our own are.
apt=()

# Debian's package lists may be missing (fresh container) or not ours to refresh: then lists of our own.
fetch_lists() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	apt=(-o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt" -o Debug::NoLocking=1)
	echo "guest-images: fetching Debian's package lists" >&2
	apt-get "${apt[@]}" update -qq >&2 || die "apt-get update failed"
}

# The version of a package that apt would install; nothing where the lists do not have it.
candidate() {
	apt-cache "${apt[@]}" policy "$1" 2> /dev/null | awk '/Candidate:/ && $2 != "(none)" { print $2 }'
}

# A package's file, into the folder it is called in.
download() {
	echo "guest-images: fetching $1" >&2
	apt-get "${apt[@]}" -o APT::Sandbox::User=root download -qq "$1" >&2 || die "cannot download $1"
}

# How large a file of the result is.
size() {
	du -h --apparent-size "$out/$1" | cut -f1
}
