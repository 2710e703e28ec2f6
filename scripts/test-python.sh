#!/usr/bin/env bash
# Tests the Python package against a built program: types (mypy --strict) and behaviour
# (pytest). Takes the program that DSPERSE_PROGRAM names, or target/debug/dsperse with the
# plugins beside it. Tools come from PyPI into an environment below target/.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
tools="$root/target/python-tests"
program="${DSPERSE_PROGRAM:-${CARGO_TARGET_DIR:-$root/target}/debug/dsperse}"
if [ ! -x "$program" ]; then
    echo "error: there is no program at \"$program\"; build it first: cargo build --workspace" >&2
    exit 1
fi
[ -x "$tools/bin/python" ] || "${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
    'numpy>=1.24' 'pytest>=8' 'mypy>=1.13' 'tqdm>=4.60' types-tqdm 'cryptography>=42'
cd "$root/bindings/python"
"$tools/bin/mypy" --cache-dir "$tools/mypy-cache"
# "cargo test" leaves the plugins in deps/; "cargo build" puts them beside the program.
PYTHONPATH=src DSPERSE_PROGRAM="$program" DSPERSE_ADD_PLUGINS="$(dirname "$program")/deps" "$tools/bin/python" -m pytest -q -p no:cacheprovider "$@"
