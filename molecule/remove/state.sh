#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the site playbook may change on a node, as sorted lines. Left out: what packages' own programs write while they run.
set -eu
export LC_ALL=C

find /etc /opt /root /usr/local /var/cache /var/lib /var/spool /run/condor_vac /run/vac_http -xdev \
  \( -path /root/.ansible -o -path /var/cache/apt -o -path /var/lib/apt -o -path /var/lib/condor -o -path /var/spool/condor \
  -o -path '/var/lib/systemd/*' -o -path '/var/lib/libvirt/*' -o -path '/var/cache/libvirt/*' -o -path '/var/lib/nfs/*' \
  -o -name __pycache__ \) -prune -o -printf 'file %p %y %m %u:%g %l\n' 2>/dev/null | sort || true
find /etc /usr/local -xdev -type f -not -path '/etc/libvirt/*' -not -name '*-' -exec sha256sum {} + | sed 's/^/content /' | sort -k3
stat -c 'file %n %a %U:%G' /var/lib/libvirt/qemu
systemctl list-unit-files --no-legend --plain --no-pager | grep -v transient | sed 's/^/unit /' | sort
systemctl list-units --no-legend --plain --no-pager --state=active --type=service,socket,timer \
  | awk '{print "active", $1}' | grep -E 'condor|libvirt|nfs|nginx|rpcbind|vac' | sort
virsh net-list --all --name | sed 's/^/network /'
exportfs -v | sed 's/^/export /'
cat /etc/sudoers /etc/sudoers.d/* | sed 's/^/sudoers /'
getent passwd | sed 's/^/user /'
getent group | sed 's/^/group /'
ip -brief link | awk '{print "link", $1}' | sort
condor_config_val -dump | grep -v -e '^#' -e '^P*PID = ' | sed 's/^/condor /' | sort
