# Installs or removes packages. Sent as one command with these set: manager (apt-get, dnf, pacman, apk), verb (install,
# remove) and names. What was not there before is kept in a record, for the day it is removed: that, and nothing else.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
DEBIAN_FRONTEND=noninteractive
LC_ALL=C
export PATH DEBIAN_FRONTEND LC_ALL
record=/etc/wgcluster/packages
# apt waits for dpkg's lock by itself; for those of its lists and its archives, which apt-daily may hold, it does not. A
# mirror that does not answer costs a few tries of 10 s.
patience="-o DPkg::Lock::Timeout=120"
network="-o Acquire::Retries=1 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 -o Acquire::ftp::Timeout=10"
options="-y --no-install-recommends $patience $network"
deadline=$(($(date +%s) + 120))
try() {
    # apt has time limits of its own; others would wait for a lock or a mirror without end
    case $1 in apt-get) limit= ;; *) limit="timeout 300" ;; esac
    # shellcheck disable=SC2086
    until said=$($limit "$@" 2>&1 </dev/null); do
        case $said in *"E: Could not get lock"*) ;; *) return 1 ;; esac
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 1
    done
}
# Why a program failed: what it could not fetch, else its errors, else all.
why() {
    printf '%s\n' "$said" | grep -E -m 1 '^[EW]: Failed to fetch|^ *Could not connect|^ *Unable to connect' ||
        printf '%s\n' "$said" | grep -i '^e: \|^error' || printf '%s\n' "$said"
}
is_installed() {
    case $manager in
    apt-get) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    dnf) rpm -q --quiet "$1" ;;
    pacman) pacman -Q "$1" >/dev/null 2>&1 ;;
    apk) apk info -q -e "$1" ;;
    esac
}
# shellcheck disable=SC2086 # a word for each package and option
put_in() {
    case $manager in
    apt-get) try apt-get install $options "$@" ;;
    dnf) if [ "$1" = --reinstall ]; then shift; try dnf reinstall -y "$@"; else try dnf install -y "$@"; fi ;;
    pacman) if [ "$1" = --reinstall ]; then shift; fi; try pacman -S --noconfirm "$@" ;;
    apk) if [ "$1" = --reinstall ]; then shift; try apk fix "$@"; else try apk add "$@"; fi ;;
    esac
}
# shellcheck disable=SC2086
fetch_lists() {
    case $manager in
    apt-get) try apt-get update $patience $network ;;
    dnf) ;; # fetches them by itself
    pacman) try pacman -Sy --noconfirm ;;
    apk) try apk update ;;
    esac
}
# Lists are fetched only if it fails without. Those that cannot be fetched are no error to apt: what lacks them is.
install() {
    put_in "$@" && return
    fetch_lists || { why >&2; return 1; }
    unfetched=$(printf '%s\n' "$said" | grep -m 1 'Failed to fetch')
    put_in "$@" && return
    [ -z "$unfetched" ] || echo "$unfetched" >&2
    why >&2
    return 1
}
# What others have come to need stays: apt-get would remove those, too.
# shellcheck disable=SC2086
removable() {
    for name; do
        is_installed "$name" || continue
        needed=
        for gone in $(apt-get -s remove $name 2>/dev/null | sed -n 's/^Remv \([^ ]*\) .*/\1/p'); do
            case " $* " in *" $gone "*) ;; *) needed="$needed $gone" ;; esac
        done
        if [ -n "$needed" ]; then echo "$name stays:$needed need it" >&2; else echo "$name"; fi
    done
}
case $verb in
install)
    lacking=
    broken=
    for name in $names; do
        if is_installed "$name"; then broken="$broken $name"; else lacking="$lacking $name"; fi
    done
    # shellcheck disable=SC2086
    [ -z "$broken" ] || install --reinstall $broken || exit
    if [ -n "$lacking" ]; then
        # shellcheck disable=SC2086
        install $lacking || exit
        # shellcheck disable=SC2174 # /etc is there
        mkdir -p -m 755 "${record%/*}"
        # shellcheck disable=SC2086
        (umask 022; printf '%s\n' $lacking >>"$record")
    fi
    ;;
remove)
    # shellcheck disable=SC2086
    case $manager in
    apt-get) ours=$(removable $names); [ -z "$ours" ] || try apt-get remove -y $patience $ours ;;
    dnf) try rpm -e $names ;;
    pacman) try pacman -R --noconfirm $names ;;
    apk) try apk del $names ;;
    esac || { why >&2; exit 1; }
    ;;
esac
