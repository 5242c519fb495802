//! The status on one screen of 80 columns: what is not well first, then the numbers by which one tells why.

use std::fmt::Write;

use hongbao_protocol::Cents;

use crate::admin::{Place, SetStatus, State, Status};

/// Twenty-odd lines, whatever the number of SETs.
pub(super) fn screen(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_screen(&mut text, status);
    text.truncate(text.trim_end().len());
    text
}

fn write_screen(out: &mut String, status: &Status) -> std::fmt::Result {
    let Status { connections, requests, issue, ledger, trouble, .. } = status;
    let state = match status.state {
        State::Serving => "SERVING",
        State::Paused => "PAUSED (`ctl resume`)",
        State::Stopping => "STOPPING",
    };
    writeln!(out, "{state}  server {} at {}  up {}", status.server, status.listen, up(status.uptime_s))?;
    writeln!(out, "hongbaod {}  process {}", status.version, status.process)?;
    if status.warnings.is_empty() {
        writeln!(out, "all is well")?;
    }
    for warning in &status.warnings {
        writeln!(out, "!! {warning}")?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "connections  {:>11} of {} ({} %), {} in, {}/s new, {} barred",
        grouped(connections.open),
        grouped(connections.capacity),
        connections.open * 100 / connections.capacity.max(1),
        grouped(connections.users_online),
        whole(connections.opened_per_s),
        connections.barred
    )?;
    writeln!(
        out,
        "requests     {:>11}/s, {}/s of them shakes, {}/s told \"overloaded\"",
        whole(requests.qps),
        whole(requests.shakes_per_s),
        whole(requests.overloaded_per_s)
    )?;
    let source =
        if issue.by_operator { format!("operator's; planned {}", issue.planned) } else { "planned".to_owned() };
    writeln!(out, "envelopes    {:>11.1}/s won, rate {} ({source})", issue.issued_per_s, issue.rate)?;
    if let Some(round) = &status.round {
        writeln!(out, "round        {round}")?;
    }
    if !status.playbooks.is_empty() {
        writeln!(out, "playbooks    {}", status.playbooks.join(", "))?;
    }
    writeln!(out, "stock        {:>11} with the SETs, {} not dealt", grouped(issue.stock), grouped(issue.unissued))?;
    writeln!(
        out,
        "ledger       {:>11.1} commits/s of {} us (p99 {} us), {} claims wait",
        ledger.commits_per_s, ledger.commit_p50_us, ledger.commit_p99_us, ledger.claims_pending
    )?;
    writeln!(out)?;
    write_money(out, status)?;
    writeln!(out)?;
    writeln!(
        out,
        "since start  overloaded {}, no buffer {}, overflows {}, accepts failed {},",
        trouble.overloaded, trouble.buffers_exhausted, trouble.completion_overflows, trouble.accepts_failed
    )?;
    writeln!(
        out,
        "             bad frames {}, journal files failed {}, issued twice refused {}",
        trouble.bad_frames, trouble.journal_files_failed, trouble.already_issued
    )?;
    writeln!(out)?;
    write_sets(out, &status.sets)
}

fn write_money(out: &mut String, status: &Status) -> std::fmt::Result {
    let money = &status.money;
    let mut line = |name: &str, place: Place| {
        writeln!(out, "{name:<12} {:>18} in {:>13} envelopes", Cents(place.cents).to_string(), grouped(place.envelopes))
    };
    line("seeded", money.seeded)?;
    line("= issued", money.issued)?;
    line("+ with SETs", money.with_sets)?;
    line("+ unissued", money.unissued)?;
    if money.damaged != Place::default() {
        line("+ damaged", money.damaged)?;
    }
    let verdict = if money.difference_cents == 0 { "adds up" } else { "DOES NOT ADD UP" };
    writeln!(out, "difference   {:>18} cents: {verdict}", money.difference_cents)
}

fn write_sets(out: &mut String, sets: &[SetStatus]) -> std::fmt::Result {
    writeln!(out, "{:<14} {:>11} {:>11} {:>11}", format!("{} SETs", sets.len()), "least", "middle", "most")?;
    let mut line = |name: &str, value: &dyn Fn(&SetStatus) -> u64| {
        let mut values: Vec<u64> = sets.iter().map(value).collect();
        values.sort_unstable();
        let at = |place: usize| values.get(place).copied().map_or_else(|| "-".to_owned(), grouped);
        let (middle, last) = (values.len() / 2, values.len().saturating_sub(1));
        writeln!(out, "{name:<14} {:>11} {:>11} {:>11}", at(0), at(middle), at(last))
    };
    line("connections", &|set| set.connections)?;
    line("requests/s", &|set| set.qps.round() as u64)?;
    line("stock", &|set| set.stock)?;
    line("turn p99, us", &|set| set.turn_p99_us)
}

fn whole(value: f64) -> String {
    grouped(value.round() as u64)
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn up(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Connections, Issue, Ledger, Money, Requests, Trouble};
    use crate::units::Rate;

    fn status(sets: usize) -> Status {
        Status {
            state: State::Paused,
            version: "0.1.0".to_owned(),
            process: 4711,
            uptime_s: 93_784.0,
            listen: "0.0.0.0:8866".to_owned(),
            server: 65_535,
            warnings: vec!["LEDGER HALTED: make room".to_owned()],
            connections: Connections {
                open: 1_000_000,
                capacity: 1_080_000,
                users_online: 999_999,
                opened_per_s: 5000.0,
                barred: 3,
            },
            requests: Requests { qps: 140_000.4, shakes_per_s: 139_000.0, overloaded_per_s: 12.0, total: 1 << 40 },
            issue: Issue {
                rate: Rate::PerSecond(0),
                planned: Rate::PerSecond(200),
                by_operator: true,
                issued_per_s: 199.8,
                issued: 10,
                unissued: 9_000_000,
                stock: 540,
            },
            round: None,
            playbooks: vec!["calm".to_owned()],
            ledger: Ledger {
                commits_per_s: 198.5,
                commit_p50_us: 256,
                commit_p99_us: 2048,
                claims_pending: 3,
                halted: true,
            },
            money: Money {
                seeded: Place { envelopes: 10_000_000, cents: 5_000_000_000 },
                difference_cents: -1,
                ..Money::default()
            },
            trouble: Trouble::default(),
            sets: vec![
                SetStatus { connections: 18_518, qps: 2592.6, stock: 10, turn_p99_us: 1024, stalled: false };
                sets
            ],
        }
    }

    #[test]
    fn it_is_one_screen_however_many_sets_there_are() {
        for sets in [0, 1, 54, 256] {
            let screen = screen(&status(sets));
            assert!(screen.lines().count() <= 25, "{} lines:\n{screen}", screen.lines().count());
            for line in screen.lines() {
                assert!(line.len() <= 80, "{} columns: {line}", line.len());
            }
        }
    }

    #[test]
    fn what_is_wrong_stands_where_it_is_seen() {
        let screen = screen(&status(2));
        let lines: Vec<&str> = screen.lines().collect();
        assert!(lines[0].starts_with("PAUSED"), "{screen}");
        assert!(lines[2].starts_with("!! LEDGER HALTED"), "{screen}");
        assert!(screen.contains("DOES NOT ADD UP") && screen.contains("1,000,000 of 1,080,000 (92 %)"), "{screen}");
        assert!(screen.contains("up 1 d 2 h"), "{screen}");
    }
}
