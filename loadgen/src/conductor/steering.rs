//! What comes from outside while a run lasts: commands, and the wish to stop.

use super::{Conductor, LEAD_NS};
use crate::control::{Command, Phase, Status};
use crate::exit::Failure;
use crate::exporter::Live;
use crate::segment::{Law, Segment};

impl Conductor<'_> {
    /// Ends the load early, in order.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        self.stopping = true;
        let at_ns = self.now_ns() + LEAD_NS;
        let Some(live) = self.live.filter(|live| live.end_ns > at_ns) else { return Ok(()) };
        let begin_ns = at_ns.max(live.begin_ns);
        self.follow(Segment { law: Law::Pause, begin_ns, end_ns: begin_ns, number: self.segments, ..live })?;
        self.run.series.cut(self.run.clock().second(begin_ns));
        if let Some(server) = &mut self.desk.server {
            server.cut(begin_ns);
        }
        if let Some(lap) = self.outcomes.last_mut().and_then(|last| last.lap.as_mut()) {
            lap.end_ns = begin_ns;
        }
        Ok(())
    }

    pub(super) fn command(&mut self, command: Command) -> Result<Result<Option<Status>, String>, Failure> {
        Ok(match command {
            Command::Status => Ok(Some(self.status())),
            Command::Stop => {
                self.stop()?;
                Ok(None)
            }
            Command::Begin(at_unix_us) => self.begin(at_unix_us),
            Command::Pause if self.paused => Err("it is paused already".to_owned()),
            Command::Pause => self.change(Law::Pause)?,
            Command::Resume if !self.paused => Err("it is not paused".to_owned()),
            Command::Resume => match self.outcomes.last().and_then(|last| last.lap.as_ref()).map(|lap| lap.law) {
                Some(law) => self.change(law)?,
                None => Err("there is no load".to_owned()),
            },
            Command::Rate(rate) if rate > self.run.plan().live_rate_max() => Err(format!(
                "{rate}/s is above {}/s, for which this run has room: start one with a higher rate",
                self.run.plan().live_rate_max()
            )),
            Command::Rate(rate) => {
                let law = Law::Open { from: rate, to: rate, arrivals: self.run.plan().arrivals };
                self.change(law)?
            }
        })
    }

    /// The load at hand goes on by another law, until its end.
    fn change(&mut self, law: Law) -> Result<Result<Option<Status>, String>, Failure> {
        let at_ns = self.now_ns() + LEAD_NS;
        let Some(live) = self.live.filter(|live| live.begin_ns <= at_ns && at_ns + LEAD_NS < live.end_ns) else {
            return Ok(Err("there is no load that could be changed".to_owned()));
        };
        if matches!(live.law, Law::Closed { .. }) {
            return Ok(Err("a closed loop has no rate".to_owned()));
        }
        let first_slot = live.first_slot + live.slots_until(at_ns);
        let (number, gifts) = (self.segments, live.gifts_from(at_ns));
        self.follow(Segment { law, begin_ns: at_ns, number, first_slot, gifts, ..live })?;
        self.paused = law == Law::Pause;
        if let Some(lap) = self.outcomes.last_mut().and_then(|last| last.lap.as_mut()) {
            lap.changed(law);
        }
        Ok(Ok(None))
    }

    fn begin(&mut self, at_unix_us: Option<u64>) -> Result<Option<Status>, String> {
        if self.phase != Phase::Held {
            return Err("it does not wait for `begin`".to_owned());
        }
        let clock = self.run.clock();
        let soonest_ns = self.now_ns() + LEAD_NS;
        let at_ns = match at_unix_us {
            None => clock.whole_second(soonest_ns),
            Some(unix_us) => {
                let at_ns = clock.at_unix_ns(unix_us.saturating_mul(1_000));
                if at_ns < soonest_ns {
                    return Err(format!("that is too soon: give it {} ms at least", LEAD_NS / 1_000_000));
                }
                at_ns
            }
        };
        self.phase = Phase::Load;
        self.begin_ns = Some(at_ns);
        Ok(None)
    }

    /// What goes on now, as far as a second does not tell it.
    pub(super) fn live(&self) -> Live {
        let loaded = self.live.is_some_and(|live| (live.begin_ns..live.end_ns).contains(&self.now_ns()));
        Live {
            stage: self.outcomes.len() as u64,
            rate_qps: self.rate_target().filter(|_| loaded).unwrap_or_default(),
            connections_target: u64::from(self.connections),
            connections: self.run.established(),
            given_up: self.run.given_up(),
        }
    }

    pub(super) fn rate_target(&self) -> Option<u64> {
        self.live.and_then(|live| match live.law {
            Law::Open { to, .. } => Some(to),
            Law::Pause => Some(0),
            Law::Closed { .. } => None,
        })
    }

    fn status(&self) -> Status {
        Status {
            phase: self.phase,
            stage: self.stage.clone(),
            connections: self.run.established(),
            connections_target: u64::from(self.connections),
            rate_target_qps: self.rate_target(),
            answered_last_s: self.last.answered,
            p99_us_last_s: self.last.p99_us,
        }
    }
}
