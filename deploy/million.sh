#!/usr/bin/env bash
# A million connections on this machine, both ends: connect, hold, 30,000 and 60,000 shakes a second for five minutes each, the peak, a
# restart. Run as root by `make million`, which builds first. Everything happens in a network namespace of its own, which goes again.
#
#   SCENARIO=million-10k  the small twin, about a minute
#   OUT=folder            where the reports are left (default: a folder here, named by the time)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "${CARGO_TARGET_DIR:-target}/release")
scenario=${SCENARIO:-million}
out=$(realpath -m "${OUT:-million-$(date +%Y%m%d-%H%M%S)}")
space=hongbao-million-$$
address=127.0.0.1:8866
metrics=127.0.0.1:9866
hash_before=
folder=

say() { printf '\n== %s\n' "$*" >&2; }
die() { echo "million: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "it needs root, for the network namespace and its sysctls"
command -v ip >/dev/null && command -v ss >/dev/null || die "it needs ip and ss: apt install iproute2"
[ "$scenario" = million ] && connections=1000000 || connections=10000

finish() {
  code=$?
  if [ -s "$folder/pid" ]; then
    kill "$(cat "$folder/pid")" 2>/dev/null || true
    for _ in $(seq 300); do kill -0 "$(cat "$folder/pid")" 2>/dev/null || break; sleep 0.1; done
  fi
  ip netns del "$space" 2>/dev/null || true
  [ -z "$hash_before" ] || sysctl -qw net.ipv4.tcp_child_ehash_entries="$hash_before"
  [ -z "$folder" ] || rm -rf "$folder"
  exit "$code"
}
trap finish EXIT
folder=$(mktemp -d)
mkdir -p "$out"

say "1. A network namespace with a large hash table, all ports and a long backlog"
if [ -e /proc/sys/net/ipv4/tcp_child_ehash_entries ]; then
  hash_before=$(sysctl -n net.ipv4.tcp_child_ehash_entries)
  sysctl -qw net.ipv4.tcp_child_ehash_entries=4194304
fi
ip netns add "$space"
inside() { ip netns exec "$space" "$@"; }
inside ip link set lo up
inside sysctl -qw net.ipv4.ip_local_port_range="1024 65535" net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535
inside sysctl net.ipv4.tcp_ehash_entries >&2 || true

say "2. Seeds: a million envelopes of 64 sponsors"
"$bin/hongbaod" seed generate --count 1000000 --total 500000000 --sponsors 64 --servers 1 --output "$folder/seeds"

# Also the restart that the scenario asks for.
cat >"$folder/start" <<START
#!/usr/bin/env bash
set -euo pipefail
if [ -s "$folder/pid" ]; then
  kill "\$(cat "$folder/pid")"
  while kill -0 "\$(cat "$folder/pid")" 2>/dev/null; do sleep 0.05; done
fi
setsid ip netns exec "$space" "$bin/hongbaod" serve --listen $address --metrics-listen $metrics \\
  --seed-dir "$folder/seeds/server-01" --data-dir "$folder/data" --connections $connections \\
  --issue-rate 200/s --log-format text </dev/null >>"$folder/daemon.log" 2>&1 &
echo \$! >"$folder/pid"
START
chmod +x "$folder/start"

say "3. The daemon, issuing 200 envelopes a second"
"$folder/start"
for _ in $(seq 600); do
  grep -q '"ready"' "$folder/daemon.log" && break
  kill -0 "$(cat "$folder/pid")" 2>/dev/null || { cat "$folder/daemon.log" >&2; die "the daemon did not start"; }
  sleep 0.1
done
cat "$folder/daemon.log" >&2
grep VmRSS "/proc/$(cat "$folder/pid")/status" >&2

say "4. The scenario \`$scenario\`"
ip netns exec "$space" "$bin/hongbao-loadgen" scenario "$scenario" --target $address --server-metrics $metrics \
  --restart-command "$folder/start" --control-socket "$folder/control" \
  --json "$out/report.json" --html "$out/report.html" --claims "$folder/claims.jsonl" &
load=$!
# While the connections are held, they are counted from outside.
stage() { "$bin/hongbao-loadgen" control "$folder/control" status 2>/dev/null | sed -nE 's/.*"stage":"([^"]*)".*/\1/p'; }
while kill -0 $load 2>/dev/null && [ "$(stage)" != hold ]; do sleep 0.2; done
if kill -0 $load 2>/dev/null; then
  inside ss -Htn state established "( sport = :8866 )" | wc -l >"$out/established.txt"
  grep VmRSS "/proc/$(cat "$folder/pid")/status" "/proc/$load/status" >>"$out/established.txt" || true
  echo "ss counts $(head -1 "$out/established.txt") established connections at the server" >&2
fi
code=0
wait $load || code=$?

say "5. The orderly stop, and the balance"
lines=$(wc -l <"$folder/daemon.log")
kill -TERM "$(cat "$folder/pid")"
while kill -0 "$(cat "$folder/pid")" 2>/dev/null; do sleep 0.1; done
rm "$folder/pid"
tail -n "+$((lines + 1))" "$folder/daemon.log" >&2
"$bin/hongbaod" ledger verify "$folder/data"
issued=$("$bin/hongbaod" ledger export "$folder/data" --format jsonl | grep -c '"kind":"win"' || true)
received=$(sed -nE 's/.*"envelope":([0-9]+|"[^"]+").*/\1/p' "$folder/claims.jsonl" | sort -u | wc -l)
printf '\nissued by the ledger: %s envelopes; received by the clients: %s\n' "$issued" "$received" >&2
[ "$issued" = "$received" ] || die "the clients and the ledger do not agree"
[ "$(head -1 "$out/established.txt")" = "$connections" ] || die "ss did not count $connections connections"
echo "reports: $out/report.json and $out/report.html" >&2
exit $code
