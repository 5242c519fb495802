#!/usr/bin/env bash
# Installs what the tests run besides cargo: promtool (package prometheus), setpriv (util-linux), python3, systemd's tools and tshark, where
# they are missing. Ubuntu and Debian. As root it installs by itself; otherwise through sudo, or it says what to install.
set -euo pipefail

missing=()
command -v promtool >/dev/null || missing+=(prometheus)
command -v setpriv >/dev/null || missing+=(util-linux)
command -v python3 >/dev/null || missing+=(python3)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v tshark >/dev/null || missing+=(tshark)
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing for the tests: ${missing[*]}" >&2
if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: install ${missing[*]} by hand, then run this again" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
# The package would start a Prometheus of its own; only its tools are wanted, so services are kept from starting.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
