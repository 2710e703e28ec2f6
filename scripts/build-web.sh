#!/usr/bin/env bash
# Builds the verifier for browsers: bindings/web/dist with the npm package and the page.
#
#   scripts/build-web.sh
#
# 1. compiles bindings/web to WebAssembly, 2. makes its JavaScript with wasm-bindgen, 3. puts
# package and page together (bindings/web/build.mjs), 4. prints the sizes.
#
# Needs Node 20 or newer, and either rustup (which adds the target) or Debian's rustc-web,
# cargo-web, rust-web-src and lld, which have no built standard library for the target.
# wasm-bindgen-cli of the right version is installed below target/ when it is not there.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}/web"
tools="${CARGO_TARGET_DIR:-$root/target}/web-tools"
cd "$root"
say() { printf '== %s\n' "$*" >&2; }

say "WebAssembly"
# Two gigabytes at most: more is a refusal, and not a page that takes the machine with it. No
# path of this machine goes into the module.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C link-arg=--max-memory=2147483648 --remap-path-prefix=$root=dsperse --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
build=(build --release --manifest-path bindings/web/Cargo.toml --target wasm32-unknown-unknown --target-dir "$target")
if command -v rustup >/dev/null; then
    rustup target add wasm32-unknown-unknown >&2
    cargo "${build[@]}"
elif [ -e /usr/bin/wasm-ld ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src" ]; then
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld \
        /usr/bin/cargo "${build[@]}" -Zbuild-std=std,panic_abort
else
    echo "error: no compiler for WebAssembly: install rustup, or Debian's rustc-web, cargo-web, rust-web-src and lld" >&2
    exit 1
fi

version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' bindings/web/Cargo.lock)
if [ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    say "wasm-bindgen-cli $version"
    CARGO_TARGET_DIR="$tools/build" cargo install --debug --no-default-features \
        --version "$version" --root "$tools" wasm-bindgen-cli
fi

say "JavaScript"
rm -rf "$target/bindgen"
"$tools/bin/wasm-bindgen" --target no-modules --no-typescript --remove-name-section --remove-producers-section \
    --out-dir "$target/bindgen" --out-name dsperse_verify \
    "$target/wasm32-unknown-unknown/release/dsperse_web.wasm"
node bindings/web/build.mjs "$target/bindgen"
