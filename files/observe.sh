# Everything the deploy has to know of a host, read in one go and changing nothing.
# Sent as one command with these set: interface, files (of ours), sites (of nginx), dump (1: nginx -T as well).
# Each section starts with "@ name"; lines in it are indented by one blank. No secret leaves the host: values
# of PrivateKey and PresharedKey lines are cut out here, a digest tells whether they are the right ones.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

section() { echo "@ $*"; }
indented() { sed 's/^/ /'; }
# What others wrote, as a comment of a rule, may be in any encoding, and pyinfra reads UTF-8 alone.
ascii() { tr '\200-\377' '?'; }
# wg reads keys in any case and overlooks every blank in a line; what is commented out may be a secret still.
masked() {
    awk '{ squeezed = tolower($0); gsub(/[ \t\r\v\f]/, "", squeezed)
           if (squeezed ~ /(privatekey|presharedkey)=/) print substr($0, 1, index($0, "=")) " (hidden)"
           else print }' "$1"
}
# path, what it is, mode, owner, digest, text in base64
file() {
    if [ -L "$1" ] && [ ! -e "$1" ]; then section "file $1 dangling"; return; fi
    if [ ! -e "$1" ]; then section "file $1 absent"; return; fi
    if [ ! -f "$1" ]; then section "file $1 other"; return; fi
    section "file $1 file $(stat -L -c '%a %U:%G' "$1") $(sha256sum <"$1" | cut -d' ' -f1) $(readlink -f "$1")"
    if [ "$2" = masked ]; then masked "$1"; else cat "$1"; fi | base64 | indented
}

section "user $(id -u)"
section tools
for tool in apt-get dnf pacman apk systemctl wg wg-quick wireguard-go iptables ip6tables nginx; do
    command -v "$tool" >/dev/null && echo " $tool"
done

section module
if [ -e /sys/module/wireguard ]; then echo " loaded"
elif modinfo wireguard >/dev/null 2>&1; then echo " available"
else echo " missing"; fi
if systemd-detect-virt --quiet --container 2>/dev/null; then echo " container"; fi

section "directory $(stat -L -c '%a %U:%G' /etc/wireguard 2>/dev/null)"
file "/etc/wireguard/$interface.conf" masked
for path in $files; do file "$path"; done

for unit in "wg-quick@$interface.service" "wgcluster-firewall@$interface.service" nginx.service ufw.service firewalld.service; do
    section "unit $unit $(systemctl is-enabled "$unit" 2>/dev/null || true) / $(systemctl is-active "$unit" 2>/dev/null || true)"
done
section ufw
[ -r /etc/ufw/ufw.conf ] && grep -i '^ENABLED=' /etc/ufw/ufw.conf | indented

if [ -e "/sys/class/net/$interface" ]; then
    section "link $(cat "/sys/class/net/$interface/mtu") $(cat "/sys/class/net/$interface/flags")"
    ip -o addr show dev "$interface" | awk '$3 ~ /inet/ { print " " $4 }'
    section routes
    { ip -4 route show dev "$interface"; ip -6 route show dev "$interface"; } | indented
    if command -v wg >/dev/null; then
        section dump
        # public key, port; then each peer: public key, PSK or not, endpoint, allowed IPs, handshake, keepalive
        wg show "$interface" dump | awk -F'\t' -v OFS='\t' '
            NR == 1 { print " " $2, $3 }
            NR > 1 { print " " $1, ($2 == "(none)" ? "-" : "psk"), $3, $4, $5, $8 }'
        section preshared
        wg show "$interface" preshared-keys | sort | sha256sum | cut -d' ' -f1 | indented
    fi
fi

if command -v wg >/dev/null; then
    section interfaces
    # of the others: name, public key, port
    wg show all dump | awk -F'\t' -v own="$interface" 'NF == 5 && $1 != own { print " " $1, $3, $4 }'
fi

section addresses
ip -o addr show scope global | awk '{ sub("/.*", "", $4); print " " $4 }'
section "clock $(date +%s)"
section "forwarding $(cat /proc/sys/net/ipv4/ip_forward 2>/dev/null || echo -) $(cat /proc/sys/net/ipv6/conf/all/forwarding 2>/dev/null || echo -)"
section sysctls
# Of interfaces whose default route comes from router advertisements: how far the kernel listens to them.
advertised=$(ip -6 route show default proto ra 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u)
# shellcheck disable=SC2086 # a word for each interface
for key in $(printf 'net/ipv6/conf/%s/accept_ra ' $advertised) \
    net/ipv4/conf/all/send_redirects "net/ipv4/conf/$interface/send_redirects"; do
    [ -r "/proc/sys/$key" ] && echo " $key $(cat "/proc/sys/$key")"
done

# The backend that "iptables" stands for, then the other one where it holds a table.
backend() { "$1" -V 2>/dev/null | grep -q nf_tables && echo nft || echo legacy; }
for family in 4 6; do
    if [ "$family" = 4 ]; then name=iptables; loaded=/proc/net/ip_tables_names
    else name=ip6tables; loaded=/proc/net/ip6_tables_names; fi
    command -v "$name-save" >/dev/null || continue
    first=$(backend "$name")
    saved=$("$name-save" 2>/dev/null) || continue
    section "rules $family $name primary"
    printf '%s\n' "$saved" | grep -a '^[*:-]' | ascii | indented
    if [ "$first" = nft ]; then
        other="$name-legacy"
        [ -n "$(cat "$loaded" 2>/dev/null)" ] || continue # files in /proc have no size
    else other="$name-nft"; fi
    command -v "$other-save" >/dev/null || continue
    section "rules $family $other other"
    "$other-save" 2>/dev/null | grep -a '^[*:-]' | ascii | indented
done

# sudo strips SSH_CONNECTION; a parent of this shell still has it.
connection=$SSH_CONNECTION
process=$$
while [ -z "$connection" ] && [ "${process:-0}" -gt 1 ]; do
    connection=$(tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
    process=$(awk '$1 == "PPid:" { print $2 }' "/proc/$process/status" 2>/dev/null)
done
section "ssh $connection"
[ -n "$connection" ] && ip -o addr show to "$(echo "$connection" | cut -d' ' -f3)" | awk '{ print " " $2 }'

section guarded
[ -f /etc/nginx/wgcluster/guarded ] && indented </etc/nginx/wgcluster/guarded
section folders
for path in /etc/wgcluster /etc/nginx/wgcluster; do
    [ -d "$path" ] && [ -z "$(ls -A "$path")" ] && echo " $path"
done
section lists
for path in /etc/nginx/wgcluster/*.conf; do [ -f "$path" ] && echo " $path"; done
for path in /etc/nginx/wgcluster/*.conf; do [ -f "$path" ] && file "$path"; done
for path in $sites $(cat /etc/nginx/wgcluster/guarded 2>/dev/null); do file "$path"; done
if [ "$dump" = 1 ] && command -v nginx >/dev/null; then
    errors=$(nginx -t 2>&1) && section "nginx ok" || section "nginx broken"
    printf '%s\n' "$errors" | indented
    read=$(nginx -T 2>/dev/null | base64)
    section nginx-dump
    printf '%s\n' "$read" | indented
    section nginx-links
    printf '%s\n' "$read" | base64 -d | sed -n 's/^# configuration file \(.*\):$/\1/p' | while read -r path; do
        target=$(readlink -f "$path")
        [ "$target" = "$path" ] || echo " $path $target"
    done
fi
section end
