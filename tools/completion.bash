# SPDX-License-Identifier: MIT
# Completion for bash: verbs, options, what comes after an option, files, and the names of VMs that run.
# What there is to complete is not written here: `tinyvmm help --table` says it. Needs nothing but bash 4.4; to be read by a shell, not run.

# The words up to the cursor into `words`, each whole: bash has cut them at = and : as well.
_tinyvmm_words() {
	local rest=${COMP_LINE:0:COMP_POINT} trimmed token i
	words=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		token=${COMP_WORDS[i]}
		trimmed=${rest#"${rest%%[![:blank:]]*}"}
		((i < COMP_CWORD)) || token=$trimmed
		if ((i == 0)) || [[ $trimmed != "$rest" ]]; then
			words+=("$token")
		else
			words[-1]+=$token
		fi
		rest=${trimmed#"$token"}
	done
}

# The program's tables. $1: the program as it was typed. option_arg and the like are the caller's.
_tinyvmm_load() {
	local kind name a b c d
	while IFS=$'\t' read -r kind name a b c d; do
		case $kind in
		verb)
			verbs+=("$name")
			verb_args[$name]=$a verb_word[$name]=$b
			;;
		option)
			option_arg[$name]=$b option_verbs[$name]=,$c,
			[[ $a == - ]] || long_of[$a]=$name
			;;
		key)
			keys+=("$name")
			key_values[$name]=$b
			;;
		command) commands+=("$name") ;;
		esac
	done < <("${1/#\~\//$HOME/}" help --table 2> /dev/null)
}

# Adds those of $3... that continue $2, each after $1.
_tinyvmm_offer() {
	local before=$1 typed=$2 word
	shift 2
	for word; do
		[[ $word != "$typed"* ]] || COMPREPLY+=("$before$word")
	done
}

# As _tinyvmm_offer, with files whose names match the pattern $3, and folders. Pattern -: folders only.
_tinyvmm_files() {
	local before=$1 typed=$2 pattern=$3 path plain
	plain=$typed
	[[ $typed != \~/* ]] || plain=$HOME/${typed#\~/}
	compopt -o filenames 2> /dev/null
	while IFS= read -r path; do
		[[ -d $path || ($pattern != - && ${path##*/} == $pattern) ]] || continue
		[[ $typed != \~/* ]] || path=\~/${path#"$HOME"/}
		COMPREPLY+=("$before$path")
	done < <(compgen -f -- "$plain")
}

_tinyvmm_names() {
	local name rest
	while read -r name rest; do
		[[ $name == NAME ]] || _tinyvmm_offer '' "$cur" "$name"
	done < <("${words[0]/#\~\//$HOME/}" list 2> /dev/null)
}

# --set KEY=VALUE. Of a table that may come any number of times the number is what was typed, or else 0, + (one more) and * (all).
_tinyvmm_set() {
	local before=$1 typed=$2 key number name value
	if [[ $typed != *=* ]]; then
		compopt -o nospace 2> /dev/null
		for key in "${keys[@]}"; do
			for number in 0 + '*'; do
				[[ $key == *.N.* ]] || number=
				[[ ! $typed =~ ^[a-z_]+\.([0-9]+)\. ]] || number=${BASH_REMATCH[1]}
				_tinyvmm_offer "$before" "$typed" "${key/.N./.$number.}="
				[[ $key == *.N.* && ! $typed =~ ^[a-z_]+\.[0-9]+\. ]] || break
			done
		done
		return
	fi
	key=${typed%%=*} value=${typed#*=}
	[[ ! $key =~ ^([a-z_]+)\.([0-9]+|[+*])\.(.*)$ ]] || key=${BASH_REMATCH[1]}.N.${BASH_REMATCH[3]}
	name=${typed%%=*}=
	if [[ $value == @* ]]; then
		_tinyvmm_files "$before$name@" "${value#@}" '*'
	elif [[ ${key_values[$key]:--} != - ]]; then
		# shellcheck disable=SC2086
		_tinyvmm_offer "$before$name" "$value" ${key_values[$key]}
	elif [[ $key == *.path || $key == *.log || $key == *_dir || $key == boot.kernel || $key == boot.initrd ]]; then
		_tinyvmm_files "$before$name" "$value" '*'
	fi
}

# The value $2 of option $1, after $3.
_tinyvmm_value() {
	case $1:${option_arg[$1]} in
	--size:*) _tinyvmm_offer "$3" "$2" 1024x768 1280x800 1920x1080 2560x1440 3840x2160 ;;
	--gpu:*) _tinyvmm_offer "$3" "$2" off 2d virgl ;;
	--display:*) _tinyvmm_offer "$3" "$2" none sdl egl-headless ;;
	--scale:*) _tinyvmm_offer "$3" "$2" follow fixed scale ;;
	*:PATH | *:FILE) _tinyvmm_files "$3" "$2" '*' ;;
	*:DIR) _tinyvmm_files "$3" "$2" - ;;
	*:KEY=VALUE) _tinyvmm_set "$3" "$2" ;;
	--for:*) _tinyvmm_offer "$3" "$2" running exit text= frame stable= image= ;;
	# shellcheck disable=SC2046
	*:LAYOUT) _tinyvmm_offer "$3" "$2" $(sed -n '/^! layout/,/^$/s/^  \([^ ]*\) .*/\1/p' /usr/share/X11/xkb/rules/evdev.lst 2> /dev/null) ;;
	--trace:*) _tinyvmm_offer "$3" "$2" boot ;;
	--need:*) _tinyvmm_offer "$3" "$2" kvm ;;
	esac
}

