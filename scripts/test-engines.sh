#!/usr/bin/env bash
# Tests --executor on a real Slurm and a real Ray, of two nodes each, on this machine.
#
#   scripts/test-engines.sh [TEST…]
#
# Needs root and what scripts/install-slurm.sh and scripts/install-ray.sh install; builds nothing but the tests, so
# "cargo build --workspace" comes first. Everything runs in namespaces of its own: a network that
# has only loopback, and processes that end when this script does.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
ray="${CARGO_TARGET_DIR:-$root/target}/ray/bin/ray"
if [ -z "${DSPERSE_CLUSTER:-}" ]; then
    missing=""
    for tool in slurmctld slurmd munged unshare ip; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    [ -x "$ray" ] || missing="$missing ray"
    [ "$(id -u)" = 0 ] || missing="$missing root"
    if [ -n "$missing" ]; then
        echo "${DSPERSE_REQUIRE_TOOLS:+error: }no cluster can be made here without:$missing (scripts/install-slurm.sh, scripts/install-ray.sh)" >&2
        [ "${DSPERSE_REQUIRE_TOOLS:-}" != 1 ] && exit 0
        exit 1
    fi
    [ "${1:-}" = -- ] || cargo test -q -p dsperse-e2e --test clusters --no-run
    DSPERSE_CLUSTER="$(mktemp -d)"
    export DSPERSE_CLUSTER
    trap 'rm -rf "$DSPERSE_CLUSTER"' EXIT
    unshare --net --pid --mount --fork --kill-child --mount-proc "$0" "$@"
    exit
fi

dir="$DSPERSE_CLUSTER"
ip link set lo up
ip addr add 10.99.0.1/32 dev lo
host="$(hostname -s)"
mkdir -p "$dir/state" "$dir/n1" "$dir/n2" "$dir/disk"
chmod 755 "$dir"
# A disk that is small.
mount -t tmpfs -o size=1m tmpfs "$dir/disk"
head -c 1024 /dev/urandom >"$dir/munge.key"
chmod 400 "$dir/munge.key"
cat >"$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(10.99.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/jobs.txt
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
InactiveLimit=0
MinJobAge=300
KillWait=3
JobRequeue=1
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=50000,batch_sched_delay=1,bf_interval=5
SlurmdParameters=config_overrides
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/%n/pid
SlurmdLogFile=$dir/%n/log
SlurmdSpoolDir=$dir/%n/spool
NodeName=n1 NodeHostname=$host NodeAddr=10.99.0.1 Port=17001 CPUs=2 RealMemory=3000
NodeName=n2 NodeHostname=$host NodeAddr=10.99.0.1 Port=17002 CPUs=2 RealMemory=3000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=200
CONF
export SLURM_CONF="$dir/slurm.conf"
mkdir -p "$dir/n1/spool" "$dir/n2/spool"
munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
slurmctld
for node in n1 n2; do slurmd -N "$node"; done
for _ in $(seq 100); do
    [ "$(sinfo -h -o '%D %t' 2>/dev/null)" = "2 idle" ] && break
    sleep 0.2
done
sinfo -h -o '%D %t' | grep -qx '2 idle' || { echo "error: the cluster does not come up" >&2; cat "$dir"/*.log "$dir"/*/log >&2; exit 1; }

# A head that is gone is given up soon.
export RAY_gcs_rpc_server_reconnect_timeout_s=10
export RAY_USAGE_STATS_ENABLED=0 RAY_ADDRESS=127.0.0.1:6399 PYTHONPATH="$root/bindings/python/src"
export DSPERSE_PYTHON="${ray%/*}/python"
cat >"$dir/start-ray" <<START
#!/bin/sh
# Starts the node of that name; "n2" is the head.
case "\$1" in
n2) unset RAY_ADDRESS; set -- "\$1" --head --port=6399 --include-dashboard=false --temp-dir="$dir/ray" ;;
*) set -- "\$1" --address="$RAY_ADDRESS" ;;
esac
RAY_NODE="\$1"
export RAY_NODE
shift
exec "$ray" start "\$@" --node-ip-address=127.0.0.1 --num-cpus=2 \\
    --memory=3000000000 --object-store-memory=80000000 --disable-usage-stats >"$dir/ray-\$RAY_NODE.log" 2>&1
START
chmod +x "$dir/start-ray"
for node in n2 n1; do "$dir/start-ray" "$node"; done
if [ $# -gt 0 ] && [ "$1" = -- ]; then
    shift
    exec "$@"
fi
cd "$root"
cargo test --offline -q -p dsperse-e2e --test clusters -- --ignored --test-threads=1 "$@"
