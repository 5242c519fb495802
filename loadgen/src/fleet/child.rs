//! The load of an agent: this same program as a process of its own, steered over its control socket. It dies with its session.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use super::folder::Folder;
use super::protocol::{Ended, Order, Product, Progress};
use crate::control;
use crate::exit::Exit;
use crate::limits::FLEET_WORDS_MAX;

/// What the agent's own command line adds to every load.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// The server.
    pub(super) target: SocketAddr,
    /// Further flags of `hongbao-loadgen scenario`.
    pub(super) flags: Vec<String>,
}

/// See the module's text.
pub(super) struct Child {
    process: std::process::Child,
    ended: Option<Ended>,
    // Last: removed when the process is dead.
    folder: Folder,
}

impl Child {
    /// Starts a load; it begins to connect at once.
    pub(super) fn start(own: &Own, order: &Order) -> io::Result<Self> {
        let folder = Folder::make("agent")?;
        let scenario = folder.file("scenario.json");
        fs::write(&scenario, serde_json::to_vec(&order.scenario)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("scenario").arg(&scenario).args(arguments(own, order, &folder));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(words_file(&folder))?);
        Ok(Self { process: command.spawn()?, ended: None, folder })
    }

    /// How far it is.
    pub(super) fn progress(&mut self) -> io::Result<Progress> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait()?.map(|status| ended(status, &self.words()));
        }
        if self.ended.is_some() {
            return Ok(Progress { run: None, ended: self.ended.clone() });
        }
        // It is not there before the run listens, nor when it is about to end.
        let answer = control::ask(&self.control_socket(), "status").ok();
        let run = answer.and_then(|line| serde_json::from_str::<control::Answer>(&line).ok()?.status);
        Ok(Progress { run, ended: None })
    }

    /// Whether it has ended, as far as [`progress`](Self::progress) has seen.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Tells the run something.
    pub(super) fn tell(&self, line: &str) -> Result<(), String> {
        let answer = control::ask(&self.control_socket(), line).map_err(|error| format!("asking the run: {error}"))?;
        let answer: control::Answer =
            serde_json::from_str(&answer).map_err(|error| format!("the run's answer `{}`: {error}", answer.trim()))?;
        if answer.ok { Ok(()) } else { Err(answer.error.unwrap_or_else(|| "the run refused".to_owned())) }
    }

    /// What it has left, and how long that is.
    pub(super) fn product(&self, product: Product) -> io::Result<(File, u64)> {
        let file = File::open(product_file(&self.folder, product))?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn control_socket(&self) -> PathBuf {
        control_socket(&self.folder)
    }

    fn words(&self) -> String {
        let words = fs::read(words_file(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&words[words.len().saturating_sub(FLEET_WORDS_MAX)..]).trim().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A load that nobody steers any more must not go on. Both fail where it has ended, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn arguments(own: &Own, order: &Order, folder: &Folder) -> Vec<String> {
    let path = |path: PathBuf| path.display().to_string();
    let mut arguments = vec![
        "--quiet".to_owned(),
        "--end-with-parent".to_owned(),
        "--target".to_owned(),
        own.target.to_string(),
        "--users".to_owned(),
        order.users().to_string(),
        "--control-socket".to_owned(),
        path(control_socket(folder)),
        "--json".to_owned(),
        path(product_file(folder, Product::Report)),
        "--claims".to_owned(),
        path(product_file(folder, Product::Claims)),
    ];
    if order.hold {
        arguments.push("--hold".to_owned());
    }
    arguments.extend(order.settings.flags());
    arguments.extend(own.flags.iter().cloned());
    arguments
}

fn control_socket(folder: &Folder) -> PathBuf {
    folder.file("control")
}

fn words_file(folder: &Folder) -> PathBuf {
    folder.file("stderr")
}

fn product_file(folder: &Folder, product: Product) -> PathBuf {
    folder.file(match product {
        Product::Report => "report.json",
        Product::Claims => "claims.jsonl",
    })
}

fn ended(status: ExitStatus, words: &str) -> Ended {
    let reported = [Exit::Good, Exit::Invalid, Exit::Threshold].iter().any(|exit| status.code() == Some(*exit as i32));
    Ended { reported, words: format!("{status}: {words}") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Command as Subcommand, CommandLine};
    use crate::fleet::protocol::Settings;
    use crate::scenario::Scenario;

    #[test]
    fn what_the_coordinator_asks_for_is_a_command_line_that_we_understand() {
        let settings = Settings {
            timeout_us: 1_500_000,
            obey_retry: true,
            reconnect: false,
            connect_rate: 9_000,
            connect_timeout_us: 2_000_000,
            tick_us: Some(2_000),
            rng_seed: 7,
            lateness_max_us: Some(5_000_000),
            cap_per_user: 2,
            cap_per_sponsor: 0,
        };
        let json = r#"{"name": "x", "stages": [{"name": "a", "connections": 5, "rate": 5, "duration": "1s"}]}"#;
        let scenario = Scenario::parse(json, "here").unwrap();
        let order = Order { scenario, users_first: 10, users_count: 5, hold: true, settings };
        let own = Own { target: "10.0.0.1:8866".parse().unwrap(), flags: vec!["--threads".to_owned(), "3".to_owned()] };
        let folder = Folder::make("test").unwrap();
        let words = ["hongbao-loadgen", "scenario", "x.json"].map(str::to_owned);
        let line = CommandLine::try_parse_from(words.into_iter().chain(arguments(&own, &order, &folder))).unwrap();
        let Subcommand::Scenario(typed) = line.command else { panic!("a scenario") };
        let common = &typed.common;
        assert_eq!(typed.target, Some(own.target));
        assert_eq!(Settings::from(&common.behaviour), order.settings);
        assert_eq!(
            (common.users, common.threads, common.hold, common.quiet),
            (Some(order.users()), Some(3), true, true)
        );
        assert_eq!(common.outputs.json, Some(product_file(&folder, Product::Report)));
    }
}
