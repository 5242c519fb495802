"use strict";
const EVERY_MS = 2000, KEPT = 150, TIMEOUT_MS = 8000;
const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };
const trends = new Map();
let last = null;

// One scrape: name -> [[labels, value], ...].
function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line[0] === "#") continue;
    const end = line.lastIndexOf(" "), brace = line.indexOf("{");
    const name = line.slice(0, brace < 0 ? end : brace), labels = {};
    if (brace >= 0) for (const [, key, value] of line.slice(brace).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value;
    const number = line.slice(end + 1);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push([labels, number === "+Inf" ? Infinity : Number(number)]);
  }
  return found;
}

const rows = (scrape, name, wanted = {}) =>
  (scrape.get(name) ?? []).filter(([labels]) => Object.entries(wanted).every(([key, value]) => labels[key] === value));
const sum = (scrape, name, wanted) => rows(scrape, name, wanted).reduce((total, [, value]) => total + value, 0);

// What a counter grew by in a second; a daemon that started anew begins at 0.
const rate = (now, name, wanted) => Math.max(0, sum(now.scrape, name, wanted) - sum(last.scrape, name, wanted)) / (now.seconds - last.seconds);

// The upper bound of the bucket that holds this share of what was counted since the last scrape.
function quantile(now, name, share) {
  const counts = new Map();
  for (const [scrape, sign] of [[now.scrape, 1], [last.scrape, -1]])
    for (const [{ le }, value] of rows(scrape, name + "_bucket")) {
      const bound = le === "+Inf" ? Infinity : Number(le);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * value);
    }
  const bounds = [...counts.keys()].sort((a, b) => a - b), all = counts.get(Infinity) ?? 0;
  if (all <= 0) return null;
  return bounds.find((bound) => counts.get(bound) >= share * all) ?? null;
}

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
const money = (cents) => (cents / 100).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const time = (seconds) => seconds === null ? "none" : seconds === Infinity ? "beyond all" : seconds < 1e-3 ? `${number(seconds * 1e6)} µs` : seconds < 1 ? `${number(seconds * 1e3)} ms` : `${number(seconds)} s`;

function trend(id, value, colour) {
  const kept = trends.get(id) ?? [];
  kept.push(Number.isFinite(value) ? value : 0);
  if (kept.length > KEPT) kept.shift();
  trends.set(id, kept);
  const top = Math.max(...kept, 1e-9);
  const line = kept.map((value, place) => `${place ? "L" : "M"}${(KEPT - kept.length + place).toFixed(1)} ${(42 - 40 * value / top).toFixed(1)}`).join("");
  at(id).setAttribute("viewBox", `0 0 ${KEPT} 44`);
  at(id).setAttribute("preserveAspectRatio", "none");
  at(id).innerHTML = `<path d="${line}" style="stroke:var(--${colour})"/>`;
}

// A bar of shares with its key: [name, value, colour, text].
function bar(id, parts) {
  const all = parts.reduce((total, [, value]) => total + value, 0);
  at(id + "-bar").replaceChildren(...parts.map(([, value, colour]) => {
    const part = document.createElement("i");
    part.style.cssText = `width:${all > 0 ? 100 * value / all : 0}%;background:var(--${colour})`;
    return part;
  }));
  at(id + "-key").replaceChildren(...parts.map(([name, , colour, text]) => {
    const key = document.createElement("span"), spot = document.createElement("b");
    spot.style.background = `var(--${colour})`;
    key.append(spot, `${name} ${text}`);
    return key;
  }));
}

