//! The report as a table for people.

use std::fmt::Write as _;

use super::{Expected, Report};
use crate::gifts::report::GiftRequests;

impl Report {
    /// The table for people, several lines.
    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut table);
        table
    }

    fn write_table(&self, to: &mut String) -> std::fmt::Result {
        let (connections, requests) = (&self.connections, &self.requests);
        let asked = match (self.rate_target_qps, self.depth) {
            (Some(rate), _) => format!("open loop, {} at {rate}/s", self.schedule),
            (None, Some(depth)) => format!("closed loop, depth {depth}"),
            (None, None) => "no shakes".to_owned(),
        };
        writeln!(to, "load         {asked}, {:.1} s after {:.1} s of warm-up", self.duration_s, self.warm_up_s)?;
        writeln!(
            to,
            "connections  {} of {} established in {} ms, {} failed, {} dropped{}",
            connections.established,
            connections.target,
            connections.establish_ms,
            connections.failed,
            connections.dropped,
            list(connections.attempts_failed.iter().chain(&connections.dropped_by_reason)),
        )?;
        writeln!(
            to,
            "requests     {} scheduled, {} sent, {} answered ({:.1}/s), {} timed out, {} lost",
            requests.scheduled, requests.sent, requests.answered, self.rate_qps, requests.timed_out, requests.lost
        )?;
        let outcomes = &requests.by_outcome;
        writeln!(
            to,
            "outcomes     {} envelope, {} none, {} user limit, {} sponsor limit, {} overloaded",
            outcomes.envelope, outcomes.none, outcomes.user_limit, outcomes.sponsor_limit, outcomes.overloaded
        )?;
        if let Some(gifts) = &self.gifts {
            write_gifts(to, &gifts.requests, gifts.rate)?;
        }
        writeln!(to, "{:<12} {:>10} {:>10} {:>10} {:>10} {:>10}", "ms", "p50", "p90", "p99", "p99.9", "max")?;
        let of_gifts = self.gifts.iter().flat_map(|gifts| {
            [("gift send", &gifts.send_us), ("gift notice", &gifts.notice_us), ("gift open", &gifts.open_us)]
        });
        let of_shakes = [("latency", &self.latency_us), ("service", &self.service_us), ("lateness", &self.lateness_us)];
        for (name, of) in of_shakes.into_iter().chain(of_gifts) {
            write!(to, "{name:<12}")?;
            for us in [of.p50, of.p90, of.p99, of.p99_9, of.max] {
                write!(to, " {:>10.3}", us as f64 / 1_000.0)?;
            }
            writeln!(to)?;
        }
        if self.stages.len() > 1 {
            self.write_stages(to)?;
        }
        let audit = &self.audit;
        writeln!(
            to,
            "audit        {} envelopes, {} cents, {} duplicates, {} over a cap, {} altered",
            audit.envelopes, audit.amount_cents, audit.duplicates, audit.over_cap, audit.altered
        )?;
        audit.findings.iter().try_for_each(|finding| writeln!(to, "             {finding}"))?;
        if let Some(audit) = &self.gift_audit {
            writeln!(
                to,
                "gift audit   {} cents sent = {} opened + {} pending + {} over; {} told again; {} violations",
                audit.sent_cents,
                audit.opened_cents,
                audit.pending_cents,
                audit.over_cents,
                audit.told_again,
                audit.violations()
            )?;
            audit.findings.iter().try_for_each(|finding| writeln!(to, "             {finding}"))?;
        }
        writeln!(
            to,
            "own cost     {:.2} us a request, {:.2} cores, {:.3} enters a request",
            self.cpu.us_per_request,
            self.cpu.cores,
            self.ring.enters as f64 / (self.ring.sends.max(1)) as f64
        )?;
        for (stage, expected) in self.missed() {
            writeln!(to, "missed       {stage}{} was {}", expected.expectation, expected.measured)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(to, "warning      {warning}"))?;
        writeln!(to, "valid        {}", if self.valid { "yes" } else { "NO" })?;
        self.invalid_reasons.iter().try_for_each(|reason| writeln!(to, "             {reason}"))
    }
}

fn write_gifts(to: &mut String, gifts: &GiftRequests, rate: f64) -> std::fmt::Result {
    writeln!(
        to,
        "gifts        {} scheduled, {} sent, {} granted ({rate:.1}/s), {} refused{}, {} timed out, {} lost",
        gifts.scheduled,
        gifts.sent,
        gifts.granted,
        gifts.refused,
        list(gifts.refused_by_reason.iter()),
        gifts.timed_out,
        gifts.lost
    )?;
    writeln!(
        to,
        "shares       {} opens, {} opened, {} closed{}, {} timed out, {} lost",
        gifts.opens,
        gifts.opened,
        gifts.closed,
        list(gifts.closed_by_reason.iter()),
        gifts.opens_timed_out,
        gifts.opens_lost
    )
}

impl Report {
    fn write_stages(&self, to: &mut String) -> std::fmt::Result {
        write!(to, "{:<20} {:>9} {:>9} {:>10} {:>7}", "stage", "users", "asked/s", "answered/s", "errors")?;
        writeln!(to, " {:>9} {:>9} {:>9} {:>9} {:>11}", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "connected s")?;
        for stage in &self.stages {
            let requests = &stage.requests;
            let errors =
                requests.timed_out + requests.lost + requests.not_sent.disconnected + requests.not_sent.overdue;
            let asked = stage.rate_target_qps.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
            write!(to, "{:<20} {:>9} {asked:>9} {:>10.1} {errors:>7}", stage.name, stage.connections, stage.rate_qps)?;
            let latency = &stage.latency_us;
            for us in [latency.p50, latency.p99, latency.p99_9, latency.max] {
                write!(to, " {:>9.3}", us as f64 / 1_000.0)?;
            }
            let connected = stage.establish_ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1e3));
            writeln!(to, " {connected:>11}")?;
        }
        if let Some(found) = self.search {
            let sure = if found.confirmed { "confirmed" } else { "not confirmed" };
            writeln!(to, "highest rate {}/s, {sure}; the limit is {}", found.rate, found.limit.words())?;
        }
        Ok(())
    }

    /// What was expected and did not hold, with its stage; rates that a search tried in vain are not among them.
    fn missed(&self) -> impl Iterator<Item = (String, &Expected)> {
        let of_stages = self
            .stages
            .iter()
            .filter(|stage| stage.trial.is_none())
            .flat_map(|stage| stage.expectations.iter().map(|expected| (format!("{}: ", stage.name), expected)));
        let of_run = self.expectations.iter().map(|expected| (String::new(), expected));
        of_stages.chain(of_run).filter(|(_, expected)| !expected.held)
    }
}

fn list<'a>(reasons: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let words: Vec<String> = reasons.map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}
