# Connects to each of $targets (ADDRESS=PORT), sent as one command; prints a line each, in their order: yes, no, or "-"
# where there is no program to connect with.
connect() {
    if command -v bash; then timeout 5 bash -c "exec 3<>'/dev/tcp/$1/$2'"
    elif command -v nc; then timeout 5 nc -z "$1" "$2"
    elif command -v curl; then
        # 52: connected, and no answer; 28: it was too slow, or waits for what we do not send
        case $1 in *:*) url=http://[$1]:$2/ ;; *) url=http://$1:$2/ ;; esac
        curl --disable -s -o /dev/null --connect-timeout 5 -m 5 -w '%{time_connect}' "$url" | grep -q '[1-9]'
    else return 3; fi
}
number=0
for target in $targets; do
    number=$((number + 1))
    (
        connect "${target%=*}" "${target##*=}" </dev/null >/dev/null 2>&1
        case $? in 0) word=yes ;; 3) word=- ;; *) word=no ;; esac
        echo "$number $word"
    ) &
    [ $((number % 32)) != 0 ] || wait
done | sort -n | cut -d' ' -f2
