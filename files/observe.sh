# Everything the deploy has to know of a host, read in one go and changing nothing.
# Sent as one command with these set: interface, files (of ours), sites (of nginx), dump (1: nginx -T as well), port
# (that the interface is to listen on), towards (addresses that it dials), names (of DNS, that it may dial).
# Each section starts with "@ name", as no line does that a program prints here. What there is none of is said, too:
# a section that is missing is a fault (observed.py), and so is an empty line. No secret leaves the host: values of
# PrivateKey and PresharedKey lines are cut out here, a digest tells whether they are the right ones.
#
# A program costs more than all that the shell does by itself: one looks at all files, units and peers at once, and
# what it prints is taken apart on the controller.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
newline='
'
tab='	'

section() { printf '@ %s\n' "$*"; }
# What others wrote, as a comment of a rule, may be in any encoding, and pyinfra reads UTF-8 alone; it may break a
# line, too, and look like a section of ours.
ascii() {
    case $1 in
    '') ;;
    *[!\ -~"$newline$tab"]* | *"$newline@ "*) printf '%s\n' "$1" | tr '\200-\377' '?' | sed 's/^@/?/' ;;
    *) printf '%s\n' "$1" ;;
    esac
}
# The first line of a file, where it can be read.
line_of() { line=; [ -r "$1" ] && read -r line <"$1" 2>/dev/null; }
# wg reads keys in any case and overlooks every blank in a line; what is commented out may be a secret still.
masked() {
    awk '{ squeezed = tolower($0); gsub(/[ \t\r\v\f]/, "", squeezed)
           if (squeezed ~ /(privatekey|presharedkey)=/) print substr($0, 1, index($0, "=")) " (hidden)"
           else print }' "$1"
}
# Of each path: what it is, mode, owner, size, digest, the path behind its links; then the texts of all, one after
# the other, the config last, for what is cut out of it changes its size, and a dot as the end.
files() {
    there=
    others=
    for path; do
        case " $there " in *" $path "*) continue ;; esac
        if [ -f "$path" ]; then
            there="$there $path"
            [ "$path" = "$config" ] || others="$others $path"
        elif [ -e "$path" ]; then section "file $path other"
        elif [ -L "$path" ]; then section "file $path dangling"
        else section "file $path absent"; fi
    done
    [ -n "$there" ] || return
    # shellcheck disable=SC2086 # none of them has a blank
    # a group may have a blank in its name; sha256sum escapes a line whose path has a backslash
    { facts=$(stat -L -c '%a/%s/%U:%G' $there) && digests=$(sha256sum $there) && targets=$(realpath $there); } || exit
    case $facts in *" "*) facts=$(printf '%s\n' "$facts" | tr ' ' _) ;; esac
    for path in $there; do
        fact=${facts%%"$newline"*} digest=${digests%% *} mode=${facts%%/*}
        fact=${fact#*/}
        section "file $path file $mode ${fact#*/} ${fact%%/*} ${digest#\\} ${targets%%"$newline"*}"
        facts=${facts#*"$newline"} digests=${digests#*"$newline"} targets=${targets#*"$newline"}
    done
    section "texts $config"
    # shellcheck disable=SC2086 # none of them has a blank
    { [ -z "$others" ] || cat $others; [ ! -f "$config" ] || masked "$config"; printf .; } | base64 -w 0
    echo
}
is_empty() {
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then return 1; fi
    done
}

