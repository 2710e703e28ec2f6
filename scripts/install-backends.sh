#!/usr/bin/env bash
# Installs external tools for tests and backends into the project's own Python environment
# (.venv). Nothing outside the project folder is changed.
#
#   scripts/install-backends.sh [reference|ezkl|jstprove]…     (no argument: reference)
#
#   reference   onnx, onnxruntime, numpy: what tests compare slices and outputs with
#
# PYTHON chooses the interpreter that the environment is made with (default: python3).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
python="$venv/bin/python"

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

install_reference() {
    make_venv
    pip_install "onnx>=1.17" "onnxruntime>=1.20" "numpy>=1.26"
    for package in onnx onnxruntime numpy; do version_of "$package"; done
}

[ $# -gt 0 ] || set -- reference
for target in "$@"; do
    case "$target" in
        reference) install_reference ;;
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
