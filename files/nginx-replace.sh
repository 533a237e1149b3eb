# Replaces files of nginx, one after the other, and has nginx read them. Standard input has one line a file: path, digest
# of the text that was read ("absent": there was none, "-": an earlier line writes it), new text in base64 ("-": take
# the file away). The old files are put back if one was changed by someone else meanwhile, if "nginx -t" refuses the
# new ones, or if nginx goes on with what it has. Ends when nobody is answered after the old files any more, but who has
# asked before.
# Killed at any moment it leaves its folder behind, which a look at the host finds. Then it is sent with undo=1, which puts
# the old files back, and once more to do it all again. The folder goes last, when nginx has read what is there.
set -eu
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# Not beside the files: nginx would read a copy in a folder that it includes.
work=/etc/nginx/wgcluster/.work
moving=0
reload=

digest() { if [ -e "$1" ]; then sha256sum <"$1" | cut -d' ' -f1; else echo absent; fi; }
# After a power cut there must be nothing empty under a new name.
flush() { sync "$@" 2>/dev/null || sync; }
# The last step is a rename even where the target is on another file system. No "*" of an include matches such a name.
place() {
    beside=$(dirname "$2")/.wgcluster-new
    cp -p "$1" "$beside"
    flush "$beside"
    mv -f "$beside" "$2"
}
# Back in the other order. What is not as we left it has not been touched yet, or by someone else since.
put_back() {
    [ -e "$work/all" ] || return 0
    tac "$work/all" | while read -r number path new; do
        rm -f "$(dirname "$path")/.wgcluster-new"
        [ "$(digest "$path")" = "$new" ] || continue
        if [ -e "$work/$number.old" ]; then place "$work/$number.old" "$path"; else rm -f "$path"; fi
    done
}
finish() {
    status=$?
    if [ "$moving" = 1 ]; then
        put_back
        if [ -n "$reload" ]; then
            # It may have been about to read the new ones.
            $reload || :
            echo "nginx: the old files are back, and it was told to read them" >&2
        else
            echo "nginx: the old files are back, nothing was reloaded" >&2
        fi
    fi
    rm -f "$work/all" # first: without the copies it would take files away
    rm -rf "$work"
    rmdir --ignore-fail-on-non-empty /etc/nginx/wgcluster
    exit "$status"
}

if [ "$undo" = 1 ]; then
    put_back
    exit
fi
# shellcheck disable=SC2174 # /etc/nginx is there
mkdir -p -m 755 /etc/nginx/wgcluster
mkdir -p "$work"
rm -f "$work/all"
rm -rf "${work:?}"/*
trap finish EXIT
trap 'exit 1' INT TERM HUP

: >"$work/list"
number=0
while read -r path expected data; do
    number=$((number + 1))
    if [ "$expected" != - ] && [ "$(digest "$path")" != "$expected" ]; then
        echo "$path was changed by someone else since it was read; run again" >&2
        exit 1
    fi
    if [ -e "$path" ]; then cp -p "$path" "$work/$number.old"; fi
    if [ "$data" != - ]; then
        printf '%s' "$data" | base64 -d >"$work/$number.new"
        chmod 644 "$work/$number.new"
        if [ -e "$path" ]; then
            chmod --reference="$path" "$work/$number.new"
            chown --reference="$path" "$work/$number.new"
        fi
    fi
    echo "$number $path $(digest "$work/$number.new")" >>"$work/list"
done
flush "$work"/*

moving=1
mv "$work/list" "$work/all"
while read -r number path new; do
    if [ "$new" = absent ]; then rm -f "$path"; else place "$work/$number.new" "$path"; fi
done <"$work/all"
if command -v nginx >/dev/null; then nginx -t -q; fi
if systemctl is-active -q nginx; then
    master=$(systemctl show -p MainPID --value nginx)
    reload="systemctl reload nginx"
elif master=$(cat /run/nginx.pid 2>/dev/null) && grep -qsx nginx "/proc/$master/comm"; then
    reload="nginx -s reload"
fi
if [ -n "$reload" ]; then
    workers=$(pgrep -P "$master" || :)
    $reload
    # The reload is a signal, answered before a file is read; "nginx -t" does not notice a port that is taken. A worker
    # that takes no more connections says so in its title (ngx_worker_process_cycle in ngx_process_cycle.c).
    left=300
    for worker in $workers; do
        while [ -e "/proc/$worker" ] && ! grep -qs "shutting down" "/proc/$worker/cmdline"; do
            if [ "$left" = 0 ]; then
                echo "nginx was told to read its files 15 s ago and goes on with the old ones; see its error log" >&2
                exit 1
            fi
            left=$((left - 1))
            sleep 0.05
        done
    done
fi
moving=0
