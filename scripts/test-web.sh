#!/usr/bin/env bash
# Tests the verifier for browsers: the npm package in Node, its types, and the page in headless
# Chromium, each against the program, over honest, mutated and malicious files; the Python package
# must agree on the same files. Build them first: scripts/build-web.sh, cargo build.
#
#   scripts/test-web.sh [--no-page]
#
# Sample runs are made once, below target/web-samples. puppeteer-core and TypeScript come from npm
# into target/web-tests, NumPy from PyPI; Chromium is the one that CHROMIUM names, or /usr/bin/chromium.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}"
export DSPERSE_PROGRAM="${DSPERSE_PROGRAM:-$target/debug/dsperse}"
export DSPERSE_WEB_SAMPLES="$target/web-samples"
tests="$root/bindings/web/tests"
dist="$root/bindings/web/dist"
[ -x "$DSPERSE_PROGRAM" ] || { echo "error: there is no program at \"$DSPERSE_PROGRAM\"; build it: cargo build" >&2; exit 1; }
[ -e "$dist/verify.html" ] || { echo "error: there is no page; build it: scripts/build-web.sh" >&2; exit 1; }

mkdir -p "$DSPERSE_WEB_SAMPLES"
for model in ${DSPERSE_WEB_MODELS:-digits-mlp lenet resnet-tiny transformer-block}; do
    file="$DSPERSE_WEB_SAMPLES/$model.dsproof"
    [ -e "$file" ] && continue
    work=$(mktemp -d)
    cp "$root/models/$model/model.onnx" "$root/models/$model/input.json" "$work/"
    # Small ones in many slices, large ones in few.
    case "$model" in digits-mlp | lenet) strategy=layer ;; *) strategy=auto ;; esac
    "$DSPERSE_PROGRAM" full-run -m "$work" --strategy "$strategy" --require proven --no-input --quiet >/dev/null
    "$DSPERSE_PROGRAM" export "$work/run" -o "$file" --no-input >/dev/null
    rm -rf "$work"
done

export DSPERSE_WEB_CORPUS="$target/web-tests/corpus"
node "$tests/corpus.mjs" "$DSPERSE_WEB_CORPUS"
node --test "$tests/verify.test.mjs"

python="$target/web-tests/python"
[ -x "$python/bin/python" ] || "${PYTHON:-python3}" -m venv "$python"
"$python/bin/python" -m pip install --quiet --disable-pip-version-check 'numpy>=1.24'
PYTHONPATH="$root/bindings/python/src" "$python/bin/python" "$tests/agrees.py"

mkdir -p "$target/web-tests"
npm install --silent --no-audit --no-fund --prefix "$target/web-tests" puppeteer-core@^24 typescript@^5
mkdir -p "$target/web-tests/types/node_modules"
ln -sfn "$dist/npm" "$target/web-tests/types/node_modules/dsperse-verify"
cp "$tests/types.ts" "$target/web-tests/types/"
"$target/web-tests/node_modules/.bin/tsc" --noEmit --strict --module nodenext --target es2022 --lib es2022,dom \
    "$target/web-tests/types/types.ts"

if [ "${1:-}" != --no-page ]; then
    DSPERSE_WEB_TOOLS="$target/web-tests/node_modules/" DSPERSE_WEB_SHOTS="$target/web-tests/shots" \
        node --test "$tests/page.test.mjs"
fi
