#!/bin/bash
# Installs CoreOS, or Flatcar, to the disk, tells bootbox, and restarts. Whatever fails, it reports the
# reason and leaves the machine as it is, up in RAM: it restarts only into a disk that is whole.
# For the bash and curl of 2016: no --retry-connrefused, no --fail-with-body.
set -euo pipefail

base={{ base_url | sh }}
disk={{ metadata.disk | sh }}
step="starting"
work=$(mktemp -d)
cd "$work"

# For who looks at the machine's screen, and for its journal.
say() {
    echo "bootbox: $1"
    { echo "bootbox: $1" >/dev/console; } 2>/dev/null || true
}

# Tells bootbox a state, and a word on it; tries for a minute.
report() {
    local try
    for try in 1 2 3 4 5 6; do
        if curl -fsS -m 10 -o /dev/null -G -X POST --data-urlencode "text=$2" "$base/v1/event?state=$1"; then
            return 0
        fi
        sleep 10
    done
    return 1
}

# The lines of the log that name the cause, else its last ones. What a broken pipe prints after gpg has
# refused the image says nothing.
cause() {
    grep -aiE "bad signature|can.t check signature|no valid openpgp|no space left|input/output error|read-only|curl: \(" log |
        tail -n 3 | grep . || tail -n 3 log
}

# On every way out but the good one: what was being done, and the cause, without the one-time part of
# addresses.
leave() {
    local code=$?
    trap - EXIT
    local words
    words=$(cause 2>/dev/null | sed 's,/~[0-9a-zA-Z]*,,g' | tr -c '[:print:]' ' ' | tail -c 300) || words=""
    say "$step failed (exit $code). Nothing was restarted; the log is $work/log."
    say "power the machine off and on to try again."
    report failed "$step: exit $code: $words" || say "and bootbox does not answer."
    exit "$code"
}
trap leave EXIT
# A signal ends by way of EXIT, too.
trap 'exit 130' INT
trap 'exit 143' TERM

begin() {
    step=$1
    say "$step"
    report "$2" "$step"
}

# Fetches a file whole, or not at all; tries for two minutes.
fetch() {
    local try
    for try in 1 2 3 4 5 6 7 8; do
        if curl -fsS -m 60 -o "$2.part" "$1" 2>>log; then
            mv "$2.part" "$2"
            return 0
        fi
        sleep 15
    done
    return 1
}

# Three times: the image comes over the network, and is verified while it is written.
write_disk() {
    local try
    for try in 1 2 3; do
        if coreos-install -d "$disk" -c cloud-config.yaml -b "$base/coreos" 2>&1 | tee -a log; then
            return 0
        fi
        sleep 15
    done
    return 1
}

begin "install to $disk" started
step="fetching the cloud-config"
fetch "$base/coreos/cloud-config.yaml" cloud-config.yaml
begin "writing the image to $disk" progress
write_disk
step="settling the disk"
udevadm settle
sync
# Until bootbox knows, a restart could install once more: it is told first.
step="reporting that it is installed"
report installed "on $disk"
# Shutting down ends this script by a signal, and that is no failure.
trap - EXIT INT TERM
systemctl reboot || report failed "systemctl reboot: exit $?"
