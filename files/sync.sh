# Brings the live peers of an interface to its config file without a restart. Sent as one command with these set:
# interface, public_key and peers (what the file must hold); which peers are set: only ("*": every one; empty with
# whole=1: the interface's own key and port as well); one a line: gone, unshared and unkept (these lose what they
# have of a preshared key, of a keepalive), anew (they begin without their session), missing and surplus (routes).
# Never "wg syncconf <(wg-quick strip …)": where strip fails, that clears the key and every peer.
set -e
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
stripped=/run/wgcluster-$interface.$$ # two runs never share one
trap 'rm -f "$stripped" "$stripped.some"' EXIT
wg-quick strip "$interface" >"$stripped"
found=$(sed -n 's/^PrivateKey = //p' "$stripped" | wg pubkey)
if [ "$found" != "$public_key" ] || [ "$(grep -c '^\[Peer\]' "$stripped")" != "$peers" ]; then
    echo "/etc/wireguard/$interface.conf does not hold the planned key and $peers peers: nothing was synced" >&2
    exit 1
fi
# Sets the peers of these public keys.
add() {
    [ -n "$1" ] || return 0
    printf '%s\n' "$1" | awk '
        NR == FNR { wanted[$0]; next }
        /^\[/ { if (show) printf "%s", text; text = ""; show = 0; peer = $0 == "[Peer]" }
        { text = text $0 "\n" }
        peer && $1 == "PublicKey" && ($3 in wanted || "*" in wanted) { show = 1 }
        END { if (show) printf "%s", text }' - "$stripped" >"$stripped.some"
    wg addconf "$interface" "$stripped.some"
}
# shellcheck disable=SC2086 # words on purpose
each() { printf '%s\n' "$1" | while read -r key; do [ -z "$key" ] || wg set "$interface" peer "$key" $2; done; }
# A sync sets every peer anew, and the port: wireguard-go opens its sockets again, and what comes meanwhile is lost.
if [ "$whole" = 1 ]; then wg syncconf "$interface" "$stripped"; else add "$only"; fi
each "$gone" remove
# What left the file stays live with wireguard-tools before 2025-05.
each "$unshared" "preshared-key /dev/null"
each "$unkept" "persistent-keepalive 0"
# Set once more before they are taken away: then they can be put back, too.
add "$anew"
each "$anew" remove
add "$anew"
# Peers that are new have no session, and are dialled by name from here on.
if [ -x /usr/local/sbin/wgcluster-endpoints ]; then
    if [ "$whole" = 1 ]; then all=all; else all=; fi
    /usr/local/sbin/wgcluster-endpoints "$interface" $all || :
fi
# A route of another's stays as it is: "add" fails where there is an equal one, "replace" would overwrite it.
printf '%s\n' "$missing" | {
    refused=
    while read -r network; do
        case $network in
        '') continue ;;
        *:*) family=-6 ;;
        *) family=-4 ;;
        esac
        ip "$family" route add "$network" dev "$interface" && continue
        refused=1
        echo "$network is not routed to $interface; there is: $(ip "$family" route show "$network")" >&2
    done
    [ -z "$refused" ]
}
# No metric but the usual one and no protocol: as wg-quick and the lines above add them.
printf '%s\n' "$surplus" | while read -r network; do
    case $network in
    '') ;;
    *:*) ip -6 route del "$network" dev "$interface" proto boot metric 1024 ;;
    *) ip -4 route del "$network" dev "$interface" proto boot scope link ;;
    esac
done
