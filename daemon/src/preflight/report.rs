//! What the preflight found: as a table for people, as JSON for machines, and as log lines of a start.

use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::memory::{Kind, Owner, total};
use super::{Finding, Level, Wishes};
use crate::exit::{Exit, Failure};

/// All of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub wishes: Wishes,
    /// Every limit.
    pub findings: Vec<Finding>,
    /// What the connections take.
    pub memory: Vec<Kind>,
}

impl Report {
    /// Those of this level.
    fn of(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }

    /// The refusal to start, where something cannot work: every reason, and the code of the first.
    pub fn refusal(&self) -> Option<Failure> {
        let exit = self.of(Level::Impossible).next()?.exit.unwrap_or(Exit::Config);
        let reasons: Vec<&str> = self.of(Level::Impossible).map(|finding| finding.says.as_str()).collect();
        Some(Failure::new(exit, reasons.join("\n  - ")))
    }

    /// For the log of a start: what is short, where connections were asked for, and one line of summary.
    pub fn log(&self) {
        if self.wishes.asked {
            for finding in self.of(Level::Short) {
                tracing::warn!(
                    limit = finding.item,
                    have = finding.have,
                    need = finding.need,
                    raise = finding.fix.as_deref(),
                    "{}",
                    finding.says
                );
            }
        }
        tracing::info!(
            connections = self.wishes.connections,
            sets = self.wishes.sets,
            limits_ok = self.of(Level::Ok).count(),
            limits_short = self.of(Level::Short).count(),
            kernel_bytes = total(&self.memory, Owner::Kernel),
            daemon_bytes = total(&self.memory, Owner::Daemon),
            "preflight: this is what the connections take; `hongbaod preflight` with the same settings tells all of it"
        );
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        let worst = self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        let memory: Vec<_> = self.memory.iter().map(KindWithTotal::from).collect();
        let whole = json!({
            "level": worst,
            "connections": self.wishes.connections,
            "sets": self.wishes.sets,
            "connections_per_set": self.wishes.connections_per_set,
            "descriptors": self.descriptors(),
            "limits": self.findings,
            "memory": memory,
            "kernel_bytes": total(&self.memory, Owner::Kernel),
            "daemon_bytes": total(&self.memory, Owner::Daemon),
        });
        format!("{whole:#}")
    }

    fn descriptors(&self) -> &'static str {
        if self.wishes.direct { "direct" } else { "plain" }
    }

    fn write_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<11} {:<32} {:>14} {:>14}  of", "", "limit", "have", "need")?;
        for finding in &self.findings {
            let [have, need] = [finding.have, finding.need].map(|value| value.map_or("-".to_owned(), grouped));
            let unit = if finding.unit.is_empty() { finding.says.as_str() } else { finding.unit };
            writeln!(f, "{:<11} {:<32} {have:>14} {need:>14}  {unit}", finding.level.label(), finding.item)?;
        }
        Ok(())
    }

    /// What to do, and below it what is worth knowing.
    fn write_advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |level| self.of(level).filter(|finding| !finding.says.is_empty());
        for (heading, level) in [("\nWhat cannot work:", Level::Impossible), ("\nWhat is short:", Level::Short)] {
            for (index, finding) in told(level).enumerate() {
                if index == 0 {
                    writeln!(f, "{heading}")?;
                }
                writeln!(f, "  {}: {}", finding.item, finding.says)?;
                if let Some(fix) = &finding.fix {
                    writeln!(f, "      {fix}")?;
                }
            }
        }
        if self.of(Level::Short).any(|finding| finding.fix.as_deref().is_some_and(|fix| fix.starts_with("sysctl"))) {
            writeln!(f, "  A file in /etc/sysctl.d keeps such settings: deploy/hongbao.sysctl.conf is one.")?;
        }
        let mut notes = told(Level::Ok).filter(|finding| !finding.unit.is_empty()).peekable();
        if notes.peek().is_some() {
            writeln!(f, "\nWorth knowing:")?;
        }
        notes.try_for_each(|finding| writeln!(f, "  {}: {}", finding.item, finding.says))
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<11} {:<64} {:>9} {:<15} {:>10}", "memory", "kind", "bytes", "each", "MB of all")?;
        for owner in [Owner::Kernel, Owner::Daemon] {
            for kind in self.memory.iter().filter(|kind| kind.owner == owner) {
                let each = format!("a {}", kind.per);
                let all = megabytes(kind.total());
                writeln!(f, "{:<11} {:<64} {:>9} {each:<15} {all:>10}", owner.label(), kind.what, grouped(kind.bytes))?;
            }
            writeln!(f, "{:<11} {:<64} {:>36}", owner.label(), "in all", megabytes(total(&self.memory, owner)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wishes { sets, connections_per_set, connections, .. } = &self.wishes;
        let (places, descriptors) = (grouped((*connections_per_set).into()), self.descriptors());
        write!(
            f,
            "{} connections on {sets} SETs of {places} places, {descriptors} descriptors",
            grouped(*connections)
        )?;
        f.write_char('\n')?;
        self.write_limits(f)?;
        self.write_advice(f)?;
        self.write_memory(f)
    }
}

/// A kind as JSON tells it.
#[derive(Serialize)]
struct KindWithTotal<'a> {
    #[serde(flatten)]
    kind: &'a Kind,
    total_bytes: u64,
}

