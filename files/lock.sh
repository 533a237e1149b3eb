# One run at a time changes a host. Sent in front of each command of a run that changes something, with these set:
# run (its id), verb=hold. By itself before the first of them with verb=take, who, patience (seconds) and leftovers
# (patterns of temporary files), after the last with verb=release.
# The file has one line: the run, process and start time of its latest command, who runs it since when. It is empty when
# nobody holds the host, never removed, for others may be waiting at it, and gone at a boot.
lock=/run/wgcluster.lock
# When a process started, in ticks since the boot; nothing if it has ended: a number alone may be another's by now.
started() {
    stat=
    [ -z "$1" ] || { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086 # field 22 of proc_pid_stat(5); the second, a name, may hold blanks
    set -- ${stat##*) }
    case $1 in '' | Z) ;; *) echo "${20}" ;; esac
}
open_lock() {
    exec 9>>"$lock"
    flock 9 || exit
    holder='' process='' start='' owner=''
    read -r holder process start owner <"$lock" || :
}
write_lock() { printf '%s\n' "$run $$ $(started $$) $1" >"$lock"; }
close_lock() { exec 9>&-; }
# Nothing held for 10 s: a run that is alive goes from command to command, and takes the lock again after a longer pause.
take() {
    idle=0 before='' tries=$((patience * 2))
    while open_lock; do
        state=held
        now="$holder $process $start"
        if [ "$holder" = "$run" ]; then state=kept
        elif [ -z "$holder" ]; then state=taken
        elif [ "$now" != "$before" ] || [ "$(started "$process")" = "$start" ]; then before=$now idle=0
        elif [ "$idle" = 20 ]; then state=dead
        else idle=$((idle + 1)); fi
        case $state in
        taken | dead)
            # shellcheck disable=SC2086 # patterns
            rm -f $leftovers
            ;;
        esac
        [ "$state" = held ] || write_lock "$who since $(date -u '+%F %T UTC')"
        close_lock
        if [ "$state" != held ] || [ "$tries" -le 0 ]; then break; fi
        tries=$((tries - 1))
        sleep 0.5
    done
    echo "$state $owner"
}
case $verb in
take) take ;;
hold)
    open_lock
    if [ "$holder" != "$run" ]; then
        echo "this run was taken for dead and ${owner:-another one} has the host now; run again when it is done" >&2
        exit 1
    fi
    write_lock "$owner"
    close_lock
    ;;
release)
    open_lock
    [ "$holder" != "$run" ] || : >"$lock"
    close_lock
    ;;
esac