# While all else is looked at, which reads the results in the end: 3 s for all names together.
resolve() {
    # shellcheck disable=SC2086 # a word for each name
    [ -z "$names" ] || printf '%s\n' $names | {
        while read -r name; do
            if timeout 3 getent ahosts "$name" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi &
        done
        wait
    }
}
resolve | {
exec 3<&0 </dev/null

while read -r key _ user _; do [ "$key" != Uid: ] || break; done </proc/self/status # effective, proc_pid_status(5)
section "user $user"
section tools
for tool in apt-get dnf pacman apk systemctl wg wg-quick wireguard-go iptables ip6tables nginx; do
    command -v "$tool" >/dev/null && echo "$tool"
done

section module
if [ -e /sys/module/wireguard ]; then echo loaded
elif modinfo wireguard >/dev/null 2>&1; then echo available
else
    echo missing
    if systemd-detect-virt --quiet --container 2>/dev/null; then echo container; fi
fi

section "directory $(stat -L -c '%a %U:%G' /etc/wireguard 2>/dev/null)"
config=/etc/wireguard/$interface.conf
guarded=
if [ -r /etc/nginx/wgcluster/guarded ]; then
    while read -r path; do guarded="$guarded$path$newline"; done </etc/nginx/wgcluster/guarded
fi
lists=
for path in /etc/nginx/wgcluster/*.conf; do [ -f "$path" ] && lists="$lists $path"; done
# shellcheck disable=SC2086 # none of them has a blank
files "$config" $files $lists $sites $guarded

# is-enabled says nothing of a unit that there is none of: then each is asked alone.
services="wg-quick@$interface.service wgcluster-firewall@$interface.service"
linked="wgcluster-firewall-early@$interface.service wgcluster-firewall-again@$interface.service"
linked="$linked wgcluster-endpoints@$interface.timer nginx.service ufw.service firewalld.service"
units="$services $linked"
# shellcheck disable=SC2086 # a word for each unit
active=$(systemctl is-active $units 2>/dev/null)
# shellcheck disable=SC2086
enabled=$(systemctl is-enabled $services 2>/dev/null)
case $enabled in
*"$newline"*) ;;
*) enabled=$(for unit in $services; do
    state=$(systemctl is-enabled "$unit" 2>/dev/null)
    echo "${state:--}" # an empty last line would be lost, and the next unit's state be taken for this one's
done) ;;
esac
# Of the others a link says it, which costs no program.
wanted() {
    for link in "/etc/systemd/system/"*".wants/$1"; do
        if [ -L "$link" ]; then enabled=$enabled${newline}enabled; return; fi
    done
    enabled=$enabled$newline-
}
for unit in $linked; do wanted "$unit"; done
for unit in $units; do
    section "unit $unit ${enabled%%"$newline"*} / ${active%%"$newline"*}"
    enabled=${enabled#*"$newline"} active=${active#*"$newline"}
done
section ufw
[ -r /etc/ufw/ufw.conf ] && grep -i '^ENABLED=' /etc/ufw/ufw.conf

if [ -e "/sys/class/net/$interface" ]; then
    line_of "/sys/class/net/$interface/mtu"; mtu=$line
    line_of "/sys/class/net/$interface/flags"
    section "link $interface $mtu $line"
else
    section "link $interface absent"
    if [ -f "$config" ] && command -v wg >/dev/null; then
        # The file alone can tell whose this host is. The private key goes from one program to the next, no further.
        section config-key
        sed -n 's/^PrivateKey *= *//p' "$config" | wg pubkey 2>/dev/null
    fi
fi
section routes 4
ip -o -4 route show table all
section routes 6
routes=$(ip -o -6 route show table all 2>/dev/null)
[ -z "$routes" ] || printf '%s\n' "$routes"
# Which table is asked first. There is nothing to tell where the kernel has only one, or no such family.
section policy 4
ip -o -4 rule show 2>/dev/null
section policy 6
ip -o -6 rule show 2>/dev/null
shown=
if command -v wg >/dev/null; then
    # It holds keys; what leaves the host is cut out of it.
    dumped=$(wg show all dump)
    # of what is no interface of WireGuard: nothing; public key, port; then each peer: public key, PSK or not, endpoint, allowed IPs, handshake, keepalive;
    # of other interfaces: name, public key, port
    shown=$(printf '%s\n' "$dumped" | awk -F'\t' -v OFS='\t' -v own="$interface" '
        $1 "" == own "" && NF == 5 { print "@ dump"; print $3, $4; there = 1 }
        $1 "" == own "" && NF > 5 { print $2, ($3 == "(none)" ? "-" : "psk"), $4, $5, $6, $9 }
        $1 "" != own "" && NF == 5 { others = others "\n" $1 " " $3 " " $4 }
        END { if (!there) print "@ dump"; print "@ interfaces" others }')
    printf '%s\n' "$shown"
    case $shown in *"${tab}psk$tab"*)
        section preshared
        # what "wg show INTERFACE preshared-keys | grep -v none | sort | sha256sum" prints
        digest=$(printf '%s\n' "$dumped" | awk -F'\t' -v OFS='\t' -v own="$interface" \
            '$1 "" == own "" && NF > 5 && $3 != "(none)" { print $2, $3 }' | sort | sha256sum)
        echo "${digest%% *}"
        ;;
    esac
fi

# Who has the UDP port; sockets of the kernel count, too, our own among them. And what the files of sysctl.d(5) say of
# forwarding and IPv6: all are named, for an empty one, or a link to /dev/null, masks another.
set --
for path in /proc/net/udp /proc/net/udp6; do [ -r "$path" ] && set -- "$@" "$path"; done
named=
for folder in /etc /run /usr/local/lib /usr/lib /lib; do
    [ ! -L "$folder" ] || continue
    for path in "$folder"/sysctl.d/*.conf; do
        if [ -f "$path" ] && [ -r "$path" ]; then set -- "$@" "$path"
        elif [ ! -L "$path" ] && [ ! -e "$path" ]; then continue; fi
        named=$named$newline$path
    done
done
found=$(awk -v port="$port" '
    FILENAME ~ "^/proc/" { if ($2 ~ sprintf(":%04X$", port)) state = "bound"; next }
    /^[ \t]*[^ \t#;].*(forward|disable_ipv6)/ { lines = lines "\n" FILENAME "\t" $0 }
    END { print (state ? state : "free") lines }' "$@" </dev/null)
bound=${found%%"$newline"*}
section "port $bound"
own=${shown#*"$tab"}
if [ "$bound" = bound ] && [ "${own%%"$newline"*}" != "$port" ]; then
    ascii "$(ss -Hlunp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u)"
fi
section sysctl-files
named=$named${found#"$bound"}
ascii "${named#"$newline"}"
section sources
# shellcheck disable=SC2086 # a word for each address
[ -z "$towards" ] || { printf 'route get %s\n' $towards | ip -o -force -batch - 2>/dev/null; }
section addresses
ascii "$(ip -o addr show)"
section "clock $(date +%s)"
line_of /proc/sys/net/ipv4/ip_forward; forwarding=${line:--}
line_of /proc/sys/net/ipv6/conf/all/forwarding
forwarding="$forwarding ${line:--}"
if [ -w /proc/sys/net/ipv4/ip_forward ]; then section "forwarding $forwarding writable"
else section "forwarding $forwarding read-only"; fi
section sysctls
# Of interfaces whose default route comes from router advertisements: how far the kernel listens to them.
advertised=
case $routes in *" proto ra"*)
    advertised=$(printf '%s\n' "$routes" | sed -n '/^default .*proto ra/!d; / table /d; s/.* dev \([^ ]*\).*/\1/p' | sort -u) ;;
esac
# shellcheck disable=SC2086 # a word for each interface
for key in $(printf 'net/ipv6/conf/%s/accept_ra ' $advertised) \
    net/ipv4/conf/all/send_redirects "net/ipv4/conf/$interface/send_redirects" \
    net/ipv6/conf/all/disable_ipv6 net/ipv6/conf/default/disable_ipv6 "net/ipv6/conf/$interface/disable_ipv6"; do
    line_of "/proc/sys/$key"
    [ -n "$line" ] && echo "$key $line"
done
# What comes in by an interface whose value is 0 is not forwarded, whatever ip_forward is.
case $forwarding in 1*)
    for path in /proc/sys/net/ipv4/conf/*/forwarding; do
        line_of "$path"
        [ "$line" != 0 ] || echo "${path#/proc/sys/} 0"
    done ;;
esac

# The backend that "iptables" stands for, then the other one where it holds a table; "none": nothing can be read, and why.
# Its -save says so too, with what it was built into since 1.8.8: other versions are asked.
backend() {
    case $comment in *"(nf_tables)"*) echo nft; return ;; esac
    case $("$1" -V 2>/dev/null) in *nf_tables*) echo nft ;; *) echo legacy ;; esac
}
for family in 4 6; do
    if [ "$family" = 4 ]; then name=iptables; loaded=/proc/net/ip_tables_names
    else name=ip6tables; loaded=/proc/net/ip6_tables_names; fi
    if ! command -v "$name-save" >/dev/null || ! saved=$("$name-save" 2>/dev/null); then
        section "rules $family $name none"
        ! command -v "$name-save" >/dev/null || ascii "$("$name-save" 2>&1 >/dev/null | head -n 1)"
        section "rules $family - none"
        continue
    fi
    comment=${saved%%"$newline"*}
    first=$(backend "$name")
    section "rules $family $name primary"
    ascii "$saved"
    there=1
    if [ "$first" = nft ]; then
        other="$name-legacy"
        line_of "$loaded" # files in /proc have no size
        [ -n "$line" ] || there=
    else other="$name-nft"; fi
    if [ -n "$there" ] && command -v "$other-save" >/dev/null; then
        section "rules $family $other other"
        ascii "$("$other-save" 2>/dev/null)"
    else
        section "rules $family $other none"
    fi
done

if command -v nft >/dev/null; then
    section nft
    # Without the elements of sets, which may be a list of attackers as long as it likes; those of a map may decide.
    ruleset=$(nft -j -t list ruleset 2>/dev/null)
    case $ruleset in '' | *'"data": "@'*) ruleset=$(nft -j list ruleset 2>&1) ;; esac
    ascii "$ruleset"
else
    section nft absent
fi

# sudo strips SSH_CONNECTION; a parent of this shell still has it.
connection=$SSH_CONNECTION
process=$$
while [ -z "$connection" ] && [ "${process:-0}" -gt 1 ]; do
    environment=$newline$(tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null)
    case $environment in *"${newline}SSH_CONNECTION="*)
        connection=${environment#*"${newline}SSH_CONNECTION="} connection=${connection%%"$newline"*} ;;
    esac
    parent=
    while read -r key value; do [ "$key" != PPid: ] || parent=$value; done <"/proc/$process/status"
    process=$parent
done
section "ssh $connection"
server=${connection#* * }
[ -n "$connection" ] && ip -o addr show to "${server%% *}" | awk '{ print $2 }'

section guarded
printf %s "$guarded"
section folders
for path in /etc/wgcluster /etc/nginx/wgcluster; do
    [ -d "$path" ] && is_empty "$path" && echo "$path"
done
section lists
for path in $lists; do echo "$path"; done
section replacement
[ -d /etc/nginx/wgcluster/.work ] && echo "cut off"
if [ "$dump" = 1 ] && command -v nginx >/dev/null; then
    # What it says of its configuration, the configuration if it is sound, its status in the last line.
    read=$({ nginx -T 2>&1; status=$?; echo; echo "$status"; } | base64 -w 0)
    section nginx
    echo "$read"
    section nginx-links
    paths=$(echo "$read" | base64 -d | sed -n 's/^# configuration file \(.*\):$/\1/p')
    targets=$(printf '%s\n' "$paths" | tr '\n' '\0' | xargs -0 realpath 2>/dev/null) ||
        targets=$(printf '%s\n' "$paths" | while read -r path; do realpath "$path" 2>/dev/null || echo "$path"; done)
    while read -r path; do
        target=${targets%%"$newline"*} targets=${targets#*"$newline"}
        [ "$target" = "$path" ] || echo "$path $target"
    done <<END
$paths
END
    # What nginx runs: its workers begin anew whenever it reads its files. Their starts are told in ticks since the boot,
    # beside that of the program that reads them: now. Files, and folders of nginx that files are included from, were
    # changed (moved into place, too) at the times that stand before them.
    master=$(systemctl show -p MainPID --value nginx 2>/dev/null)
    case $master in '' | 0) line_of /run/nginx.pid; master=$line ;; esac
    workers=$(pgrep -P "${master:-0}" -f '^nginx: worker process *$')
    section "workers $(date +%s.%N)"
    # shellcheck disable=SC2046,SC2086 # a word for each worker
    [ -z "$workers" ] || cat /proc/self/stat $(printf '/proc/%s/stat ' $workers) 2>/dev/null
    section changed
    included=$(printf '%s\n' "$paths" | sed -n 's|^\(/etc/nginx/.*\)/[^/]*$|\1|p' | sort -u | grep -vx /etc/nginx/wgcluster)
    ascii "$(printf '%s\n' "$paths" "$included" | tr '\n' '\0' | xargs -0 stat -L -c '%.9Z %n' 2>/dev/null)"
fi
if [ -n "$names" ]; then
    section names
    cat <&3
fi
section end
}
