#!/usr/bin/env bash
# Installs Ray from PyPI into an environment below target/, for scripts/test-engines.sh.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${CARGO_TARGET_DIR:-$root/target}/ray"
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'ray>=2.49,<3' 'numpy>=1.24'
"$venv/bin/ray" --version >&2
