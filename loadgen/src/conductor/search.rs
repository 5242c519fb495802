//! A stage that searches: each rate that is tried is a load and a stage of the report.

use super::Conductor;
use crate::exit::Failure;
use crate::outcome::StageOutcome;
use crate::scenario::{Search as Range, Stage};
use crate::search::{self, Search, Step, Verdict};
use crate::segment::Law;

impl Conductor<'_> {
    /// Tries rates until the highest that holds is found. Each is a stage of the report.
    pub(super) fn search(&mut self, stage: &Stage, range: &Range, begun: &StageOutcome) -> Result<(), Failure> {
        let bounds = search::Bounds {
            low: range.from.0,
            high: range.to.0,
            resolution: range.resolution.0,
            trials_max: range.trials,
            confirmations: range.confirmations,
        };
        bounds.check()?;
        let mut search = Search::new(bounds);
        let arrivals = self.run.plan().arrivals;
        while self.goes_on() {
            let (rate, word) = match search.step() {
                Step::Trial(rate) => (rate, "trying"),
                Step::Confirm(rate) => (rate, "confirming"),
                Step::Found(answer) => {
                    let sure = if answer.confirmed { "" } else { ", not confirmed: the trials were used up" };
                    self.desk.progress.say(&format!(
                        "found: {}/s holds{sure}; the limit is {}",
                        answer.rate,
                        answer.limit.words()
                    ));
                    self.search = Some(answer);
                    return Ok(());
                }
                Step::NothingHolds(limit) => {
                    self.desk.progress.say(&format!("not even {}/s holds; the limit is {}", bounds.low, limit.words()));
                    self.search = Some(search::Answer { rate: 0, confirmed: false, limit });
                    return Ok(());
                }
            };
            self.desk.progress.say(&format!("{word} {rate}/s"));
            let mut outcome = begun.clone();
            outcome.name = format!("{} {rate}/s", stage.name);
            outcome.trial = Some(false);
            self.stage.clone_from(&outcome.name);
            self.load(stage, Law::Open { from: rate, to: rate, arrivals }, outcome, None)?;
            self.await_end_of_load()?;
            self.await_laps(0)?;
            let verdict = self.judge();
            if let Some(last) = self.outcomes.last_mut() {
                last.trial = Some(verdict == Verdict::Held);
            }
            search.take(verdict);
        }
        Ok(())
    }

    /// How the last stage went, as a trial.
    fn judge(&mut self) -> Verdict {
        self.hear_server();
        let Some(outcome) = self.outcomes.last() else { return Verdict::Invalid };
        let since_ns = self.run.clock().first_second_ns();
        let report =
            outcome.report(self.outcomes.len() as u32 - 1, self.run.plan(), since_ns, self.run.series.points());
        let missed: Vec<String> = report
            .expectations
            .iter()
            .filter(|expected| !expected.held)
            .map(|expected| format!("{} was {}", expected.expectation, expected.measured))
            .collect();
        let verdict = if !report.invalid_reasons.is_empty() {
            Verdict::Invalid
        } else if missed.is_empty() {
            Verdict::Held
        } else {
            Verdict::Missed
        };
        let why = [missed, report.invalid_reasons].concat().join("; ");
        self.desk.progress.say(&format!("  {verdict:?}{}{why}", if why.is_empty() { "" } else { ": " }));
        verdict
    }
}
