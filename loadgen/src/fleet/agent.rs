//! `hongbao-loadgen agent`: waits for a coordinator and does what it says, within the bounds of its own command line.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, Parser};

use super::child::Own;
use super::protocol::{Limits, Reply, Request};
use super::session::{self, Agent};
use super::wire::Wire;
use crate::arguments::CommandLine;
use crate::exit::{Exit, Failure};
use crate::limits::{CONNECTIONS_MAX, RATE_MAX};
use crate::parse;
use crate::signals::Interrupts;

/// How often the main thread looks for a coordinator.
const LOOK: Duration = Duration::from_millis(50);

/// How long a coordinator waits for the one before it to be gone.
const HANDOVER: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "\
Examples:
  # on each client machine: waits for a coordinator, and loads this server and no other
  hongbao-loadgen agent --listen 10.0.0.11:7700 --target 10.0.0.1:8866

  # not more than this machine can do; and what follows -- belongs to every load it runs
  hongbao-loadgen agent --listen 10.0.0.12:7700 --target 10.0.0.1:8866 --connections-max 60k --rate-max 50k -- --threads 2

Who can reach the port can start a load on the target, and on nothing else. It asks for no password and encrypts nothing: listen on a private network only.

Exit codes: 0 ended by a signal, 1 error, 2 usage.";

/// `hongbao-loadgen agent`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AgentArguments {
    /// Where to wait for a coordinator: an address of a private network
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// The server to load; a coordinator cannot name another
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub target: SocketAddr,

    /// Most connections that a coordinator may ask for
    #[arg(long, value_name = "N", default_value_t = u64::from(CONNECTIONS_MAX), value_parser = parse::count)]
    pub connections_max: u64,

    /// Most shakes a second that a coordinator may ask for
    #[arg(long, value_name = "N", default_value_t = RATE_MAX, value_parser = parse::rate)]
    pub rate_max: u64,

    /// Further flags of `hongbao-loadgen scenario` for every load, such as --threads or --source-addresses
    #[arg(last = true, value_name = "FLAGS")]
    pub flags: Vec<String>,
}

/// Serves coordinators, one at a time, until a signal comes.
pub fn run(arguments: &AgentArguments) -> Result<Exit, Failure> {
    check_flags(&arguments.flags)?;
    let interrupts = Interrupts::take_over()?;
    let failed = |error: std::io::Error| Failure::error(format!("listening on {}: {error}", arguments.listen));
    let listener = TcpListener::bind(arguments.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let agent = Arc::new(Agent {
        own: Own { target: arguments.target, flags: arguments.flags.clone() },
        limits: Limits { connections: arguments.connections_max, rate_qps: arguments.rate_max },
        stopping: AtomicBool::new(false),
    });
    let address = listener.local_addr().map_err(failed)?;
    say(&format!("the agent waits on {address} for a coordinator, to load {}", arguments.target));
    let mut session: Option<JoinHandle<()>> = None;
    while !interrupts.sleep(LOOK) {
        match listener.accept() {
            Ok((stream, from)) if is_over(session.as_ref()) => session = Some(serve(&agent, stream, from)?),
            Ok((stream, from)) => turn_away(stream, from),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {}
            Err(error) => say(&format!("a coordinator could not be let in: {error}")),
        }
    }
    agent.stopping.store(true, Ordering::Relaxed);
    if let Some(session) = session {
        session.join().map_err(|_| Failure::error("the session of a coordinator panicked"))?;
    }
    Ok(Exit::Good)
}

/// What cannot be would otherwise be found out at the first load.
fn check_flags(flags: &[String]) -> Result<(), Failure> {
    let words = ["hongbao-loadgen", "scenario", "list"].map(str::to_owned).into_iter().chain(flags.iter().cloned());
    CommandLine::try_parse_from(words)
        .map(|_| ())
        .map_err(|error| Failure::usage(format!("what follows -- is no part of `hongbao-loadgen scenario`: {error}")))
}

fn serve(agent: &Arc<Agent>, stream: TcpStream, from: SocketAddr) -> Result<JoinHandle<()>, Failure> {
    let agent = Arc::clone(agent);
    let session = thread::Builder::new().name("session".to_owned()).spawn(move || {
        say(&format!("the coordinator at {from} takes over"));
        match session::serve(&agent, stream) {
            Ok(()) => say(&format!("the coordinator at {from} is gone")),
            Err(error) => say(&format!("the coordinator at {from}: {error}; its load is ended")),
        }
    });
    session.map_err(|error| Failure::error(format!("starting the thread of a session: {error}")))
}

/// Whether there is no session, or it ends within a moment: a coordinator that failed is often started again at once.
fn is_over(session: Option<&JoinHandle<()>>) -> bool {
    let Some(session) = session else { return true };
    let begin = Instant::now();
    while !session.is_finished() && begin.elapsed() < HANDOVER {
        thread::sleep(Duration::from_millis(10));
    }
    session.is_finished()
}

fn turn_away(stream: TcpStream, from: SocketAddr) {
    let refused = Reply::Refused { error: "another coordinator is at work here".to_owned() };
    // Its request is read first: what is left unread when a socket closes takes the answer with it.
    if let Ok(mut wire) = Wire::new(stream)
        && wire.receive::<Request>(Duration::from_millis(500), || false).is_ok()
    {
        drop(wire.send(&refused));
    }
    say(&format!("a second coordinator at {from} was turned away"));
}

fn say(line: &str) {
    // Who closed standard error does not want to know.
    drop(writeln!(std::io::stderr(), "hongbao-loadgen: {line}"));
}
