#!/usr/bin/env bash
# Installs what the tests of --executor slurm need: Slurm and munge, from Debian's packages (as
# root; elsewhere install them by hand). Nothing of it is started here: scripts/test-engines.sh
# brings up a cluster of its own.
set -euo pipefail

if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: slurmctld, slurmd and munged are not on PATH; install them" >&2
    exit 1
fi
apt-get update -qq
# Their services would start with the machine, or fail to.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >&2
