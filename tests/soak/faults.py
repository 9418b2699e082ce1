# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of docs/faults.md and others like them, as shell scripts for a node of the soak.

A script of `make` fails with 3 when what it is to hit does not come in time: then there is no fault.
"""

from __future__ import annotations

from tests.demo.own_lab import HEAD, NODES

from .plan import Fault

EXECUTE = "/var/lib/condor/execute"
LEASES = "/run/condor_vac/leases"
# The node whose EXECUTE is a small disk of its own; that of the others is the host's, which must not be full.
SMALL = (NODES[1],)
# Memory, of which the files of VMs use little.
SMALL_SIZE = "8g"
_USED = f"set -- $(df --output=used {EXECUTE})"
FILL = f"{_USED}; mount -o remount,size=$(($2 + 64))k {EXECUTE} && df --output=avail {EXECUTE}"
# What an administrator does whom doctor shows a lease that was put aside.
CLEARED = "rm -rf /run/condor_vac/damaged/*"
NO_LEASE = f"{LEASES}/12345678-1234-1234-1234-123456789abc.json"
ACCESS_POINT = (HEAD,)
EVERYWHERE = (HEAD, *NODES)
# What the lab or a playbook does to a node: words in the place of scripts.
ACTIONS = CUT, BOOT, DRAIN, UNDRAIN = "cut", "boot", "drain", "undrain"
WAIT_SECONDS = 25
VMS = "JobUniverse == 13"
FACTORY = "/var/lib/condor_vac/work"
VMS_WELL = "VMs start there again"


def one_of(what: str, act: str, seconds: int = WAIT_SECONDS) -> str:
    """Do something to the first (``$1``) of what a command prints, which may have to be waited for."""
    loop = f"for i in $(seq {seconds * 5}); do set -- $({what}); [ $# -gt 0 ] && break; sleep 0.2; done"
    return f"{loop}; [ $# -gt 0 ] || exit 3; echo $1; {act}"


def killed(pattern: str, number: str = "KILL") -> str:
    """Send a signal to the first process with this in its command line; the brackets keep this script out."""
    return one_of(f"pgrep -f '{_hidden(pattern)}'", f"kill -{number} $1")


def all_signalled(pattern: str, number: str) -> str:
    """Send a signal to all processes with this in their command lines."""
    return f"pkill -{number} -f '{_hidden(pattern)}'"


def _hidden(pattern: str) -> str:
    return f"[{pattern[0]}]{pattern[1:]}"


def service_killed(name: str) -> str:
    """SIGKILL the main process of a service."""
    return f"systemctl kill --kill-whom=main --signal=KILL {name}"


def vm_job(state: int, act: str) -> str:
    """Do something to a VM job (``$1``) that is in this state."""
    return one_of(f"condor_q -allusers -constraint '{VMS} && JobStatus == {state}' -af:j JobStatus", act)


_ON_NODES = (
    Fault("vac_watch is killed in a run", NODES, f"systemctl start --no-block vac_watch; {killed('libexec/vac_watch')}",
          "its next run goes on; no VM ends for it"),
    Fault("vac_watch is stopped for 40 s", NODES, killed("libexec/vac_watch", "STOP"),
          "its next run goes on; no VM ends for it", all_signalled("libexec/vac_watch", "CONT"), 40),
    Fault("libvirtd is killed", NODES, service_killed("libvirtd"), "systemd starts it again; VMs live on"),
    Fault("libvirtd is stopped for 40 s", NODES, all_signalled("sbin/libvirtd", "STOP"), "VMs live on, and start again",
          all_signalled("sbin/libvirtd", "CONT"), 40),
    Fault("nginx is killed", NODES, service_killed("vac_http"), "systemd starts it again; VMs live on"),
    Fault("QEMU is killed", NODES, killed("qemu-system-x86_64 -name guest=vac"), "its job ends, crashed"),
    Fault("a VM is destroyed by an administrator", NODES, one_of("virsh -q list --name", "virsh destroy $1"),
          "its job ends, removed"),
    Fault("a VM is paused for 30 s", NODES, one_of("virsh -q list --name", "virsh suspend $1"), "it goes on",
          "for each in $(virsh -q list --state-paused --name); do virsh resume $each; done", 30),
    Fault("a starter is killed", NODES, killed("condor_starter"), "its job runs again; nothing is left of its VM"),
    Fault("vm-gahp is killed", NODES, killed("condor_vm-gahp"), "its job runs again; nothing is left of its VM"),
    Fault("the prepare hook is killed", NODES, killed("libexec/vac_prepare_hook"), "its job runs again"),
    Fault("libvirt's hook is killed", NODES, killed("libvirt/hooks/qemu"), "the end of its VM is recorded"),
    Fault("the startd is killed", NODES, killed("condor_startd"), VMS_WELL),
    Fault("HTCondor is restarted", NODES, "systemctl restart condor", VMS_WELL),
    Fault("HTCondor is killed, with all its processes", NODES, "systemctl kill --signal=KILL condor", VMS_WELL),
    Fault("HTCondor's startd is off for 30 s", NODES, "condor_off -fast -startd", VMS_WELL, "condor_on -startd", 30),
    Fault("its jobs are vacated", NODES, "condor_vacate -fast", "they run again"),
    Fault("EXECUTE is full for 30 s", SMALL, FILL, VMS_WELL, f"mount -o remount,size={SMALL_SIZE} {EXECUTE}", 30),
    Fault("EXECUTE cannot be read for 30 s", NODES, f"chmod 0 {EXECUTE}", VMS_WELL, f"chmod 755 {EXECUTE}", 30),
    Fault("a lease is removed by hand", NODES, one_of(f"ls {LEASES}/*.json", "rm $1"), "its VM is destroyed",
          takes_lease=True),
    Fault("a lease is damaged for 40 s", NODES, one_of(f"ls {LEASES}/*.json", "echo '{' > $1; echo $1 > /run/damaged"),
          "other VMs are served; its VM is destroyed", f"rm -f $(cat /run/damaged) /run/damaged; {CLEARED}", 40,
          takes_lease=True),
    Fault("a lease that is none appears for 40 s", NODES, f"mkdir {NO_LEASE}", "VMs are served",
          f"rm -rf {NO_LEASE}; {CLEARED}", 40),
    Fault("the lock of the leases is held for 30 s", NODES,
          "systemd-run --quiet --unit=holds_lock flock /run/condor_vac/lock sleep 600", "VMs are served",
          "systemctl stop holds_lock", 30),
    Fault("the images are away for 20 s", NODES, "mv /var/lib/condor_vac/images /var/lib/condor_vac/images.away",
          VMS_WELL, "mv /var/lib/condor_vac/images.away /var/lib/condor_vac/images", 20),
    Fault("a shutdown is planned in 20 s, for 40 s", NODES, "condor_vac shutdowntime set +20", "its VMs ended with 100",
          "condor_vac shutdowntime cancel", 40),
    Fault("it is drained for 60 s", NODES, DRAIN, "no VM ends for it; " + VMS_WELL, UNDRAIN, 60),
)  # fmt: skip
_ON_HEAD = (
    Fault("the schedd is killed", ACCESS_POINT, killed("condor_schedd"), "VMs live on; the factories act again"),
    Fault("the schedd is stopped for 40 s", ACCESS_POINT, killed("condor_schedd", "STOP"), "VMs live on",
          all_signalled("condor_schedd", "CONT"), 40),
    Fault("a shadow is killed", ACCESS_POINT, killed("condor_shadow"), "its job runs again"),
    Fault("the collector is killed", ACCESS_POINT, killed("condor_collector"), "VMs live on"),
    Fault("the negotiator is killed", ACCESS_POINT, killed("condor_negotiator"), "VMs live on"),
    Fault("the access point's HTCondor is restarted", ACCESS_POINT, "systemctl restart condor",
          "the factories act again"),
    Fault("a factory is killed", ACCESS_POINT, killed("libexec/vac_factory"), "HTCondor starts it again"),
    Fault("a factory is stopped for 40 s", ACCESS_POINT, killed("libexec/vac_factory", "STOP"), "it goes on",
          all_signalled("libexec/vac_factory", "CONT"), 40),
    Fault("a factory's state is damaged, and it is killed", ACCESS_POINT,
          f"echo '{{' > {FACTORY}/state.json; {killed('vac_factory .*work.json')}", "it goes on from the queue"),
    Fault("a factory is held for 30 s", ACCESS_POINT, "condor_hold -constraint 'VacFactory == \"work\"'", "it goes on",
          "condor_release -constraint 'VacFactory == \"work\"'", 30),
    Fault("a factory is vacated", ACCESS_POINT, "condor_vacate_job -constraint 'VacFactory == \"work\"'", "it goes on"),
    Fault("a machinetype's file is damaged for 30 s", ACCESS_POINT,
          "cd /etc/condor_vac/machinetypes; cp -p work.json /run/work.json; echo '{' > work.json",
          "the last good one serves",
          "cat /run/work.json > /etc/condor_vac/machinetypes/work.json", 30),
    Fault("a running VM's job is removed", ACCESS_POINT, vm_job(2, "condor_rm $1"), "nothing is left of its VM"),
    Fault("an idle VM's job is removed", ACCESS_POINT, vm_job(1, "condor_rm $1"), "nothing is left of it"),
    Fault("a VM's job is held for 20 s", ACCESS_POINT, vm_job(2, "condor_hold $1"), "it runs again",
          f"condor_release -constraint '{VMS} && HoldReasonCode == 1' || true", 20),
    Fault("a VM's job is vacated", ACCESS_POINT, vm_job(2, "condor_vacate_job -fast $1"), "it runs again"),
    Fault("the task queue is away for 30 s", ACCESS_POINT, "systemctl stop taskqueue", "VMs work again",
          "systemctl start taskqueue", 30),
)  # fmt: skip
_ANYWHERE = (
    Fault("its network is away for 30 s", EVERYWHERE, "ip link set host0 down", "VMs live on",
          "ip link set host0 up", 30),
    Fault("its network is away for 90 s", EVERYWHERE, "ip link set host0 down", "its VMs' jobs run again",
          "ip link set host0 up", 90),
    Fault("its power is cut, and on again after 10 s", EVERYWHERE, CUT, "its VMs' jobs run again", BOOT, 10),
)  # fmt: skip
FAULTS = (*_ON_NODES, *_ON_HEAD, *_ANYWHERE)

# For the nodes in SMALL, before the pool works: a disk for EXECUTE that survives no power cut.
SMALL_DISK = f"""cat > /etc/systemd/system/var-lib-condor-execute.mount << END
[Unit]
Before=condor.service
[Mount]
What=tmpfs
Where={EXECUTE}
Type=tmpfs
Options=size={SMALL_SIZE},mode=0755,uid=$(id -u condor),gid=$(id -g condor)
[Install]
WantedBy=multi-user.target
END
systemctl stop condor && systemctl daemon-reload && systemctl enable --now var-lib-condor-execute.mount
systemctl start condor"""