function alarms(now) {
  const scrape = now.scrape, told = [];
  const difference = sum(scrape, "hongbao_balance_difference_cents");
  if (difference !== 0) told.push(`The money does not add up: ${money(difference)} differ.`);
  if (sum(scrape, "hongbao_journal_halted") > 0) told.push("The journal takes no record: nothing is issued. Is the disk full?");
  if (sum(scrape, "hongbao_claims_refused_total", { reason: "already_issued" }) > 0) told.push("An envelope came up a second time and was refused: a defect.");
  if (last !== null) {
    const turned = new Map(rows(last.scrape, "hongbao_set_turns_total").map(([{ set }, value]) => [set, value]));
    const stuck = rows(scrape, "hongbao_set_turns_total").filter(([{ set }, value]) => turned.get(set) === value).map(([{ set }]) => set);
    if (stuck.length > 0 && now.seconds - last.seconds > 1) told.push(`SET ${stuck.join(", ")} does not turn.`);
    if (rate(now, "hongbao_shake_answers_total", { outcome: "overloaded" }) > 0) told.push("Overload: clients are put off.");
  }
  at("alarms").hidden = told.length === 0;
  at("alarms").replaceChildren(...told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  say("state", told.length === 0 ? "serving" : "alarm");
  at("state").className = told.length === 0 ? "good" : "bad";
}

function levels({ scrape }) {
  const open = sum(scrape, "hongbao_connections_open"), capacity = sum(scrape, "hongbao_connections_capacity");
  say("connections", number(open));
  say("connections-note", `of ${number(capacity)}; ${number(sum(scrape, "hongbao_users_online"))} logged in`);
  trend("connections-trend", open, "green");
  const places = [["issued", "red"], ["with_sets", "gold"], ["unissued", "green"], ["damaged", "soft"]];
  const difference = sum(scrape, "hongbao_balance_difference_cents");
  say("money", difference === 0 ? `${money(sum(scrape, "hongbao_seeded_cents"))}, all accounted for` : `${money(difference)} DIFFER`);
  bar("money", places.map(([state, colour]) => {
    const cents = sum(scrape, "hongbao_balance_cents", { state });
    return [state.replace("_", " the "), cents, colour, `${money(cents)} in ${number(sum(scrape, "hongbao_balance_envelopes", { state }))}`];
  }));
  const [build] = rows(scrape, "hongbao_build_info");
  const up = Date.now() / 1000 - sum(scrape, "process_start_time_seconds");
  say("build", `${build ? `version ${build[0].version}, protocol ${build[0].protocol}` : ""}`);
  say("since", `up ${up < 120 ? `${Math.round(up)} s` : up < 7200 ? `${Math.round(up / 60)} min` : `${Math.round(up / 3600)} h`}, ${number(sum(scrape, "process_resident_memory_bytes") / 1e6)} MB resident`);
}

function rates(now) {
  const qps = rate(now, "hongbao_requests_total"), envelopes = rate(now, "hongbao_issued_envelopes_total");
  const cpu = rate(now, "process_cpu_seconds_total");
  say("qps", number(qps));
  say("qps-note", `${number(rate(now, "hongbao_requests_total", { kind: "shake" }))} shakes; ${number(100 * cpu)} % of a core${qps > 100 ? `, ${number(1e6 * cpu / qps)} µs each` : ""}`);
  trend("qps-trend", qps, "blue");
  const limit = sum(now.scrape, "hongbao_issue_rate_envelopes");
  say("envelopes", number(envelopes));
  say("envelopes-note", `allowed ${limit === Infinity ? "any number" : number(limit)}; ${number(sum(now.scrape, "hongbao_issued_envelopes_total"))} in all`);
  trend("envelopes-trend", envelopes, "red");
  const packets = (direction) => rate(now, "hongbao_interface_packets_total", { direction });
  say("pps", number(packets("in") + packets("out")));
  say("pps-note", `${number(packets("in"))} in, ${number(packets("out"))} out; ${number(rate(now, "hongbao_tcp_segments_total", { direction: "retransmitted" }))} retransmitted; of the whole host`);
  trend("pps-trend", packets("in") + packets("out"), "gold");
  const turn = quantile(now, "hongbao_turn_duration_seconds", 0.99), commit = quantile(now, "hongbao_journal_commit_duration_seconds", 0.99);
  say("turn", time(turn));
  say("turn-note", `median ${time(quantile(now, "hongbao_turn_duration_seconds", 0.5))}; from reaping to the last answer`);
  trend("turn-trend", turn ?? 0, "blue");
  say("commit", time(commit));
  say("commit-note", `median ${time(quantile(now, "hongbao_journal_commit_duration_seconds", 0.5))}; ${number(rate(now, "hongbao_journal_commits_total"))} commits a second; ${number(sum(now.scrape, "hongbao_claims_pending"))} claims wait`);
  trend("commit-trend", commit ?? 0, "red");
  const outcomes = { none: "blue", envelope: "red", user_limit: "green", sponsor_limit: "green", too_early: "soft", overloaded: "gold" };
  bar("answers", Object.entries(outcomes).map(([outcome, colour]) => {
    const value = rate(now, "hongbao_shake_answers_total", { outcome });
    return [outcome.replace("_", " "), value, colour, number(value)];
  }));
  sets(now);
}

function sets(now) {
  const before = new Map(rows(last.scrape, "hongbao_set_shakes_total").map(([{ set }, value]) => [set, value]));
  const each = rows(now.scrape, "hongbao_set_shakes_total").map(([{ set }, value]) => [set, Math.max(0, value - (before.get(set) ?? 0)) / (now.seconds - last.seconds)]);
  each.sort(([a], [b]) => a - b);
  const values = each.map(([, value]) => value), all = values.reduce((a, b) => a + b, 0), top = Math.max(...values, 1e-9);
  const squares = values.reduce((total, value) => total + value * value, 0);
  say("sets-note", `${each.length} SETs; ${all > 0 ? `least ${number(Math.min(...values))}, most ${number(top)}; fairness (Jain) ${(all * all / (each.length * squares)).toFixed(4)}` : "nobody shakes"}`);
  at("sets").replaceChildren(...each.map(([set, value]) => {
    const column = document.createElement("i");
    column.style.height = `${100 * value / top}%`;
    column.title = `SET ${set}: ${number(value)}`;
    return column;
  }));
}

async function look() {
  try {
    const answer = await fetch("metrics", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(answer.statusText);
    const now = { scrape: parse(await answer.text()), seconds: performance.now() / 1000 };
    levels(now);
    if (last !== null && sum(last.scrape, "process_start_time_seconds") === sum(now.scrape, "process_start_time_seconds")) rates(now);
    alarms(now);
    last = now;
  } catch (error) {
    say("state", "no answer");
    at("state").className = "bad";
  }
  setTimeout(document.hidden ? wait : look, EVERY_MS);
}

// Nobody sees it: the daemon has better things to do.
function wait() {
  if (document.hidden) document.addEventListener("visibilitychange", wait, { once: true });
  else look();
}

look();
