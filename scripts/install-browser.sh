#!/usr/bin/env bash
# Installs what the tests of pages need: Chromium, and the packages that drive it.
#
#   scripts/install-browser.sh
#
# Chromium comes from Debian's packages when it is not there (as root; elsewhere install it
# by hand, or name one with CHROMIUM). The packages go into tests/page/node_modules.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
say() { printf '%s\n' "$*" >&2; }

browser() {
    [ -n "${CHROMIUM:-}" ] || command -v chromium || command -v chromium-browser || command -v google-chrome
}

if ! browser >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "error: there is no Chromium on PATH; install it, or name one with CHROMIUM"
        exit 1
    fi
    say "installing Chromium"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation fonts-dejavu-core >&2
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    say "error: there is no Node.js with npm on PATH; install version 20 or newer"
    exit 1
fi
cd "$root/tests/page"
npm ci --silent
