# Everything the deploy has to know of a host, read in one go and changing nothing.
# Sent as one command with these set: interface, files (of ours), sites (of nginx), dump (1: nginx -T as well).
# Each section starts with "@ name"; lines in it are indented by one blank. No secret leaves the host: values
# of PrivateKey and PresharedKey lines are cut out here, a digest tells whether they are the right ones.
#
# A command costs more than all that the shell does by itself, so one looks at all files, units and peers at once.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
newline='
'

section() { printf '@ %s\n' "$*"; }
indented() { sed 's/^/ /'; }
encoded() { echo " $(base64 -w 0)"; }
# What others wrote, as a comment of a rule, may be in any encoding, and pyinfra reads UTF-8 alone.
ascii() { tr '\200-\377' '?'; }
# The first line of a file, where it can be read.
line_of() { line=; [ -r "$1" ] && read -r line <"$1" 2>/dev/null; }
# wg reads keys in any case and overlooks every blank in a line; what is commented out may be a secret still.
masked() {
    awk '{ squeezed = tolower($0); gsub(/[ \t\r\v\f]/, "", squeezed)
           if (squeezed ~ /(privatekey|presharedkey)=/) print substr($0, 1, index($0, "=")) " (hidden)"
           else print }' "$1"
}
# Of each path: what it is, mode, owner, digest, the path behind its links; text in base64.
files() {
    there=
    for path; do
        case " $there " in *" $path "*) continue ;; esac
        if [ -f "$path" ]; then there="$there $path"
        elif [ -e "$path" ]; then section "file $path other"
        elif [ -L "$path" ]; then section "file $path dangling"
        else section "file $path absent"; fi
    done
    [ -n "$there" ] || return
    # shellcheck disable=SC2086 # none of them has a blank
    # a group may have a blank in its name; sha256sum escapes a line whose path has a backslash
    { modes=$(stat -L -c '%a/%U:%G' $there | tr ' ' _) && digests=$(sha256sum $there) \
        && targets=$(realpath $there); } || exit
    for path in $there; do
        mode=${modes%%"$newline"*} digest=${digests%% *}
        section "file $path file ${mode%%/*} ${mode#*/} ${digest#\\} ${targets%%"$newline"*}"
        modes=${modes#*"$newline"} digests=${digests#*"$newline"} targets=${targets#*"$newline"}
        if [ "$path" = "$config" ]; then masked "$path" | encoded; else encoded <"$path"; fi
    done
}

section "user $(id -u)"
section tools
for tool in apt-get dnf pacman apk systemctl wg wg-quick wireguard-go iptables ip6tables nginx; do
    command -v "$tool" >/dev/null && echo " $tool"
done

section module
if [ -e /sys/module/wireguard ]; then echo " loaded"
elif modinfo wireguard >/dev/null 2>&1; then echo " available"
else
    echo " missing"
    if systemd-detect-virt --quiet --container 2>/dev/null; then echo " container"; fi
fi

