#!/usr/bin/env bash
# Builds the Python wheel into target/wheels, checks it, and tries it.
#
#   scripts/build-wheel.sh [--sdist] [--no-try]
#
# 1. builds the program and the plugins (release), 2. packs them with the Python package by
# maturin, 3. compares the wheel's platform tag with what its libraries really need
# (auditwheel), 4. installs it into a fresh environment with nothing else and runs a sample
# model to an accepted verdict. maturin and auditwheel are installed into an environment
# below target/, from PyPI.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
package="$root/bindings/python"
wheels="$root/target/wheels"
tools="$root/target/wheel-tools"
sdist=0 try=1
for argument in "$@"; do
    case "$argument" in
    --sdist) sdist=1 ;;
    --no-try) try=0 ;;
    *)
        echo "error: \"$argument\" is no argument: expected --sdist or --no-try" >&2
        exit 2
        ;;
    esac
done

say() { printf '== %s\n' "$*" >&2; }

say "maturin"
[ -x "$tools/bin/python" ] || "${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2' 'auditwheel>=6'

say "program and plugins"
"$tools/bin/python" "$package/build_backend.py"
mkdir -p "$wheels"
rm -f "$wheels"/dsperse-*.whl
(cd "$package" && "$tools/bin/maturin" build --release --out "$wheels")
if [ "$sdist" = 1 ]; then
    say "source distribution"
    (cd "$package" && PATH="$tools/bin:$PATH" "$tools/bin/python" -c \
        'import sys, build_backend; print(build_backend.build_sdist(sys.argv[1]))' "$wheels")
fi
rm -rf "$package/wheel.data"
wheel=$(ls "$wheels"/dsperse-*.whl)

say "platform tag"
"$tools/bin/auditwheel" show "$wheel" | tee "$wheels/auditwheel.txt" >&2
tag=$(basename "$wheel" .whl)
tag=${tag##*-}
# A wheel may promise less than it could, never more.
"$tools/bin/python" - "$tag" "$wheels/auditwheel.txt" <<'PYTHON'
import re, sys
promised, audit = sys.argv[1], open(sys.argv[2]).read()
real = re.search(r'"((?:manylinux|linux)[a-z0-9_]*)"', audit.replace("\n", " "))
if real is None:
    sys.exit("error: auditwheel names no platform tag")
def glibc(tag):
    m = re.search(r"manylinux_(\d+)_(\d+)", tag)
    return tuple(map(int, m.groups())) if m else (99, 99)
if glibc(promised) < glibc(real.group(1)):
    sys.exit(f"error: the wheel promises {promised}, its libraries need {real.group(1)}")
print(f"promised {promised}, needed {real.group(1)}", file=sys.stderr)
PYTHON

say "size"
"$tools/bin/python" - "$wheel" <<'PYTHON' >&2
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    big = sorted(z.infolist(), key=lambda i: -i.file_size)[:8]
    for i in big:
        print(f"{i.file_size / 1e6:7.1f} MB  {i.compress_size / 1e6:6.1f} MB packed  {i.filename}")
    print(f"{sum(i.compress_size for i in z.infolist()) / 1e6:.1f} MB in all")
PYTHON

if [ "$try" = 1 ]; then
    say "a fresh environment"
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    "${PYTHON:-python3}" -m venv "$fresh/venv"
    "$fresh/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
    cp -r "$root/models/digits-mlp" "$fresh/model"
    # Nothing of this checkout or of the user's own setup may help.
    cd "$fresh"
    env -u DSPERSE_PLUGINS -u DSPERSE_ADD_PLUGINS -u PYTHONPATH HOME="$fresh" PATH="$fresh/venv/bin:/usr/bin:/bin" \
        dsperse full-run -m model --require proven --no-input
    env -u DSPERSE_PLUGINS -u DSPERSE_ADD_PLUGINS -u PYTHONPATH HOME="$fresh" PATH="$fresh/venv/bin:/usr/bin:/bin" \
        python -c '
import dsperse
result = dsperse.full_run("model", require="proven", force=True)
assert result.verification.accepted, result.verification
print(result.verification)'
fi
say "$wheel"
