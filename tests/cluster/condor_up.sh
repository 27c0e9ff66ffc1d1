#!/usr/bin/env bash
# A throw-away HTCondor with two made-up GPUs, in a Debian 13 of its own: Debian 12 has no package of it (root only).
#   condor_up.sh install     the Debian and the package: 3 minutes, 600 MB in ROOT, which stay
#   condor_up.sh up          starts one machine that does everything
#   condor_up.sh run CMD     as the user who submits: HTCondor takes nothing from root
#   condor_up.sh down        stops it
# Settings come from the environment: BASE (a folder under /tmp), ROOT, VENV and PY (the virtual environment and its Python).
set -euo pipefail
BASE=${BASE:?a folder for configuration, state and logs} ROOT=${ROOT:?a folder for the Debian}
VENV=${VENV:?sys.prefix} PY=${PY:?sys.base_prefix}
CPUS=${CPUS:-4} MEM_MB=${MEM_MB:-16000} GPUS=${GPUS:-2} PORT=${PORT:-19618}
USER_ID=4242
EXEC= # exec: signals reach the command
SHOWN="/proc /dev /tmp $VENV $PY" # of this machine, at the same place

install() {
    command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; }
    [ -x "$ROOT/usr/bin/dpkg" ] || debootstrap --variant=minbase trixie "$ROOT"
    printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d" # no daemon is started by its package
    chmod +x "$ROOT/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$ROOT/etc/"
    chroot "$ROOT" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive chroot "$ROOT" apt-get install -y -qq --no-install-recommends condor
    chroot "$ROOT" id submitter >/dev/null 2>&1 || chroot "$ROOT" useradd -u "$USER_ID" -M -s /bin/bash submitter
}

run() { # in the directory of the caller, if there is one inside
    $EXEC chroot --userspec="$USER_ID:$USER_ID" "$ROOT" env -i -C "$(inside_folder)" \
        PATH="$VENV/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME="$BASE/home" USER=submitter LOGNAME=submitter \
        LANG=C.UTF-8 CONDOR_CONFIG="$BASE/condor_config" "$@"
}

inside_folder() {
    case $PWD in "$BASE"*) echo "$PWD" ;; *) echo / ;; esac
}

configure() {
    mkdir -p "$BASE"/{log,spool,execute,run,lock,home}
    cat >"$BASE/condor_config" <<X
RELEASE_DIR = /usr
LOCAL_DIR = $BASE
LOG = $BASE/log
SPOOL = $BASE/spool
EXECUTE = $BASE/execute
RUN = $BASE/run
LOCK = $BASE/lock
BIN = /usr/bin
SBIN = /usr/sbin
LIBEXEC = /usr/libexec/condor
LIB = /usr/lib/$(uname -m)-linux-gnu
CONDOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:$PORT
BIND_ALL_INTERFACES = False
USE_SHARED_PORT = True
SHARED_PORT_PORT = $PORT
UID_DOMAIN = toy
FILESYSTEM_DOMAIN = toy
TRUST_UID_DOMAIN = True
DAEMON_LIST = MASTER, SHARED_PORT, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD
# nobody is asked who he is: the plugin's bindings and Debian's daemons are of different versions
SEC_DEFAULT_AUTHENTICATION = OPTIONAL
SEC_DEFAULT_AUTHENTICATION_METHODS = CLAIMTOBE
SEC_DEFAULT_ENCRYPTION = OPTIONAL
SEC_DEFAULT_INTEGRITY = OPTIONAL
$(printf 'ALLOW_%s = *\n' READ WRITE DAEMON ADMINISTRATOR NEGOTIATOR ADVERTISE_MASTER ADVERTISE_STARTD ADVERTISE_SCHEDD CLIENT)
NUM_CPUS = $CPUS
MEMORY = $MEM_MB
DISK = 20000000
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = TRUE
MACHINE_RESOURCE_GPUs = $(seq -s ' ' -f 'CUDA%g' 0 $((GPUS - 1)))
START = TRUE
SUSPEND = FALSE
PREEMPT = FALSE
KILL = FALSE
CGROUP_V1 = False
BASE_CGROUP =
USE_PID_NAMESPACES = False
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
POLLING_INTERVAL = 2
SCHEDD_INTERVAL = 3
STARTER_UPDATE_INTERVAL = 5
JOB_START_DELAY = 0
CLAIM_WORKLIFE = 0
X
    chown -R "$USER_ID:$USER_ID" "$BASE"
}

up() {
    local path
    chmod 755 "$ROOT/root"
    cp /etc/hosts "$ROOT/etc/hosts"
    for path in $SHOWN; do
        mkdir -p "$ROOT$path"
        mountpoint -q "$ROOT$path" || mount --bind "$path" "$ROOT$path"
    done
    configure
    run condor_master -pidfile "$BASE/run/master.pid"
    for _ in $(seq 150); do
        run condor_status -af Name 2>/dev/null | grep -q . && return
        sleep 0.2
    done
    echo "the machine did not join within 30 s: see $BASE/log" >&2
    exit 4
}

down() {
    local pid path
    run condor_off -master >/dev/null 2>&1
    pid=$(cat "$BASE/run/master.pid" 2>/dev/null)
    for _ in $(seq 100); do
        [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    [ -z "$pid" ] || kill "$pid" 2>/dev/null
    for path in $(printf '%s\n' $SHOWN | tac); do
        for _ in $(seq 50); do
            mountpoint -q "$ROOT$path" || break
            umount "$ROOT$path" 2>/dev/null || sleep 0.2
        done
    done
    true
}

case ${1:-} in
install) install ;;
up) up ;;
run) shift && EXEC=exec && run "$@" ;;
down) set +e && down ;;
*) sed -n 2,7p "$0" && exit 2 ;;
esac
