# Brings the live peers of an interface to its config file without a restart. Sent as one command with these
# set: interface, public_key and peers (what the file must hold), stale, anew, missing, surplus (one a line).
# Never "wg syncconf <(wg-quick strip …)": where strip fails, that clears the key and every peer.
set -e
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
stripped=/run/wgcluster-$interface.stripped
trap 'rm -f "$stripped"' EXIT
wg-quick strip "$interface" >"$stripped"
found=$(sed -n 's/^PrivateKey = //p' "$stripped" | wg pubkey)
if [ "$found" != "$public_key" ] || [ "$(grep -c '^\[Peer\]' "$stripped")" != "$peers" ]; then
    echo "/etc/wireguard/$interface.conf does not hold the planned key and $peers peers: nothing was synced" >&2
    exit 1
fi
printf '%s\n' "$anew" | while read -r key; do
    [ -z "$key" ] || wg set "$interface" peer "$key" remove
done
wg syncconf "$interface" "$stripped"
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
