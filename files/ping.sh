# Pings each of $targets, sent as one command; prints a line each:
#   ADDRESS              "ADDRESS yes" or "ADDRESS no"
#   ADDRESS=LEAST=BYTES  and, if it answers, the size of the largest packet up to BYTES that passes in one piece, both
#                        ways, to within 4 bytes; 0: not even LEAST; -: this ping cannot tell
# With "!" in front, an address that must not answer. Those are asked last, when the sessions on the way are up.
# A first handshake may take a few seconds, so one that does not answer is asked again.
case $(ping -h 2>&1) in *-M*) whole=1 ;; *) whole= ;; esac
export whole
last=
{
    for target in $targets; do
        case $target in !*) last="$last $target" ;; *) echo "$target" ;; esac
    done
    for target in $last; do echo "$target"; done
} | xargs -r -P 32 -I '{}' sh -c '
    target={}
    address=${target#!}
    sizes=${address#*=}
    address=${address%%=*}
    # headers: IP and ICMP
    case $address in *:*) family=-6 headers=48 ;; *) family=-4 headers=28 ;; esac
    pings() { ping "$family" -n -q "$@" "$address" >/dev/null 2>&1; }
    # One packet may be lost.
    passes() {
        pings -M do -s $(($1 - headers)) -c 1 -W 1 || pings -M do -s $(($1 - headers)) -c 1 -W 1
    }
    case $target in !*)
        if pings -c 3 -i 0.5 -W 3; then echo "$address yes"; else echo "$address no"; fi
        exit
        ;;
    esac
    answers=
    for wait in 1 2 3 5; do
        if pings -c 1 -W "$wait"; then answers=1; break; fi
    done
    [ -n "$answers" ] || { echo "$address no"; exit; }
    [ "$sizes" != "$target" ] || { echo "$address yes"; exit; }
    [ -n "$whole" ] || { echo "$address yes -"; exit; }
    low=${sizes%=*} high=${sizes#*=}
    if passes "$high"; then low=$high
    elif ! passes "$low"; then low=0 high=0
    fi
    # low passes, high does not
    while [ $((high - low)) -gt 4 ]; do
        middle=$(((low + high) / 2))
        if passes "$middle"; then low=$middle; else high=$middle; fi
    done
    echo "$address yes $low"'
