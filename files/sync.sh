# Brings the live peers of an interface to its config file without a restart. Sent as one command with these
# set: interface, public_key and peers (what the file must hold), some (not empty: only those in "only" are set),
# only, gone, stale, anew, missing, surplus (one a line).
# Never "wg syncconf <(wg-quick strip …)": where strip fails, that clears the key and every peer.
set -e
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
stripped=/run/wgcluster-$interface.stripped
trap 'rm -f "$stripped" "$stripped.some"' EXIT
wg-quick strip "$interface" >"$stripped"
found=$(sed -n 's/^PrivateKey = //p' "$stripped" | wg pubkey)
if [ "$found" != "$public_key" ] || [ "$(grep -c '^\[Peer\]' "$stripped")" != "$peers" ]; then
    echo "/etc/wireguard/$interface.conf does not hold the planned key and $peers peers: nothing was synced" >&2
    exit 1
fi
printf '%s\n' "$anew" "$gone" | while read -r key; do
    [ -z "$key" ] || wg set "$interface" peer "$key" remove
done
# A sync sets every peer anew, and the port: wireguard-go opens its sockets again, and what comes meanwhile is lost.
if [ -n "$some" ]; then
    awk -v only=" $(printf '%s' "$only" | tr '\n' ' ') " '
        /^\[/ { if (wanted) printf "%s", text; text = ""; wanted = 0 }
        { text = text $0 "\n" }
        $1 == "PublicKey" && index(only, " " $3 " ") { wanted = 1 }
        END { if (wanted) printf "%s", text }' "$stripped" >"$stripped.some"
    [ ! -s "$stripped.some" ] || wg addconf "$interface" "$stripped.some"
else
    wg syncconf "$interface" "$stripped"
fi
# What left the file stays live with wireguard-tools before 2025-05: a preshared key, a keepalive.
printf '%s\n' "$stale" | while read -r change; do
    # shellcheck disable=SC2086
    [ -z "$change" ] || wg set "$interface" $change
done
printf '%s\n' "$missing" | while read -r network; do
    case $network in
    '') ;;
    *:*) ip -6 route replace "$network" dev "$interface" ;;
    *) ip -4 route replace "$network" dev "$interface" ;;
    esac
done
printf '%s\n' "$surplus" | while read -r network; do
    case $network in
    '') ;;
    *:*) ip -6 route del "$network" dev "$interface" ;;
    *) ip -4 route del "$network" dev "$interface" ;;
    esac
done
