//! `hongbaod ctl`: speaks to a running daemon over its admin socket.

mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::print;
use crate::admin::{Admin, Command, Request, Status};
use crate::exit::{Exit, Failure};
use crate::units::Period;

/// Arguments of `ctl`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  hongbaod ctl status
  hongbaod ctl status --watch
  hongbaod ctl rate 50/s
  hongbaod ctl pause
  hongbaod ctl --socket /tmp/hongbao-demo/admin.sock status --json

An order is answered when every thread obeys it, with the time that took. It exits with 0 where it was done; with 69 where no daemon
answers, 77 where you may not, 78 where a configuration is wrong, 64 where the order is.")]
pub(super) struct CtlArgs {
    /// The daemon's admin socket
    #[arg(
        long,
        env = "HONGBAO_ADMIN_SOCKET",
        value_name = "PATH",
        default_value = "/run/hongbao/admin.sock",
        global = true
    )]
    socket: PathBuf,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", global = true)]
    timeout: Period,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Tell on one screen how the daemon stands, what is not well first
    #[command(after_help = "\
Examples:
  hongbaod ctl status
  hongbaod ctl status --watch
  hongbaod ctl status --json | jq .warnings")]
    Status {
        /// Look again and again; ends with ctrl-c, or with the daemon
        #[arg(long)]
        watch: bool,
        /// Time between two looks
        #[arg(long, value_name = "TIME", default_value = "1s", requires = "watch")]
        every: Period,
    },
    #[command(flatten)]
    Order(Command),
}

/// Runs it.
pub(super) fn run(arguments: CtlArgs) -> Result<(), Failure> {
    let CtlArgs { socket, json, timeout, action } = arguments;
    if timeout.0.is_zero() {
        return Err(Failure::new(Exit::Usage, "--timeout is 0s: nothing answers in no time"));
    }
    let mut admin = Admin::connect(&socket, timeout.0)?;
    match action {
        Action::Status { watch: false, .. } => show(&status(&mut admin)?, json, false),
        Action::Status { watch: true, every } => watch(&mut admin, json, every.0),
        Action::Order(command) => {
            let reply = admin.ask(&request(command))?;
            if json {
                print(&as_json(&reply)?)?;
                return reply.outcome().map(drop);
            }
            let reply = reply.outcome()?;
            let took = reply.in_force_ms.map(|ms| format!(" (in force after {ms} ms)")).unwrap_or_default();
            print(&format!("{}{took}", reply.message))
        }
    }
}

fn request(command: Command) -> Request {
    let on_behalf_of = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    Request { command, on_behalf_of }
}

fn status(admin: &mut Admin) -> Result<Status, Failure> {
    let reply = admin.ask(&request(Command::Status))?.outcome()?;
    let missing = || Failure::new(Exit::Data, "the daemon's answer holds no status: it is of another version");
    reply.status.map(|status| *status).ok_or_else(missing)
}

fn watch(admin: &mut Admin, json: bool, every: Duration) -> Result<(), Failure> {
    let clear = !json && std::io::stdout().is_terminal();
    // Bounded by the daemon's life: the first look that is not answered ends it.
    loop {
        show(&status(admin)?, json, clear)?;
        thread::sleep(every.clamp(Duration::from_millis(100), Duration::from_secs(5)));
    }
}

fn show(status: &Status, json: bool, clear: bool) -> Result<(), Failure> {
    // Home and clear: one screen, always at the same place.
    let clear = if clear { "\x1b[H\x1b[2J" } else { "" };
    print(&if json { as_json(status)? } else { format!("{clear}{}", view::screen(status)) })
}

fn as_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::Data, format!("writing the answer as JSON: {error}")))
}
