# shellcheck shell=sh
# What the first-boot scripts share: where things are, settings, markers, careful writing.
# Sourced by run, report and every step. ROOT is empty on a node; it prefixes every path, so that a
# script can be tried in a folder.

ROOT=${ROOT:-}
LIB=${IMAGESMITH_LIB:-/usr/lib/imagesmith}
CONF=$ROOT/etc/imagesmith/node.conf
STATE=$ROOT/var/lib/imagesmith
MIRRORS=$ROOT/etc/imagesmith/mirrors.conf
MARKERS=$STATE/steps
# shellcheck disable=SC2034 # written by run
LOG=$ROOT/var/log/imagesmith/firstboot.log
EPOCH_FILE=$ROOT/usr/lib/clock-epoch
LC_ALL=C
export ROOT LC_ALL

# say TEXT: one line for the journal and the log; the runner adds time and step.
say() {
    printf '%s\n' "$*"
}

# give_up TEXT: the step failed; the runner tries again later.
give_up() {
    printf '%s\n' "$*" >&2
    exit 1
}

# have PROGRAM: is it installed?
have() {
    command -v "$1" >/dev/null 2>&1
}

# setting KEY [DEFAULT]: a value of node.conf, whose lines read KEY='value'. It is read as data, never run.
setting() {
    value=
    if [ -r "$CONF" ]; then
        value=$(sed -n "s/^$1='\\(.*\\)'\$/\\1/p" "$CONF" | tail -n 1 | sed "s/'\\\\''/'/g")
    fi
    printf '%s\n' "${value:-${2:-}}"
}

# number KEY DEFAULT: a setting that must be a whole number; anything else counts as absent.
number() {
    value=$(setting "$1" "$2")
    case $value in
    '' | *[!0-9]*) printf '%s\n' "$2" ;;
    *) printf '%s\n' "$value" ;;
    esac
}

# put_file PATH MODE TEXT: PATH holds the text and a newline, whole or not at all. Sets CHANGED=yes when it was different.
# What is there already is not written again, so that a full disk is in nobody's way.
put_file() {
    if printf '%s\n' "$3" | cmp -s - "$1"; then
        rm -f "$1.new"
        return
    fi
    # One after the other by hand: where a caller asks whether it failed, the shell no longer stops at the first failure.
    mkdir -p "$(dirname "$1")" || return 1
    if ! printf '%s\n' "$3" >"$1.new" || ! chmod "$2" "$1.new" || ! sync "$1.new" || ! mv -f "$1.new" "$1"; then
        rm -f "$1.new"
        return 1
    fi
    # shellcheck disable=SC2034 # read by the steps
    CHANGED=yes
}

# at_start UNIT...: started at every start from now on. Links alone: the manager reads all units anew at each of them
# otherwise, which takes a small board seconds. What is started by name is read from the disk then.
at_start() {
    systemctl enable --no-reload "$@"
}

# not_at_start UNIT...: no longer, and stopped.
not_at_start() {
    systemctl disable --no-reload "$@"
    systemctl stop "$@"
}

# mirrored FILE: its text, with a mirror of mirrors.conf in place of each address of packages that has one. What is
# replaced is a whole word, so a file may list addresses in whichever way. Twice, since two words share the space between.
mirrored() {
    if [ ! -f "$MIRRORS" ]; then
        cat "$1"
        return
    fi
    script=
    while read -r publisher mirror; do
        one="s#(^|[[:space:]])$publisher([[:space:]]|\$)#\\1$mirror\\N#g"
        # How many groups the expression has of its own decides the number of the last one.
        groups=$(printf '%s' "$publisher" | tr -cd '(' | wc -c)
        one=$(printf '%s' "$one" | sed "s#\\\\N#\\\\$((groups + 2))#")
        script="$script$one
$one
"
    done <"$MIRRORS"
    sed -E "$script" "$1"
}

# image_epoch: when the image was made, in seconds since 1970; 0 when it does not say.
image_epoch() {
    stat -c %Y "$EPOCH_FILE" 2>/dev/null || echo 0
}

# uptime_s: whole seconds since the kernel started; unlike the clock it never jumps.
uptime_s() {
    cut -d. -f1 /proc/uptime
}

# step_state NAME: done, failed or pending.
step_state() {
    sed -n 's/^state=//p' "$MARKERS/$1" 2>/dev/null | grep . || echo pending
}

# step_names: the installed steps in the order in which they run. A name with a dot is some tool's leftover.
step_names() {
    for path in "$LIB"/steps/[0-9][0-9]-*; do
        name=${path##*/}
        case $name in
        *.*) ;;
        *) [ ! -f "$path" ] || printf '%s\n' "$name" ;;
        esac
    done
}
