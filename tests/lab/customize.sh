#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Turns a fresh Debian root directory into one that boots as a machine of the lab.
# mmdebstrap runs it on the host as its customize hook: customize.sh OVERLAY ROOT
set -eu
overlay=$1
root=$2

cp -r --no-preserve=ownership,mode "$overlay/." "$root/"

# A fixed identity, which the kernel command line overrides: an empty one would make systemd see
# a first boot and enable every installed unit.
echo 76616375756d76616375756d76616375 > "$root/etc/machine-id"
echo localhost > "$root/etc/hostname"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
# No name server: names of the outside fail at once. `--internet` and `offline` change this.
rm -f "$root/etc/resolv.conf"
: > "$root/etc/resolv.conf"

systemctl --root="$root" --quiet enable systemd-networkd.service ssh.service
# Housekeeping and consoles nobody looks at: they only cost emulated processor time.
systemctl --root="$root" --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer getty@tty1.service \
    serial-getty@ttyS0.service modprobe@drm.service modprobe@efi_pstore.service \
    systemd-networkd-persistent-storage.service
# Debian ships AppArmor profiles for many programs; compiling those of absent ones takes an emulated
# machine half a minute at each boot. libvirt's are the ones that matter here.
mkdir -p "$root/etc/apparmor.d/disable"
for profile in "$root"/etc/apparmor.d/*; do
    name=${profile##*/}
    case $name in
        usr.sbin.libvirtd | usr.lib.libvirt.virt-aa-helper | usr.bin.man) ;;
        *) [ ! -f "$profile" ] || ln -s "../$name" "$root/etc/apparmor.d/disable/$name" ;;
    esac
done
# Root logs in for each look at the node, and needs no service manager of its own for it: that costs processor time,
# and inotify instances, of which a host gives all containers' root 128.
systemctl --root="$root" --quiet mask user@.service
# What systemd does after an update of /usr was done by the packages: without this each machine does it at its first boot.
touch "$root/etc/.updated" "$root/var/.updated"
# Of each the package has a unit; with its script beside it, `systemctl disable` runs update-rc.d, which makes systemd
# read all units three times.
rm -f "$root"/etc/init.d/*
passwd --root "$root" --lock root > /dev/null