impl<'a> From<&'a Kind> for KindWithTotal<'a> {
    fn from(kind: &'a Kind) -> Self {
        Self { kind, total_bytes: kind.total() }
    }
}

/// With commas between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::judge;
    use crate::preflight::judge::tests::{plenty, wishes};
    use crate::preflight::{Facts, memory};

    fn report(facts: &Facts, wishes: Wishes) -> Report {
        Report { findings: judge(facts, &wishes), memory: memory::table(&wishes), wishes }
    }

    #[test]
    fn a_person_reads_what_is_short_and_the_command_that_raises_it() {
        let short = report(&Facts { backlog_max: Some(4096), ..plenty() }, wishes(1_000_000, 52));
        let text = short.to_string();
        for told in
            ["1,000,000 connections on 52 SETs", "What is short:", "sysctl -w net.core.somaxconn=65535", "kernel"]
        {
            assert!(text.contains(told), "{told} is missing in\n{text}");
        }
        assert!(short.refusal().is_none());
        assert!(!report(&plenty(), wishes(1_000_000, 52)).to_string().contains("What is short"));
    }

    #[test]
    fn a_program_reads_the_worst_level_and_every_limit() {
        let short = report(&Facts { backlog_max: Some(4096), ..plenty() }, wishes(1_000_000, 52));
        let json: serde_json::Value = serde_json::from_str(&short.json()).expect("JSON");
        assert_eq!(json["level"], "short");
        let limits = json["limits"].as_array().expect("limits");
        assert!(limits.iter().any(|limit| limit["item"] == "net.core.somaxconn" && limit["have"] == 4096));
        let sum: u64 =
            json["memory"].as_array().expect("kinds").iter().filter_map(|kind| kind["total_bytes"].as_u64()).sum();
        assert_eq!(Some(sum), json["kernel_bytes"].as_u64().zip(json["daemon_bytes"].as_u64()).map(|(a, b)| a + b));
    }

    #[test]
    fn all_that_cannot_work_is_told_at_once() {
        let facts = Facts { ring: Err("no io_uring".to_owned()), files_max: 10, ..plenty() };
        let refusal = report(&facts, wishes(1_000_000, 52)).refusal().expect("refused");
        assert_eq!(refusal.exit, Exit::Unavailable, "that of the first");
        assert!(refusal.message.contains("no io_uring") && refusal.message.contains("RLIMIT_NOFILE"), "{refusal}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
