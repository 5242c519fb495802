#!/usr/bin/env bash
# The Debian packages, out of a finished release build: manual pages and completions are written by the programs themselves. Run by
# `make deb`, which builds first. The packages are left in target/debian.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath "${CARGO_TARGET_DIR:-target}")
cargo=${CARGO:-cargo}

command -v cargo-deb >/dev/null || "$cargo" install --locked cargo-deb
pages=deploy/pages
rm -rf "$pages"
"$target/release/hongbaod" pages "$pages/daemon"
"$target/release/hongbao-loadgen" pages "$pages/loadgen"
for package in hongbaod hongbao-loadgen; do
  "$cargo" deb --no-build --strip --locked --package "$package" "$@" >&2
done
ls -l "$target"/debian/*.deb >&2
