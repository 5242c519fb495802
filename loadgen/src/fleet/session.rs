//! An agent's side of one coordinator's connection: request, answer, request, answer. When it ends, for whatever reason, the load ends.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::child::{Child, Own};
use super::protocol::{Limits, Order, PROTOCOL, Product, Progress, Reply, Request, Welcome};
use super::wire::{Wire, WireError};
use crate::limits::{FLEET_COLLECT_MS, FLEET_SILENCE_MS};

/// What every session of an agent has.
pub(super) struct Agent {
    pub(super) own: Own,
    pub(super) limits: Limits,
    /// The agent is to end.
    pub(super) stopping: AtomicBool,
}

/// The time of this machine, in microseconds since 1970 UTC.
pub(super) fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Serves a coordinator until it goes away, is silent for too long, or the agent is to end.
pub(super) fn serve(agent: &Agent, stream: TcpStream) -> Result<(), WireError> {
    let mut session = Session { agent, wire: Wire::new(stream)?, greeted: false, child: None };
    loop {
        match session.next() {
            Ok(()) => {}
            Err(WireError::Closed | WireError::CalledOff) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Session<'a> {
    agent: &'a Agent,
    wire: Wire,
    greeted: bool,
    child: Option<Child>,
}

impl Session<'_> {
    fn next(&mut self) -> Result<(), WireError> {
        // A coordinator under load asks every second. One that collects may be busy with the reports of others.
        let finished = self.child.as_ref().is_some_and(Child::has_ended);
        let silence = Duration::from_millis(if finished { FLEET_COLLECT_MS } else { FLEET_SILENCE_MS });
        let request = self.wire.receive(silence, || self.agent.stopping.load(Ordering::Relaxed))?;
        if let Request::Collect(product) = request {
            return self.collect(product);
        }
        let reply = self.answer(request).unwrap_or_else(|error| Reply::Refused { error });
        self.wire.send(&reply)
    }

    fn answer(&mut self, request: Request) -> Result<Reply, String> {
        if !self.greeted && !matches!(request, Request::Hello { .. }) {
            return Err("the first request is `hello`".to_owned());
        }
        match request {
            Request::Hello { protocol, version } => self.greet(&protocol, &version),
            Request::Ping => Ok(Reply::Pong { unix_us: unix_us() }),
            Request::Prepare(order) => self.prepare(&order),
            Request::Status => {
                let progress = match &mut self.child {
                    Some(child) => child.progress().map_err(|error| error.to_string())?,
                    None => Progress::default(),
                };
                Ok(Reply::Status(progress))
            }
            Request::Begin { unix_us } => self.tell(&format!("begin {unix_us}")),
            Request::Rate { qps } if qps > self.agent.limits.rate_qps => {
                Err(format!("{qps} shakes a second are more than the {} of --rate-max", self.agent.limits.rate_qps))
            }
            Request::Rate { qps } => self.tell(&format!("rate {qps}")),
            Request::Pause => self.tell("pause"),
            Request::Resume => self.tell("resume"),
            Request::Stop => self.tell("stop"),
            Request::Collect(_) => Err("a product is no answer".to_owned()),
        }
    }

    fn greet(&mut self, protocol: &str, version: &str) -> Result<Reply, String> {
        if protocol != PROTOCOL {
            return Err(format!(
                "it speaks {PROTOCOL} (version {}), and the coordinator {protocol} (version {version}): install the same version on all machines",
                env!("CARGO_PKG_VERSION")
            ));
        }
        self.greeted = true;
        Ok(Reply::Welcome(Welcome {
            protocol: PROTOCOL.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: self.agent.own.target.to_string(),
            limits: self.agent.limits,
        }))
    }

    fn prepare(&mut self, order: &Order) -> Result<Reply, String> {
        if self.child.as_ref().is_some_and(|child| !child.has_ended()) {
            return Err("a load is under way".to_owned());
        }
        self.agent.limits.check(&order.scenario)?;
        // The one before is removed before the next is made.
        self.child = None;
        let child = Child::start(&self.agent.own, order).map_err(|error| format!("starting the load: {error}"))?;
        self.child = Some(child);
        Ok(Reply::Done)
    }

    fn tell(&self, line: &str) -> Result<Reply, String> {
        let child = self.child.as_ref().ok_or("there is no load")?;
        child.tell(line).map(|()| Reply::Done)
    }

    fn collect(&mut self, product: Product) -> Result<(), WireError> {
        let found = match &self.child {
            Some(child) if child.has_ended() => child.product(product).map_err(|error| error.to_string()),
            _ => Err("no load has ended".to_owned()),
        };
        match found {
            Ok((file, bytes)) => {
                self.wire.send(&Reply::Product { bytes })?;
                self.wire.send_product(file, bytes)
            }
            Err(error) => self.wire.send(&Reply::Refused { error }),
        }
    }
}
