#!/usr/bin/env bash
# Installs external tools for tests and backends into the project's own Python environment
# (.venv). Nothing outside the project folder is changed, but for one case named below.
#
#   scripts/install-backends.sh [reference|ezkl|jstprove]…     (no argument: reference)
#
#   reference   onnx, onnxruntime, numpy: what tests compare slices and outputs with
#   ezkl        EZKL, for the ezkl backend
#   jstprove    JSTprove's programs (its package without dependencies), for the jstprove
#               backend; and, when run as root, Debian's libopenmpi3, the one change
#               outside the project folder
#
# EZKL and JSTprove are not open source: look at the notes that are printed.
# PYTHON chooses the interpreter that the environment is made with (default: python3).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
python="$venv/bin/python"

# The versions that the plugins know.
EZKL=23.0.5
JSTPROVE=2.1.0

say() { printf '%s\n' "$*" >&2; }

make_venv() {
    [ -x "$python" ] && return
    say "making $venv"
    if ! "${PYTHON:-python3}" -m venv "$venv"; then
        say "error: \"${PYTHON:-python3} -m venv\" failed; install Python 3.10 or newer with its venv module"
        exit 1
    fi
}

pip_install() {
    "$python" -m pip install --quiet --disable-pip-version-check "$@"
}

version_of() {
    "$python" -c "from importlib.metadata import version; print('$1', version('$1'))"
}

# Whether this very version is there already; pip takes seconds to find that out.
installed() {
    [ -x "$python" ] && [ "$(version_of "$1" 2>/dev/null)" = "$1 $2" ]
}

install_reference() {
    make_venv
    pip_install "onnx>=1.17" "onnxruntime>=1.20" "numpy>=1.26"
    for package in onnx onnxruntime numpy; do version_of "$package"; done
}

install_ezkl() {
    installed ezkl "$EZKL" && return
    say "note: EZKL publishes no open licence: check that your use of it is permitted"
    make_venv
    pip_install "ezkl==$EZKL"
    version_of ezkl
}

install_jstprove() {
    if ! installed jstprove "$JSTPROVE"; then
        say "note: JSTprove is source-available, and its licence grants no rights of use: check"
        say "note: that you have its owner's permission before you use what is installed now"
        make_venv
        # The programs need nothing of the Python packages that it depends on (5.8 GB).
        pip_install --no-deps "jstprove==$JSTPROVE"
        version_of jstprove
    fi
    local prover
    prover=$(echo "$venv"/lib/python3*/site-packages/python/core/binaries/expander-exec)
    # Without its library the program does not start (status 127).
    if "$prover" --help >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing libopenmpi3, which JSTprove's programs are linked with"
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends libopenmpi3 >/dev/null
    fi
    if ! "$prover" --help >/dev/null 2>&1; then
        say "error: JSTprove's programs do not start; they need OpenMPI's library: apt install libopenmpi3"
        exit 1
    fi
}

[ $# -gt 0 ] || set -- reference
for target in "$@"; do
    case "$target" in
        reference) install_reference ;;
        ezkl) install_ezkl ;;
        jstprove) install_jstprove ;;
        -h | --help)
            sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
            exit 0
            ;;
        *)
            say "error: unknown target \"$target\"; expected reference, ezkl or jstprove"
            exit 2
            ;;
    esac
done
