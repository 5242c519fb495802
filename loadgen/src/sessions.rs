//! The connections of one thread, from the connect to the end. Knows nothing of schedules: it is told to shake.

use hongbao_protocol::wire::{ClientFrame, VERSION};
use hongbao_uring::{Completion, Errno, Event, Generation, Receive, Received, Sent, Wait};
use slab::Slab;

use crate::arguments::CloseChoice;
use crate::book::Book;
use crate::connector::{Connector, Fate};
use crate::dial;
use crate::exit::Failure;
use crate::frames::{self, Stash};
use crate::limits::{CONNECTS_PER_TURN, LOGIN_RETRY_MAX_MS, PARTIAL_FRAMES};
use crate::network::Dial;
use crate::parting::{Parting, Partings};
use crate::plan::Plan;
use crate::reader::Reader;
use crate::rings::Rings;
use crate::schedule::Share;
use crate::user::{Phase, User};

const NS_PER_MS: u64 = 1_000_000;

/// What became of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Logged in now.
    pub established: u32,
    /// Connects begun.
    pub attempts: u64,
    /// Attempts that failed, by reason.
    pub attempts_failed: Partings,
    /// Users whose last attempt failed.
    pub given_up: u32,
    /// Connections that broke after the login, by reason.
    pub dropped: Partings,
    /// Logins of users who had been logged in before.
    pub reconnected: u64,
    /// Frames that told a user of a round.
    pub rounds_told: u64,
    /// What the welcomes asked for: the shortest time between two shakes, in milliseconds.
    pub shake_interval_ms: u32,
    /// What the welcomes said: the server closes after so long without a frame, in milliseconds. 0: not known yet.
    pub idle_timeout_ms: u32,
}

impl Tally {
    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        self.established += other.established;
        self.attempts += other.attempts;
        self.attempts_failed += other.attempts_failed;
        self.given_up += other.given_up;
        self.dropped += other.dropped;
        self.reconnected += other.reconnected;
        self.rounds_told += other.rounds_told;
        self.shake_interval_ms = self.shake_interval_ms.max(other.shake_interval_ms);
        self.idle_timeout_ms = self.idle_timeout_ms.max(other.idle_timeout_ms);
    }
}

/// Why a shake could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// Not logged in.
    Disconnected,
    /// The user waits as it was told.
    HeldBack,
}

/// See the module's text.
pub struct Sessions<N> {
    rings: Rings<N>,
    users: Vec<User>,
    partial: Slab<Stash>,
    /// Users whose outbox was written to in this turn.
    dirty: Vec<u32>,
    /// Users whose receive has ended while it was not known yet whether their last send had.
    ending: Vec<u32>,
    connector: Connector,
    plan: Plan,
    share: Share,
    tally: Tally,
    /// Next user that is looked at for a ping.
    ping_hand: u32,
    /// The run ends: a connection that ends is not dropped.
    closing: bool,
}

impl<N: Dial> Sessions<N> {
    /// Nobody connected yet. At least one ring, made on this thread.
    pub fn new(rings: Vec<N>, plan: Plan, share: Share) -> Self {
        let connector = Connector::new(&plan.connecting);
        Self {
            rings: Rings::new(rings, share.len()),
            users: std::iter::repeat_with(User::default).take(share.len() as usize).collect(),
            partial: Slab::with_capacity(PARTIAL_FRAMES),
            dirty: Vec::with_capacity(share.len() as usize),
            ending: Vec::with_capacity(share.len() as usize),
            connector,
            plan,
            share,
            tally: Tally::default(),
            ping_hand: 0,
            closing: false,
        }
    }

    /// What became of the connections so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// From now on the first `users` are to be connected.
    pub fn connect_up_to(&mut self, users: u32) {
        self.connector.grow(users.min(self.count()));
    }

    /// Whether every user was logged in or given up, and nothing is being tried.
    pub fn is_settled(&self) -> bool {
        self.connector.is_settled()
    }

    /// How many users.
    pub fn count(&self) -> u32 {
        self.users.len() as u32
    }

    /// What the ring did.
    pub fn counters(&self) -> hongbao_uring::NetworkCounters {
        self.rings.counters()
    }

    /// Submits what was prepared, waits, reaps.
    pub fn enter(&mut self, wait: Wait) -> Result<(), Failure> {
        self.rings.enter(wait).map_err(|error| {
            Failure::error(format!("io_uring_enter: {error}; the ring cannot go on, and the run with it"))
        })
    }

