# Pings each of $targets, sent as one command; prints "ADDRESS yes" or "ADDRESS no". A first handshake may take
# a few seconds, so one that does not answer is asked again.
for target in $targets; do echo "$target"; done | xargs -r -P 32 -I '{}' sh -c '
    case {} in *:*) family=-6 ;; *) family=-4 ;; esac
    for wait in 1 2 3 5; do
        if ping $family -n -q -c 1 -W $wait {} >/dev/null 2>&1; then echo "{} yes"; exit 0; fi
    done
    echo "{} no"'
