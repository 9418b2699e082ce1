#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Ends the two experiments' factories and VMs, and forgets their work.
set -eu
for name in alpha beta; do
    condor_rm -constraint "JobUniverse == 7 && VacFactory == \"$name\"" || true
done
for _ in $(seq 60); do
    factories=$(condor_q -allusers -constraint 'JobUniverse == 7' -af VacFactory)
    case "$factories" in
        *alpha* | *beta*) sleep 2 ;;
        *) break ;;
    esac
done
for name in alpha beta; do
    condor_rm -constraint "JobUniverse == 13 && VacMachinetype == \"$name\"" || true
done
rm -rf /etc/condor_vac/proxy
systemctl restart taskqueue
