#!/usr/bin/env bash
# The main job in one go, on loopback and in a temporary folder: seeds, daemon, ten seconds of load, report, balance, reconciliation.
# Run by `make demo`, which builds first.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
folder=$(mktemp -d)
daemon=
finish() {
  if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*" >&2; }

say "1. Seeds: 10,000 envelopes of 8 sponsors, 50,000.00 in all"
"$bin/hongbaod" seed generate --count 10000 --total 5000000 --sponsors 8 --servers 1 --output "$folder/seeds"
"$bin/hongbaod" seed verify "$folder/seeds"

say "2. The daemon, issuing 200 envelopes a second"
"$bin/hongbaod" serve --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 \
  --seed-dir "$folder/seeds/server-01" --data-dir "$folder/data" --sets 2 --connections-per-set 4000 \
  --issue-rate 200/s --min-shake-interval 100ms --gift-funding house --log-format text 2>"$folder/daemon.log" &
daemon=$!
for _ in $(seq 100); do
  grep -q '"ready"' "$folder/daemon.log" && break
  kill -0 "$daemon" 2>/dev/null || { cat "$folder/daemon.log" >&2; echo "the daemon did not start" >&2; exit 1; }
  sleep 0.1
done
cat "$folder/daemon.log" >&2
address=$(sed -nE 's/.*"listen":"([^"]+)".*/\1/p' "$folder/daemon.log" | tail -1)
metrics=$(sed -nE 's/.*"metrics_listen":"([^"]+)".*/\1/p' "$folder/daemon.log" | tail -1)

say "3. Load: 4,000 users, 20,000 shakes and 200 gifts a second, each gift for 3 users, 10 seconds"
"$bin/hongbao-loadgen" run --target "$address" --connections 4000 --rate 20000/s --duration 10s --warm-up 1s \
  --gifts 200/s --recipients 3 --gift-claims "$folder/gifts.jsonl" --claims "$folder/claims.jsonl" --json "$folder/report.json"

say "4. The orderly stop, and the balance"
lines=$(wc -l <"$folder/daemon.log")
kill -TERM "$daemon"
wait "$daemon"
daemon=
tail -n "+$((lines + 1))" "$folder/daemon.log" >&2
"$bin/hongbaod" ledger verify "$folder/data"
"$bin/hongbaod" ledger show "$folder/data"

say "5. Seeds, journal and what the clients were shown, held against each other"
"$bin/hongbaod" ledger reconcile --data-dir "$folder/data" --seeds "$folder/seeds" --claims "$folder/claims.jsonl" \
  --report "$folder/reconcile.json" --reissue "$folder/reissue.jsonl"

say "6. Gifts: what the ledger wrote down and what the clients were told, held against each other"
"$bin/hongbaod" ledger export "$folder/data" --format jsonl >"$folder/export.jsonl"
# Each share as gift, user and cents, each gift as gift, user, request and cents; once, as clients ask for some again on purpose.
shares() { sed -nE 's/.*"kind":"gift_opened".*"gift":([0-9]+),"user":([0-9]+),"amount_cents":([0-9]+).*/\1 \2 \3/p' "$1" | sort -u; }
gifts() { sed -nE 's/.*"kind":"gift_sent".*"gift":([0-9]+),"user":([0-9]+),"request":([0-9]+),"amount_cents":([0-9]+).*/\1 \2 \3 \4/p' "$1" | sort -u; }
for what in gifts shares; do
  "$what" "$folder/export.jsonl" >"$folder/ledger.$what"
  "$what" "$folder/gifts.jsonl" >"$folder/clients.$what"
  cmp "$folder/ledger.$what" "$folder/clients.$what"
  test -s "$folder/clients.$what"
  echo "$(wc -l <"$folder/clients.$what") $what: ledger and clients agree on every one, to the cent" >&2
done
