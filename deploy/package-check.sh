#!/usr/bin/env bash
# Holds the packages of `make deb` against the real tools: lintian, and install, upgrade, remove and purge in a chroot that mmdebstrap makes
# from this machine's own package mirror. Run as root by `make deb-check`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath "${CARGO_TARGET_DIR:-target}")
die() { echo "package-check: $*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*" >&2; }

[ "$(id -u)" = 0 ] || die "it needs root, for the chroot"
for tool in lintian mmdebstrap dpkg-deb; do
  command -v "$tool" >/dev/null || die "it needs $tool: apt install lintian mmdebstrap dpkg-dev"
done
folder=$(mktemp -d)
finish() { umount "$folder/root/proc" 2>/dev/null || true; rm -rf --one-file-system "$folder"; }
trap finish EXIT
server=$(ls "$target"/debian/hongbao_*.deb | sort -V | tail -1)
client=$(ls "$target"/debian/hongbao-loadgen_*.deb | sort -V | tail -1)

say "1. lintian"
lintian --fail-on error,warning --tag-display-limit 0 "$server" "$client"

say "2. A chroot"
mmdebstrap --quiet --variant=minbase --include=systemd,man-db "${SUITE:-$(. /etc/os-release; echo "$VERSION_CODENAME")}" "$folder/root" >&2
mount -t proc proc "$folder/root/proc"
inside() { chroot "$folder/root" env DEBIAN_FRONTEND=noninteractive "$@"; }
mkdir "$folder/root/debs"
cp "$server" "$folder/root/debs/server.deb"
cp "$client" "$folder/root/debs/client.deb"
# The next version of the same, for the upgrade.
dpkg-deb --raw-extract "$server" "$folder/next"
sed -i -E 's/^Version: .*/&.1/' "$folder/next/DEBIAN/control"
dpkg-deb --root-owner-group --build "$folder/next" "$folder/root/debs/next.deb" >&2

say "3. The client alone; then the server takes its place"
inside apt-get install -y -qq --no-install-recommends /debs/client.deb >&2
inside hongbao-loadgen --version
inside apt-get install -y -qq --no-install-recommends /debs/server.deb >&2
inside hongbaod --version
inside hongbao-loadgen --version
inside id hongbao
[ "$(inside systemctl is-enabled hongbaod || true)" = disabled ] || die "it must not be enabled before there are seeds"
inside hongbaod config check /etc/hongbao/hongbaod.json
inside systemd-analyze verify --man=no hongbaod.service 2>&1 | tee "$folder/verify" >&2
[ ! -s "$folder/verify" ] || die "systemd-analyze verify has something to say"
[ -s "$folder/root/usr/share/bash-completion/completions/hongbaod" ] || die "no completions of bash"
inside man -w hongbaod-serve >/dev/null 2>&1 || [ -s "$folder/root/usr/share/man/man1/hongbaod-serve.1.gz" ] ||
  grep -rq 'path-exclude.*man' "$folder/root/etc/dpkg/dpkg.cfg.d" || die "no manual page"

say "4. The upgrade keeps what the operator has changed"
sed -i 's/"200\/s"/"77\/s"/' "$folder/root/etc/hongbao/hongbaod.json"
inside apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold /debs/next.deb >&2
grep -q '"77/s"' "$folder/root/etc/hongbao/hongbaod.json" || die "the upgrade lost the operator's configuration"

say "5. Remove keeps the configuration, purge does not; a ledger outlives both"
install -d "$folder/root/var/lib/hongbao/ledger"
echo ledger >"$folder/root/var/lib/hongbao/ledger/segment"
inside dpkg --remove hongbao >&2
[ ! -e "$folder/root/usr/bin/hongbaod" ] || die "remove left the daemon"
[ -e "$folder/root/etc/hongbao/hongbaod.json" ] || die "remove took the configuration"
inside dpkg --purge hongbao 2>&1 | tee "$folder/purge" >&2
[ ! -e "$folder/root/etc/hongbao" ] || die "purge left the configuration"
[ -s "$folder/root/var/lib/hongbao/ledger/segment" ] || die "purge destroyed a ledger"
grep -q 'and stays' "$folder/purge" || die "purge did not tell of the ledger"
left=$(inside find / -xdev \( -name '*hongbao*' -o -name '*hongbaod*' \) -not -path '/debs/*' -not -path '/proc/*' -not -path '/var/lib/hongbao*')
[ -z "$left" ] || die "purge left behind: $left"
echo "install, upgrade, remove and purge are clean" >&2