    /// Handles all that the last enter reaped.
    pub fn handle(&mut self, now_ns: u64, book: &mut Book) {
        while let Some(completion) = self.rings.next_completion() {
            self.complete(completion, now_ns, book);
        }
        // Now it is known of every send whether it is through. One that is not has a completion to come, which ends the user.
        let mut ending = std::mem::take(&mut self.ending);
        for local in ending.drain(..) {
            if self.may_end(local) {
                self.end(local, now_ns);
            }
        }
        self.ending = ending;
    }

    /// Whether a user may be told to shake now.
    pub fn may_shake(&self, local: u32, now_ns: u64) -> Result<(), Unsent> {
        let user = &self.users[local as usize];
        if user.phase != Phase::Ready {
            Err(Unsent::Disconnected)
        } else if u64::from(user.held_until_ms) > now_ns / NS_PER_MS {
            Err(Unsent::HeldBack)
        } else {
            Ok(())
        }
    }

    /// Adds a shake with this number to what a user is to be sent. Where the peer has not read for so long that there is no
    /// room, the connection is given up, and the shake with it.
    pub fn shake(&mut self, local: u32, number: u32, now_ns: u64) {
        self.users[local as usize].sent_ms = (now_ns / NS_PER_MS) as u32;
        self.append(local, &ClientFrame::Shake { sequence: number }, now_ns);
    }

    /// Adds a question about gifts, as `shake` does. The user is logged in.
    pub fn ask(&mut self, local: u32, frame: &ClientFrame, now_ns: u64) {
        self.users[local as usize].sent_ms = (now_ns / NS_PER_MS) as u32;
        self.append(local, frame, now_ns);
    }

    /// Sends what was written in this turn: one send a connection.
    pub fn flush(&mut self) {
        for local in self.dirty.drain(..) {
            let user = &mut self.users[local as usize];
            user.dirty = false;
            if let Some(socket) = &user.socket
                && user.phase != Phase::Leaving
            {
                self.rings.of(local).flush(socket, user.token(local), &mut user.outbox);
            }
        }
        self.rings.submit();
    }

    /// Begins the connects that the ramp allows and gives up attempts that took too long.
    pub fn connect(&mut self, now_ns: u64) {
        for _ in 0..CONNECTS_PER_TURN {
            let Some(local) = self.connector.take(now_ns) else { break };
            self.begin_connect(local, now_ns);
        }
        while let Some((local, generation)) = self.connector.overdue(now_ns) {
            self.give_up_attempt(local, generation, now_ns);
        }
    }

    /// Pings users who were silent for a third of the idle timeout; looks at a part of them, so that all are seen in a sixth
    /// of it. `elapsed_ns` is the time since the last call.
    pub fn ping_silent(&mut self, now_ns: u64, elapsed_ns: u64) {
        let idle_ms = self.tally.idle_timeout_ms;
        if idle_ms == 0 {
            return;
        }
        let at_ms = (now_ns / NS_PER_MS) as u32;
        let round_ns = u64::from(idle_ms) * NS_PER_MS / 6;
        let visits = (u64::from(self.count()) * elapsed_ns.min(round_ns)).div_ceil(round_ns.max(1)) as u32;
        for _ in 0..visits {
            let local = self.ping_hand;
            self.ping_hand = (local + 1) % self.count();
            let user = &mut self.users[local as usize];
            if user.phase == Phase::Ready && at_ms.wrapping_sub(user.sent_ms) > idle_ms / 3 {
                user.sent_ms = at_ms;
                self.append(local, &ClientFrame::Ping { nonce: at_ms }, now_ns);
            }
        }
    }

    /// Whether the connection that a shake went out on is gone, or going.
    pub fn is_gone(&self, local: u32) -> bool {
        !matches!(self.users[local as usize].phase, Phase::Ready)
    }

    /// Ends every connection, by a reset or in an orderly way as planned; `handle` until `is_closed`.
    pub fn close(&mut self, now_ns: u64) {
        self.closing = true;
        for local in 0..self.count() {
            let user = &mut self.users[local as usize];
            let idle = user.receiving && user.phase != Phase::Leaving && self.rings.of(local).is_sent(&user.outbox);
            if self.plan.close == CloseChoice::Reset && idle {
                // No shutdown: it would send an end of file, and a port would be left waiting after all.
                user.phase = Phase::Leaving;
                if let Some(socket) = &user.socket {
                    self.rings.of(local).cancel_receive(socket);
                }
            } else {
                self.leave(local, Parting::EndOfFile, now_ns);
            }
        }
    }

