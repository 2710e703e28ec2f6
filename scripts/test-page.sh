#!/usr/bin/env bash
# Tests the pages of "dsperse report" in headless Chromium: those that a seed makes, and those
# of real runs. Installs the browser first.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/scripts/install-browser.sh"
cd "$root"
cargo test -p dsperse-report --test browser -- --ignored --nocapture
cargo test -p dsperse-e2e --test page -- --ignored --nocapture