section "directory $(stat -L -c '%a %U:%G' /etc/wireguard 2>/dev/null)"
config=/etc/wireguard/$interface.conf
guarded=
[ -f /etc/nginx/wgcluster/guarded ] && guarded=$(cat /etc/nginx/wgcluster/guarded)
lists=
for path in /etc/nginx/wgcluster/*.conf; do [ -f "$path" ] && lists="$lists $path"; done
# shellcheck disable=SC2086 # none of them has a blank
files "$config" $files $lists $sites $guarded

# is-enabled says nothing of a unit that there is none of, so each is asked alone; of ufw it does not matter
units="wg-quick@$interface.service wgcluster-firewall@$interface.service nginx.service ufw.service firewalld.service"
# shellcheck disable=SC2086 # a word for each unit
active=$(systemctl is-active $units 2>/dev/null)
for unit in $units; do
    case $unit in
    ufw.* | firewalld.* | nginx.*) enabled=- ;;
    *) enabled=$(systemctl is-enabled "$unit" 2>/dev/null) ;;
    esac
    section "unit $unit $enabled / ${active%%"$newline"*}"
    active=${active#*"$newline"}
done
section ufw
[ -r /etc/ufw/ufw.conf ] && grep -i '^ENABLED=' /etc/ufw/ufw.conf | indented

# It holds keys; what leaves the host is cut out of it below.
dumped=
command -v wg >/dev/null && dumped=$(wg show all dump)
if [ -e "/sys/class/net/$interface" ]; then
    line_of "/sys/class/net/$interface/mtu"; mtu=$line
    line_of "/sys/class/net/$interface/flags"
    section "link $mtu $line"
    ip -o addr show dev "$interface" | awk '$3 ~ /inet/ { print " " $4 }'
    section routes
    { ip -4 route show dev "$interface"; ip -6 route show dev "$interface"; } | indented
    if command -v wg >/dev/null; then
        section dump
        # public key, port; then each peer: public key, PSK or not, endpoint, allowed IPs, handshake, keepalive
        printf '%s\n' "$dumped" | awk -F'\t' -v OFS='\t' -v own="$interface" '
            $1 "" == own "" && NF == 5 { print " " $3, $4 }
            $1 "" == own "" && NF > 5 { print " " $2, ($3 == "(none)" ? "-" : "psk"), $4, $5, $6, $9 }'
        section preshared
        # what "wg show INTERFACE preshared-keys | sort | sha256sum" prints
        digest=$(printf '%s\n' "$dumped" | awk -F'\t' -v OFS='\t' -v own="$interface" \
            '$1 "" == own "" && NF > 5 { print $2, $3 }' | sort | sha256sum)
        echo " ${digest%% *}"
    fi
fi

if command -v wg >/dev/null; then
    section interfaces
    # of the others: name, public key, port
    printf '%s\n' "$dumped" | awk -F'\t' -v own="$interface" 'NF == 5 && $1 "" != own "" { print " " $1, $3, $4 }'
fi

section addresses
ip -o addr show scope global | awk '{ sub("/.*", "", $4); print " " $4 }'
section "clock $(date +%s)"
line_of /proc/sys/net/ipv4/ip_forward; forwarding=${line:--}
line_of /proc/sys/net/ipv6/conf/all/forwarding
section "forwarding $forwarding ${line:--}"
section sysctls
# Of interfaces whose default route comes from router advertisements: how far the kernel listens to them.
advertised=$(ip -6 route show default proto ra 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u)
# shellcheck disable=SC2086 # a word for each interface
for key in $(printf 'net/ipv6/conf/%s/accept_ra ' $advertised) \
    net/ipv4/conf/all/send_redirects "net/ipv4/conf/$interface/send_redirects"; do
    line_of "/proc/sys/$key"
    [ -n "$line" ] && echo " $key $line"
done

# The backend that "iptables" stands for, then the other one where it holds a table.
# Its -save says so too, with what it was built into since 1.8.8: other versions are asked.
backend() {
    case $comment in *"(nf_tables)"*) echo nft; return ;; esac
    case $("$1" -V 2>/dev/null) in *nf_tables*) echo nft ;; *) echo legacy ;; esac
}
for family in 4 6; do
    if [ "$family" = 4 ]; then name=iptables; loaded=/proc/net/ip_tables_names
    else name=ip6tables; loaded=/proc/net/ip6_tables_names; fi
    command -v "$name-save" >/dev/null || continue
    saved=$("$name-save" 2>/dev/null) || continue
    comment=${saved%%"$newline"*}
    first=$(backend "$name")
    section "rules $family $name primary"
    printf '%s\n' "$saved" | sed -n 's/^[*:-]/ &/p' | ascii
    if [ "$first" = nft ]; then
        other="$name-legacy"
        line_of "$loaded" # files in /proc have no size
        [ -n "$line" ] || continue
    else other="$name-nft"; fi
    command -v "$other-save" >/dev/null || continue
    section "rules $family $other other"
    "$other-save" 2>/dev/null | sed -n 's/^[*:-]/ &/p' | ascii
done

# sudo strips SSH_CONNECTION; a parent of this shell still has it.
connection=$SSH_CONNECTION
process=$$
while [ -z "$connection" ] && [ "${process:-0}" -gt 1 ]; do
    connection=$(tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
    parent=
    while read -r key value; do [ "$key" != PPid: ] || parent=$value; done <"/proc/$process/status"
    process=$parent
done
section "ssh $connection"
server=${connection#* * }
[ -n "$connection" ] && ip -o addr show to "${server%% *}" | awk '{ print " " $2 }'

section guarded
[ -n "$guarded" ] && printf '%s\n' "$guarded" | indented
section folders
for path in /etc/wgcluster /etc/nginx/wgcluster; do
    [ -d "$path" ] && [ -z "$(ls -A "$path")" ] && echo " $path"
done
section lists
for path in $lists; do echo " $path"; done
if [ "$dump" = 1 ] && command -v nginx >/dev/null; then
    # What it says of its configuration, the configuration if it is sound, its status in the last line.
    read=$({ nginx -T 2>&1; status=$?; echo; echo "$status"; } | base64 -w 0)
    section nginx
    echo " $read"
    section nginx-links
    paths=$(echo "$read" | base64 -d | sed -n 's/^# configuration file \(.*\):$/\1/p')
    targets=$(printf '%s\n' "$paths" | tr '\n' '\0' | xargs -0 realpath 2>/dev/null) ||
        targets=$(printf '%s\n' "$paths" | while read -r path; do realpath "$path" 2>/dev/null || echo "$path"; done)
    while read -r path; do
        target=${targets%%"$newline"*} targets=${targets#*"$newline"}
        [ "$target" = "$path" ] || echo " $path $target"
    done <<END
$paths
END
fi
section end