    /// Whether no connection is left.
    pub fn is_closed(&self) -> bool {
        self.users.iter().all(|user| user.socket.is_none())
    }

    fn begin_connect(&mut self, local: u32, now_ns: u64) {
        let plan = &self.plan;
        let source = plan.sources.map(|sources| sources.of_connection(self.share.global(local)));
        let user = &mut self.users[local as usize];
        debug_assert!(user.socket.is_none(), "who connects has no connection");
        user.attempts = user.attempts.saturating_add(1);
        user.dismissal = None;
        user.phase = Phase::Connecting;
        self.tally.attempts += 1;
        self.connector.began(local, user.generation, now_ns);
        let made = dial::open(&plan.target, source, plan.close == CloseChoice::Reset)
            .and_then(|descriptor| self.rings.of(local).adopt(descriptor));
        match made {
            Ok(socket) => {
                self.rings.of(local).connect(&socket, plan.target, user.token(local));
                user.socket = Some(socket);
            }
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
                self.ended(local, Parting::from(errno), now_ns);
            }
        }
    }

    fn give_up_attempt(&mut self, local: u32, generation: Generation, now_ns: u64) {
        let user = &mut self.users[local as usize];
        if user.generation != generation {
            return;
        }
        match (user.phase, &user.socket) {
            // The shutdown ends the connect; its completion then brings the user here again.
            (Phase::Connecting, Some(socket)) => {
                user.dismissal = Some(Parting::TimedOut);
                self.rings.of(local).shutdown(socket);
            }
            (Phase::LoggingIn, _) => self.leave(local, Parting::TimedOut, now_ns),
            _ => {}
        }
    }

    fn complete(&mut self, completion: Completion, now_ns: u64, book: &mut Book) {
        let Completion { token, event } = completion;
        if matches!(event, Event::Wake | Event::Accept { .. }) {
            return;
        }
        let local = token.slot;
        let user = &mut self.users[local as usize];
        if user.generation != token.generation {
            if let Event::Receive { outcome: Receive::Data(received), .. } = event {
                self.rings.of(local).give_back(received);
            }
            return;
        }
        match event {
            Event::Connect { outcome } => self.connected(local, outcome, now_ns),
            Event::Receive { outcome, more } => {
                user.receiving = more;
                self.received(local, outcome, now_ns, book);
            }
            Event::Send { outcome } => match self.rings.of(local).sent(&mut user.outbox, outcome) {
                Sent::Empty => {}
                Sent::More => self.mark_dirty(local),
                Sent::Failed(errno) => self.leave(local, Parting::from(errno), now_ns),
            },
            Event::Accept { .. } | Event::Wake => {}
        }
        if self.users[local as usize].phase == Phase::Leaving {
            self.try_end(local, now_ns);
        }
    }

    fn connected(&mut self, local: u32, outcome: Result<(), Errno>, now_ns: u64) {
        let user = &mut self.users[local as usize];
        match (outcome, user.dismissal) {
            (Ok(()), None) => {
                user.phase = Phase::LoggingIn;
                user.sent_ms = (now_ns / NS_PER_MS) as u32;
                self.arm(local);
                let hello = ClientFrame::Hello {
                    version_min: VERSION,
                    version_max: VERSION,
                    user: self.plan.users.of_connection(self.share.global(local)),
                };
                self.append(local, &hello, now_ns);
            }
            (Ok(()), Some(parting)) => self.leave(local, parting, now_ns),
            (Err(errno), dismissal) => {
                // No receive is armed and nothing was sent: the descriptor can go at once.
                if let Some(socket) = user.socket.take() {
                    self.rings.of(local).close(socket);
                }
                self.ended(local, dismissal.unwrap_or(Parting::from(errno)), now_ns);
            }
        }
    }

    fn arm(&mut self, local: u32) {
        let user = &mut self.users[local as usize];
        if let Some(socket) = &user.socket {
            user.receiving = true;
            self.rings.of(local).receive(socket, user.token(local));
        }
    }

    fn received(&mut self, local: u32, outcome: Receive, now_ns: u64, book: &mut Book) {
        let user = &self.users[local as usize];
        let (leaving, receiving, dismissal) = (user.phase == Phase::Leaving, user.receiving, user.dismissal);
        match outcome {
            Receive::Data(received) => {
                if leaving {
                    self.rings.of(local).give_back(received);
                } else {
                    self.read(local, received, now_ns, book);
                }
                let user = &self.users[local as usize];
                if !receiving && user.phase != Phase::Leaving && user.phase != Phase::Away {
                    self.arm(local);
                }
            }
            _ if leaving => {}
            Receive::NoBuffers => self.arm(local),
            Receive::EndOfFile => self.leave(local, dismissal.unwrap_or(Parting::EndOfFile), now_ns),
            Receive::Failed(errno) => self.leave(local, dismissal.unwrap_or(Parting::from(errno)), now_ns),
        }
    }

    fn read(&mut self, local: u32, received: Received, now_ns: u64, book: &mut Book) {
        let Self { rings, users, partial, connector, tally, .. } = self;
        let id = self.plan.users.of_connection(self.share.global(local));
        let network = rings.of(local);
        let user = &mut users[local as usize];
        let stash = (user.partial != User::NO_PARTIAL).then(|| partial.remove(user.partial as usize));
        user.partial = User::NO_PARTIAL;
        let mut reader = Reader { local, id, user, connector, tally, book, obey_retry: self.plan.obey_retry, now_ns };
        let mut parting = None;
        let left = frames::decode(stash, network.bytes(&received), |frame| match reader.take(frame) {
            Ok(()) => true,
            Err(reason) => {
                parting = Some(reason);
                false
            }
        });
        match left {
            Ok(Some(stash)) => user.partial = partial.insert(stash) as u32,
            Ok(None) => {}
            Err(_) => parting = Some(Parting::BadFrame),
        }
        network.give_back(received);
        if let Some(parting) = parting {
            self.leave(local, parting, now_ns);
        }
    }

    fn append(&mut self, local: u32, frame: &ClientFrame, now_ns: u64) {
        let user = &mut self.users[local as usize];
        if self.rings.of(local).append(&mut user.outbox, frame.encode().as_bytes()).is_err() {
            self.leave(local, Parting::Blocked, now_ns);
        } else {
            self.mark_dirty(local);
        }
    }

    fn mark_dirty(&mut self, local: u32) {
        let user = &mut self.users[local as usize];
        if !user.dirty {
            user.dirty = true;
            self.dirty.push(local);
        }
    }

    /// Shuts a connection; it is closed when the ring has let go of it.
    fn leave(&mut self, local: u32, parting: Parting, now_ns: u64) {
        let user = &mut self.users[local as usize];
        let Some(socket) = &user.socket else { return };
        if user.phase == Phase::Leaving {
            return;
        }
        user.dismissal = Some(parting);
        user.phase = Phase::Leaving;
        self.rings.of(local).discard(&mut user.outbox);
        self.rings.of(local).shutdown(socket);
        self.try_end(local, now_ns);
    }

    fn try_end(&mut self, local: u32, now_ns: u64) {
        if self.may_end(local) {
            self.end(local, now_ns);
        } else if !self.users[local as usize].receiving {
            self.ending.push(local);
        }
    }

    /// Whether a user is leaving and the ring has nothing of it any more.
    fn may_end(&mut self, local: u32) -> bool {
        let user = &self.users[local as usize];
        user.phase == Phase::Leaving && !user.receiving && self.rings.of(local).is_sent(&user.outbox)
    }

    fn end(&mut self, local: u32, now_ns: u64) {
        let user = &mut self.users[local as usize];
        if let Some(socket) = user.socket.take() {
            self.rings.of(local).close(socket);
            let parting = user.dismissal.unwrap_or(Parting::EndOfFile);
            self.ended(local, parting, now_ns);
        }
    }

    /// A connection or an attempt is over, and its descriptor closed.
    fn ended(&mut self, local: u32, parting: Parting, now_ns: u64) {
        let user = &mut self.users[local as usize];
        let was_established = std::mem::take(&mut user.established);
        user.phase = Phase::Away;
        user.generation = user.generation.next();
        if user.partial != User::NO_PARTIAL {
            self.partial.remove(user.partial as usize);
            user.partial = User::NO_PARTIAL;
        }
        let wait_ms = u64::from(std::mem::take(&mut user.retry_after_ms)).min(LOGIN_RETRY_MAX_MS);
        if was_established {
            self.tally.established -= 1;
            if !self.closing {
                self.tally.dropped.count(parting);
                if self.plan.connecting.reconnect {
                    self.connector.again(local, 1, wait_ms, now_ns);
                }
            }
            return;
        }
        if self.closing {
            return;
        }
        self.tally.attempts_failed.count(parting);
        if self.connector.failed(local, user.attempts, wait_ms, now_ns) == Fate::GivenUp {
            self.tally.given_up += 1;
        }
    }
}