# Which option $1 leaves without its value, if any: --name, or letters of which the last one takes one. Into `open`.
_tinyvmm_open() {
	local letter
	open=
	if [[ $1 == --?* ]]; then
		open=$1
	elif [[ $1 == -?* ]]; then
		letter=${1: -1}
		open=${long_of[$letter]:-}
	fi
	[[ -n $open && ${option_arg[$open]:--} != - ]] || open=
}

_tinyvmm() {
	local -a words=() verbs=() keys=() commands=()
	local -A verb_args=() verb_word=() option_arg=() option_verbs=() long_of=() key_values=()
	local verb='' open='' cur name only_words='' nwords=0 i strip breaks

	COMPREPLY=()
	_tinyvmm_words
	_tinyvmm_load "${words[0]}"
	cur=${words[-1]}
	for ((i = 1; i < ${#words[@]}; i++)); do
		# The words of a command are its own.
		[[ $verb != input ]] || ((nwords < 2)) || only_words=1
		((i < ${#words[@]} - 1)) || break
		if [[ -n $open ]]; then
			open=
		elif [[ -z $only_words && ${words[i]} == -- ]]; then
			only_words=1
		elif [[ -z $only_words && ${words[i]} == -?* ]]; then
			_tinyvmm_open "${words[i]}"
		elif [[ -z $verb ]]; then
			verb=${words[i]}
		else
			nwords=$((nwords + 1))
		fi
	done

	if [[ -n $open ]]; then
		_tinyvmm_value "$open" "$cur" ''
	elif [[ -z $only_words && $cur == --*=* ]]; then
		name=${cur%%=*}
		[[ ${option_arg[$name]:--} == - ]] || _tinyvmm_value "$name" "${cur#*=}" "$name="
	elif [[ -z $only_words && $cur == -* ]]; then
		for name in "${!option_arg[@]}"; do
			if [[ ${option_verbs[$name]} == *,"$verb",* || (${option_verbs[$name]} == ,all, && (-n $verb || $name == --help || $name == --version)) ]]; then
				_tinyvmm_offer '' "$cur" "$name"
			fi
		done
	elif [[ -z $verb ]]; then
		_tinyvmm_offer '' "$cur" "${verbs[@]}"
	elif [[ $verb == input ]] && ((nwords > 0)); then
		((nwords > 1)) || _tinyvmm_offer '' "$cur" "${commands[@]}"
	elif ((nwords == 0)) || [[ ${verb_args[$verb]:-} == *... ]]; then
		case ${verb_word[$verb]:-} in
		file) _tinyvmm_files '' "$cur" '*.toml' ;;
		VM) _tinyvmm_names ;;
		verb) _tinyvmm_offer '' "$cur" "${verbs[@]}" ;;
		esac
	elif [[ $verb == screenshot ]] && ((nwords == 1)); then
		_tinyvmm_files '' "$cur" '*.png'
	fi

	# Bash replaces only what is behind the last character it has cut the word at.
	breaks=${COMP_WORDBREAKS//[!=:]/}
	if [[ -n $breaks ]]; then
		strip=${cur%"${cur##*[$breaks]}"}
		[[ -z $strip ]] || COMPREPLY=("${COMPREPLY[@]#"$strip"}")
	fi
	[[ ${COMPREPLY[*]} != *text= ]] || compopt -o nospace 2> /dev/null
}

complete -F _tinyvmm tinyvmm

_tinyvmm_view() {
	local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $before in
	--socket)
		compopt -o filenames 2> /dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	--scale) mapfile -t COMPREPLY < <(compgen -W 'follow fixed scale' -- "$cur") ;;
	--fd | --name) ;;
	*) mapfile -t COMPREPLY < <(compgen -W '--socket --fd --observe --scale --fullscreen --wait --name --verbose --help --version' -- "$cur") ;;
	esac
}
complete -F _tinyvmm_view tinyvmm-view
