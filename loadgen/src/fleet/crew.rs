//! The coordinator's connections to its agents. What fails names the agent; when the crew is dropped, every agent ends its load.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::clocks::{Offset, Ping};
use super::protocol::{PROTOCOL, Reply, Request, Welcome};
use super::session::unix_us;
use super::wire::Wire;
use crate::exit::Failure;
use crate::limits::{AGENTS_MAX, FLEET_PINGS, FLEET_TIMEOUT_MS};

const TIMEOUT: Duration = Duration::from_millis(FLEET_TIMEOUT_MS);

/// One agent, as the coordinator has it.
pub(super) struct Member {
    /// As it was named on the command line.
    pub(super) name: String,
    /// What it said of itself.
    pub(super) welcome: Welcome,
    /// Its clock, at the last check.
    pub(super) offset: Offset,
    pub(super) wire: Wire,
}

/// All of them, in the order of the command line.
pub(super) struct Crew(pub(super) Vec<Member>);

impl Crew {
    /// Connects to all, and looks at their clocks.
    pub(super) fn connect(names: &[String]) -> Result<Self, Failure> {
        if names.len() > AGENTS_MAX {
            return Err(Failure::usage(format!("at most {AGENTS_MAX} agents")));
        }
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return Err(Failure::usage(format!("the agent {name} is named twice")));
            }
        }
        names.iter().map(|name| Member::connect(name)).collect::<Result<_, _>>().map(Self)
    }

    /// Looks at the clocks again.
    pub(super) fn check_clocks(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(Member::check_clock)
    }

    /// Those whose clock may be further off than this.
    pub(super) fn off(&self, max: Duration) -> Vec<String> {
        let off = self.0.iter().filter(|member| !member.offset.is_within(max));
        off.map(|member| format!("{}: {}", member.name, member.offset)).collect()
    }

    /// Asks all at the same time; `request` is told the agent's place. Every answer is waited for, then the first refusal is an error.
    pub(super) fn ask(&mut self, request: impl Fn(usize, &Member) -> Request) -> Result<Vec<Reply>, Failure> {
        // Each that was asked is heard, whatever happened to the others: an answer left unread would pass for that to the next question.
        let mut asked = Vec::with_capacity(self.0.len());
        for (place, member) in self.0.iter_mut().enumerate() {
            let request = request(place, member);
            asked.push(member.wire.send(&request).map_err(|error| failed(&member.name, &error.to_string())));
        }
        let replies: Vec<_> =
            self.0.iter_mut().zip(asked).map(|(member, asked)| asked.and_then(|()| member.receive())).collect();
        replies.into_iter().collect()
    }
}

impl Member {
    fn connect(name: &str) -> Result<Self, Failure> {
        let stream = reach(name).map_err(|error| {
            failed(name, &format!("{error}; does `hongbao-loadgen agent` run there, and does the network let you in?"))
        })?;
        let mut wire = Wire::new(stream).map_err(|error| failed(name, &error.to_string()))?;
        let hello = Request::Hello { protocol: PROTOCOL.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        wire.send(&hello).map_err(|error| failed(name, &error.to_string()))?;
        let reply = wire.receive(TIMEOUT, || false).map_err(|error| failed(name, &error.to_string()))?;
        let welcome = match reply {
            Reply::Welcome(welcome) if welcome.protocol == PROTOCOL => welcome,
            Reply::Refused { error } => return Err(failed(name, &error)),
            other => return Err(failed(name, &format!("it answers a hello with {other:?}"))),
        };
        let mut member =
            Self { name: name.to_owned(), welcome, offset: Offset { ahead_us: 0, round_trip_us: 0 }, wire };
        member.check_clock()?;
        Ok(member)
    }

    fn check_clock(&mut self) -> Result<(), Failure> {
        let mut pings = [Ping { sent_us: 1, agent_us: 0, received_us: 0 }; FLEET_PINGS];
        for ping in &mut pings {
            let sent_us = unix_us();
            self.wire.send(&Request::Ping).map_err(|error| failed(&self.name, &error.to_string()))?;
            match self.receive()? {
                Reply::Pong { unix_us: agent_us } => *ping = Ping { sent_us, agent_us, received_us: unix_us() },
                other => return Err(failed(&self.name, &format!("it answers a ping with {other:?}"))),
            }
        }
        self.offset = Offset::of(&pings)
            .ok_or_else(|| failed(&self.name, "the clock of this machine was set back while it was compared"))?;
        Ok(())
    }

    /// The next answer, if it is no refusal.
    pub(super) fn receive(&mut self) -> Result<Reply, Failure> {
        match self.wire.receive(TIMEOUT, || false) {
            Ok(Reply::Refused { error }) => Err(failed(&self.name, &error)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(failed(&self.name, &error.to_string())),
        }
    }
}

/// Something went wrong with this agent.
pub(super) fn failed(name: &str, why: &str) -> Failure {
    Failure::error(format!("the agent {name}: {why}"))
}

fn reach(name: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address; write HOST:PORT");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
