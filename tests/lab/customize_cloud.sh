#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Turns a fresh Debian root directory into a cloud image: no account that can log in, no identity of its own.
# mmdebstrap runs it on the host as its customize hook: customize_cloud.sh ROOT
set -eu
root=$1

: > "$root/etc/machine-id"
echo localhost > "$root/etc/hostname"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
printf '/dev/vda2 / ext4 rw,noatime 0 0\n' > "$root/etc/fstab"
rm -f "$root/etc/resolv.conf"
: > "$root/etc/resolv.conf"
systemctl --root="$root" --quiet enable systemd-networkd.service
# Consoles and housekeeping cost emulated processor time and serve nobody in a VM that lives for minutes.
systemctl --root="$root" --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service \
    systemd-networkd-wait-online.service systemd-networkd-persistent-storage.service
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
passwd --root "$root" --lock root > /dev/null
