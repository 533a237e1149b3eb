# Replaces files of nginx all together or not at all. Standard input has one line a file: path, digest of the
# text that was read ("absent": there was none), new text in base64 ("-": take the file away).
# The old files are put back if one was changed by someone else meanwhile, if "nginx -t" refuses the new ones, or if
# nginx goes on with what it has. Ends when nobody is answered after the old files any more, but who has asked before.
set -eu
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# Not beside the files: nginx would read a copy in a folder that it includes.
work=/etc/nginx/wgcluster/.work
# shellcheck disable=SC2174 # /etc/nginx is there
mkdir -p -m 755 /etc/nginx/wgcluster
mkdir -m 700 "$work" || { echo "$work is there: another run is at it, or one was cut off; look, and remove it" >&2; exit 1; }
put_back=0
reload=
finish() {
    status=$?
    if [ "$put_back" = 1 ]; then
        while read -r number path; do
            if [ -e "$work/$number.old" ]; then mv -f "$work/$number.old" "$path"; else rm -f "$path"; fi
        done <"$work/moved"
        if [ -n "$reload" ]; then
            # It may have been about to read the new ones.
            $reload || :
            echo "nginx: the old files are back, and it was told to read them" >&2
        else
            echo "nginx: the old files are back, nothing was reloaded" >&2
        fi
    fi
    rm -rf "$work"
    rmdir --ignore-fail-on-non-empty /etc/nginx/wgcluster
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
: >"$work/moved"

number=0
while read -r path digest data; do
    number=$((number + 1))
    if [ -e "$path" ]; then now=$(sha256sum <"$path" | cut -d' ' -f1); else now=absent; fi
    if [ "$now" != "$digest" ]; then
        echo "$path was changed by someone else since it was read; run again" >&2
        exit 1
    fi
    echo "$number $path" >>"$work/all"
    if [ -e "$path" ]; then cp -p "$path" "$work/$number.old"; fi
    [ "$data" != - ] || continue
    printf '%s' "$data" | base64 -d >"$work/$number.new"
    chmod 644 "$work/$number.new"
    if [ -e "$path" ]; then
        chmod --reference="$path" "$work/$number.new"
        chown --reference="$path" "$work/$number.new"
    fi
done

put_back=1
while read -r number path; do
    echo "$number $path" >>"$work/moved"
    if [ -e "$work/$number.new" ]; then mv -f "$work/$number.new" "$path"; else rm -f "$path"; fi
done <"$work/all"
nginx -t -q
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
put_back=0
