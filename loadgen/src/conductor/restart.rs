//! A stage in which the server is restarted.

use std::process::Child;
use std::time::Duration;

use super::{Conductor, NS_PER_SECOND};
use crate::control::Phase;
use crate::exit::Failure;
use crate::limits::RESTART_NOTICE_S;
use crate::outcome::StageOutcome;
use crate::progress::Progress;
use crate::scenario::Stage;

impl Conductor<'_> {
    /// Has the server restarted, and waits until every connection has been made again.
    pub(super) fn restart(&mut self, stage: &Stage, outcome: &mut StageOutcome) -> Result<(), Failure> {
        self.await_end_of_load()?;
        self.await_laps(0)?;
        let target = u64::from(self.connections);
        let before = self.run.established();
        let mut child = self.desk.restart_command.map(shell).transpose()?;
        if child.is_none() {
            self.desk.progress.say("restart the server now (--restart-command does it for you)");
        }
        let begun_ns = self.now_ns();
        let end_ns = begun_ns + stage.duration.0.as_nanos() as u64;
        let mut broke_ns = None;
        let mut told_s = 0;
        loop {
            self.look()?;
            let (now_ns, established) = (self.now_ns(), self.run.established());
            if broke_ns.is_none() && established < before {
                broke_ns = Some(now_ns);
                outcome.begun_ns = now_ns;
                self.phase = Phase::Connecting;
            }
            if broke_ns.is_some() {
                self.desk.progress.ramp(established, target, Duration::from_nanos(now_ns - begun_ns));
            } else if self.desk.restart_command.is_none()
                && (now_ns - begun_ns) / NS_PER_SECOND >= told_s + RESTART_NOTICE_S
            {
                told_s += RESTART_NOTICE_S;
                self.desk.progress.say(&format!("{told_s} s: no connection has broken yet; restart the server"));
            }
            let all_back = broke_ns.is_some() && established >= target && self.run.is_settled(self.connections);
            if all_back || now_ns >= end_ns || !self.goes_on() {
                break;
            }
        }
        if let Some(child) = &mut child {
            check_ended(child, self.desk.progress);
        }
        let took_ns = self.now_ns() - broke_ns.unwrap_or(begun_ns);
        outcome.connections = self.run.established();
        outcome.establish_ms = Some(took_ns / 1_000_000);
        self.desk.progress.say(&if broke_ns.is_some() {
            format!("{} of {target} connections again after {:.1} s", outcome.connections, took_ns as f64 / 1e9)
        } else {
            outcome.problem = Some("restart: no connection broke, so the server was not restarted".to_owned());
            "no connection broke: the server was not restarted".to_owned()
        });
        Ok(())
    }
}

fn shell(command: &str) -> Result<Child, Failure> {
    std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .spawn()
        .map_err(|error| Failure::error(format!("running --restart-command `{command}`: {error}")))
}

fn check_ended(child: &mut Child, progress: &Progress) {
    match child.try_wait() {
        Ok(Some(status)) if !status.success() => progress.say(&format!("--restart-command ended with {status}")),
        Ok(None) => progress.say("--restart-command still runs; it is left alone"),
        Ok(Some(_)) | Err(_) => {}
    }
}
