#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# PID 1 of the smoke VM: reads the context ISO, then its features, writes an output and its shutdown message, and ends.
# bash speaks HTTP itself (/dev/tcp), so that the image needs few programs.

export PATH=/usr/sbin:/usr/bin HOME=/root
CONTEXT_WAIT=300
MJF=169.254.169.253
METADATA=169.254.169.254

say() {
    read -r up _ < /proc/uptime
    echo "smoke[$up] $*"
}

power_off() {
    say "power off"
    echo o > /proc/sysrq-trigger
    while :; do sleep 60; done
}

broken() {
    say "BROKEN: $*"
    message "600 smoke: $*"
    power_off
}

# http METHOD HOST PATH [FILE]: the body on standard output; fails unless the answer is 2xx.
http() {
    local line status body=''
    exec 3<> "/dev/tcp/$2/80" || return 1
    if [ -n "${4:-}" ]; then body=$(< "$4")$'\n'; fi
    printf '%s %s HTTP/1.0\r\nHost: %s\r\nContent-Length: %s\r\n\r\n%s' "$1" "$3" "$2" "${#body}" "$body" >&3
    IFS= read -r status <&3
    while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do :; done
    cat <&3
    exec 3>&-
    case $status in 'HTTP/1.'?' 2'*) return 0 ;; *) say "$1 $2$3: $status" >&2; return 1 ;; esac
}

# feature machinefeatures|jobfeatures KEY
feature() {
    if [ "$SMOKE_SHARING" = http ]; then http GET "$MJF" "/$1/$2"; else cat "/etc/$1/$2"; fi
}

# publish FILE
publish() {
    if [ "$SMOKE_SHARING" = http ]; then
        http PUT "$MJF" "/joboutputs/${1##*/}" "$1" > /dev/null
    else
        cat "$1" > "/etc/joboutputs/${1##*/}"
    fi
}

message() {
    echo "$*" > /run/shutdown_message
    publish /run/shutdown_message || say "no place for the shutdown message"
}

# amiconfig looks at CDs and at disks other than the first of each bus; so does this.
find_context() {
    local device
    while [ "$SECONDS" -lt "$CONTEXT_WAIT" ]; do
        for device in /dev/sr[01] /dev/sd[bcd] /dev/vd[bcd]; do
            [ -b "$device" ] || continue
            mount -t iso9660 -o ro "$device" /mnt 2> /dev/null || continue
            [ ! -f /mnt/context.sh ] || { say "context ISO: $device"; return 0; }
            umount /mnt
        done
        sleep 1
    done
    return 1
}

# The VM's address is in its MAC: the last two bytes of both are the same.
network() {
    local path mac link bytes
    ip link set lo up
    for path in /sys/class/net/*/address; do
        mac=$(< "$path")
        case $mac in 52:54:00:76:*) link=${path%/address}; link=${link##*/}; break ;; esac
    done
    [ -n "${link:-}" ] || return 1
    IFS=. read -r -a bytes <<< "${SMOKE_GATEWAY%/*}"
    ADDRESS=${bytes[0]}.${bytes[1]}.$((16#${mac:12:2})).$((16#${mac:15:2}))
    ip link set "$link" up
    ip address add "$ADDRESS/${SMOKE_GATEWAY#*/}" dev "$link"
    ip route add default via "${SMOKE_GATEWAY%/*}"
    say "network: $link $ADDRESS"
}

check() {
    local value
    for key in machinefeatures/total_cpu jobfeatures/job_id; do
        if ! value=$(feature "${key%/*}" "${key#*/}") || [ -z "$value" ]; then broken "cannot read $key"; fi
        echo "$key $value" >> /run/smoke.txt
    done
    if [ "$SMOKE_SHARING" = http ]; then
        value=$(http GET "$METADATA" /latest/meta-data/instance-id) || broken "cannot read the metadata"
        [ "$value" = "$SMOKE_UUID" ] || broken "the metadata are of another VM"
    fi
    echo "smoke $SMOKE_TOKEN" >> /run/smoke.txt
    publish /run/smoke.txt || broken "cannot write an output"
}

mkdir -p /proc /sys /dev /run /tmp /root /mnt /etc/profile.d
mount -n -t proc proc /proc
mount -n -t sysfs sys /sys
mount -n -t devtmpfs dev /dev
exec < /dev/console > /dev/console 2>&1
say "kernel up"
while read -r name; do
    insmod "/usr/lib/smoke/$name.ko" || say "module $name does not load"
done < /usr/lib/smoke/modules

SMOKE_SHARING=''
find_context || { say "no context ISO"; power_off; }
# shellcheck source=/dev/null
. /mnt/context.sh
base64 -d <<< "$EC2_USER_DATA" > /run/user-data
# shellcheck source=/dev/null
. /run/user-data
say "user data: sharing $SMOKE_SHARING, gateway $SMOKE_GATEWAY, code $SMOKE_CODE"
network || { say "no network card of a VM"; power_off; }
bash /mnt/prolog.sh start
if [ -r /etc/cernvm/cernvm.d/S50vac.sh ]; then
    # shellcheck source=/dev/null
    (. /etc/cernvm/cernvm.d/S50vac.sh; cernvm_start) || broken "the start script of the context ISO failed"
fi
check
say "checks done"
message "$SMOKE_CODE smoke"
[ "$SMOKE_SHARING" = http ] || umount -a -t nfs,nfs4
power_off
