#!/usr/bin/env bash
# A throw-away Slurm on one machine: two nodes, fake GPUs that are really scheduled (Debian, root, no systemd).
#   slurm_up.sh install     the packages, about a minute
#   slurm_up.sh up          starts munged, slurmctld and one slurmd per node
#   slurm_up.sh away        stops slurmctld alone: nobody answers, jobs go on
#   slurm_up.sh back        starts it again
#   slurm_up.sh down        stops what it started, and nothing else
# Settings come from the environment: BASE (a folder), NODES, CPUS, MEM_MB, GPUS, PORT0.
set -euo pipefail
BASE=${BASE:?a folder for configuration, state and logs}
NODES=${NODES:-2} CPUS=${CPUS:-4} MEM_MB=${MEM_MB:-16000} GPUS=${GPUS:-3} PORT0=${PORT0:-17000}
HOST=$(hostname -s)
FILES="slurm.conf gres.conf cgroup.conf"
unset SLURM_CONF

install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

nodes() { # each has a port of its own; the first has the GPUs
    local i gres
    for ((i = 1; i <= NODES; i++)); do
        gres=""
        ((i == 1 && GPUS > 0)) && gres="Gres=gpu:toy:$GPUS"
        echo "NodeName=n$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT0 + 10 + i)) CPUs=$CPUS Boards=1" \
            "SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEM_MB $gres State=UNKNOWN"
    done
}

# OverMemoryKill limits memory without cgroups: the job's state is then FAILED, not OUT_OF_MEMORY.
# So long as MinJobAge, scontrol tells of a job that has ended: a slow machine must reach the end of a test.
configure() {
    mkdir -p "$BASE"/{etc,state,spool,log,run,dev,munge}
    local i file
    : >"$BASE/etc/gres.conf"
    for ((i = 0; i < GPUS; i++)); do [ -e "$BASE/dev/gpu$i" ] || mknod -m 666 "$BASE/dev/gpu$i" c 1 3; done
    ((GPUS == 0)) || echo "NodeName=n1 Name=gpu Type=toy File=$BASE/dev/gpu[0-$((GPUS - 1))]" >"$BASE/etc/gres.conf"
    cat >"$BASE/etc/slurm.conf" <<X
ClusterName=toy
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$PORT0
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$BASE/state
SlurmdSpoolDir=$BASE/spool/%n
SlurmctldPidFile=$BASE/run/slurmctld.pid
SlurmdPidFile=$BASE/run/slurmd.%n.pid
SlurmctldLogFile=$BASE/log/slurmctld.log
SlurmdLogFile=$BASE/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
MinJobAge=3600
KillWait=5
OverTimeLimit=0
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=60
GresTypes=gpu
AccountingStorageType=accounting_storage/none
$(nodes)
PartitionName=cpu Nodes=ALL Default=YES MaxTime=08:00:00 DefMemPerCPU=500 State=UP
PartitionName=gpu Nodes=n1 MaxTime=08:00:00 DefMemPerCPU=500 State=UP
PartitionName=urgent Nodes=n1 MaxTime=08:00:00 DefMemPerCPU=500 State=UP PriorityTier=10
X
    # Slurm 22.05 (Debian 12) starts without cgroups; from 23.11 on they must be disabled in so many words
    if [ "$(slurmd -V | grep -oE '[0-9]+' | head -1)" -ge 23 ]; then
        echo 'CgroupPlugin=disabled'
    else
        echo 'CgroupAutomount=no'
    fi >"$BASE/etc/cgroup.conf"
    # at the default path, because the plugin's inner srun forgets SLURM_CONF with all other SLURM_* variables
    for file in $FILES; do
        if [ -e "/etc/slurm/$file" ] && [ ! -L "/etc/slurm/$file" ]; then
            echo "/etc/slurm/$file belongs to another Slurm: nothing is started" >&2
            exit 3
        fi
    done
    mkdir -p /etc/slurm
    for file in $FILES; do ln -sfn "$BASE/etc/$file" "/etc/slurm/$file"; done
}

up() {
    configure
    mkdir -p /run/munge
    chmod 755 "$BASE/munge" /run/munge
    (umask 077 && head -c 128 /dev/urandom >"$BASE/munge/munge.key")
    # --force: folders above, such as /tmp, may be written by all, which munged refuses otherwise
    munged --force --socket=/run/munge/munge.socket.2 --key-file="$BASE/munge/munge.key" \
        --pid-file="$BASE/run/munged.pid" --seed-file="$BASE/munge/munge.seed" \
        --log-file="$BASE/log/munged.log" 2>"$BASE/log/munged.start"
    slurmctld
    local i
    for ((i = 1; i <= NODES; i++)); do
        mkdir -p "$BASE/spool/n$i"
        slurmd -N "n$i"
    done
    for ((i = 0; i < 100; i++)); do
        [ "$(sinfo -h -N -o '%T' 2>/dev/null | sort -u)" = idle ] && return
        sleep 0.2
    done
    sinfo -N -o '%N %T %c %m %G' >&2
    echo "the nodes did not become idle within 20 s: see $BASE/log" >&2
    exit 4
}

stop() {
    local file pid pids=()
    for file in "$@"; do
        [ -s "$file" ] && pid=$(cat "$file") && kill "$pid" 2>/dev/null && pids+=("$pid")
    done
    for pid in "${pids[@]}"; do
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null
    done
}

away() {
    stop "$BASE/run/slurmctld.pid"
    true
}

back() {
    slurmctld
    for _ in $(seq 100); do
        scontrol ping | grep -q 'is UP' && return
        sleep 0.2
    done
    echo "slurmctld does not answer after 20 s: see $BASE/log" >&2
    exit 4
}

down() {
    [ "$(readlink /etc/slurm/slurm.conf)" = "$BASE/etc/slurm.conf" ] && scancel -u root >/dev/null 2>&1
    local file
    # together: those that stay would wait for those that are gone
    stop "$BASE"/run/slurmd.*.pid "$BASE/run/slurmctld.pid"
    stop "$BASE/run/munged.pid"
    for file in $FILES; do
        [ "$(readlink "/etc/slurm/$file")" = "$BASE/etc/$file" ] && rm -f "/etc/slurm/$file"
    done
    true
}

case ${1:-} in
install) install ;;
up) up ;;
away) set +e && away ;;
back) back ;;
down) set +e && down ;;
*) sed -n 2,8p "$0" && exit 2 ;;
esac
