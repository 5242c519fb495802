//! What travels between the threads, and the ends of the queues that carry it. Every queue is an `rtrb` ring: one producer, one
//! consumer, no lock. `launch` makes them; the threads know nothing else of each other.

use std::sync::Arc;
use std::time::Duration;

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};
use hongbao_protocol::{Cents, Envelope, GiftId, Receipt, UserId};
use hongbao_uring::{Doorbell, Token};
use rtrb::{Consumer, Producer};

use crate::cells::SetCells;

/// A SET's question to the ledger. `caller` is the connection that asked, in that SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// May this user have this envelope?
    Claim {
        /// Connection that shook.
        caller: Token,
        /// The shake's number.
        sequence: u32,
        /// Who shook.
        user: UserId,
        /// What the SET took from its stock.
        envelope: Envelope,
    },
    /// What has this user won so far?
    Login {
        /// Connection that said hello.
        caller: Token,
        /// Who logs in.
        user: UserId,
    },
    /// May this user send this gift? `GiftTo` for all the recipients follow at once: see [`gift_entries`].
    GiftSend {
        /// Connection that asked.
        caller: Token,
        /// The sender.
        user: UserId,
        /// The sender's number for it.
        request: u64,
        /// What is to be in it.
        total: Cents,
        /// Over how many shares.
        shares: u16,
        /// How many recipients.
        recipients: u8,
    },
    /// Recipients of the gift before it; those beyond its number mean nothing.
    GiftTo {
        /// The next of them.
        users: [UserId; GIFT_USERS_PER_ENTRY],
    },
    /// What is this user's share of a gift?
    GiftOpen {
        /// Connection that asked.
        caller: Token,
        /// Who opens.
        user: UserId,
        /// What.
        gift: GiftId,
    },
    /// Which gifts wait for this user?
    GiftList {
        /// Connection that asked.
        caller: Token,
        /// Who asks.
        user: UserId,
        /// The client's number for the question.
        request: u32,
        /// Only those behind this one.
        after: GiftId,
    },
}

/// Recipients that one entry of the queue holds.
pub const GIFT_USERS_PER_ENTRY: usize = 5;

/// Entries of the queue that a gift for so many recipients takes.
pub const fn gift_entries(recipients: usize) -> usize {
    1 + recipients.div_ceil(GIFT_USERS_PER_ENTRY)
}

const _: () =
    assert!(size_of::<Request>() <= 48 && size_of::<Verdict>() <= 64, "the queues' memory is reckoned with this");

/// The ledger's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The envelope is the user's, and that is on the disk.
    Won {
        /// As in the claim.
        caller: Token,
        /// As in the claim.
        sequence: u32,
        /// As in the claim.
        envelope: Envelope,
        /// Envelopes the user has won, this one included.
        wins: u32,
        /// Proof for the client.
        receipt: Receipt,
    },
    /// Not granted: the envelope goes back to the stock.
    Refused {
        /// As in the claim.
        caller: Token,
        /// As in the claim.
        sequence: u32,
        /// As in the claim.
        envelope: Envelope,
        /// Why.
        refusal: Refusal,
    },
    /// Answers a login. `shown` verdicts `Earlier` follow at once, the oldest first.
    Account {
        /// As in the login.
        caller: Token,
        /// Envelopes the user has won in all.
        wins: u32,
        /// How many of them follow, at most [`EARLIER_WINS_SHOWN_MAX`](crate::limits::EARLIER_WINS_SHOWN_MAX).
        shown: u32,
    },
    /// One earlier win. Only durable ones are told.
    Earlier {
        /// As in the login.
        caller: Token,
        /// What was won.
        envelope: Envelope,
        /// Proof for the client.
        receipt: Receipt,
    },
    /// The user has logged in on another connection: this one is to go. It may be gone already.
    Replaced {
        /// The older connection.
        caller: Token,
    },
    /// The gift is sent, and that is on the disk.
    GiftSent {
        /// As in the request.
        caller: Token,
        /// As in the request.
        request: u64,
        /// Its id.
        gift: GiftId,
        /// In how many seconds what nobody opens goes back.
        expires_in_s: u32,
        /// Whether it was sent before, by the same request.
        again: bool,
    },
    /// The gift was not sent.
    GiftRefused {
        /// As in the request.
        caller: Token,
        /// As in the request.
        request: u64,
        /// Why.
        reason: GiftRefusal,
    },
    /// A gift waits for the user of this connection. Nobody asked: the connection may be gone.
    GiftNotice {
        /// A recipient's connection.
        caller: Token,
        /// Which gift.
        gift: GiftId,
        /// Who sent it.
        sender: UserId,
        /// In how many seconds it is over.
        expires_in_s: u32,
        /// Whether it belongs to a list.
        listed: bool,
    },
    /// The share is the user's, and that is on the disk.
    GiftOpened {
        /// As in the request.
        caller: Token,
        /// As in the request.
        gift: GiftId,
        /// The share.
        share: Cents,
        /// The largest share so far.
        luckiest: Cents,
        /// Shares of the gift.
        shares: u8,
        /// Those nobody has opened yet.
        remaining: u8,
        /// Whether the user had opened it before.
        again: bool,
    },
    /// The open brought no share.
    GiftClosed {
        /// As in the request.
        caller: Token,
        /// As in the request.
        gift: GiftId,
        /// Why.
        reason: GiftClosed,
    },
    /// The end of a list; its notices came before.
    GiftListed {
        /// As in the request or login.
        caller: Token,
        /// As in the request; 0 behind a login.
        request: u32,
        /// How many notices there were.
        shown: u32,
        /// How many gifts wait.
        pending: u32,
    },
}

/// Why a claim was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has as many envelopes as one user may have.
    UserLimit,
    /// The user has as many of this sponsor as one user may have.
    SponsorLimit,
    /// The envelope was issued before. It must not go back to the stock: the SET drops it, and the ledger has counted it.
    AlreadyIssued,
    /// The journal cannot take more now (disk full, or the daemon is stopping).
    Halted,
}

/// What clients are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Shortest time between two shakes of a connection, in milliseconds; 0 lifts the rule.
    pub shake_interval_ms: u32,
    /// A connection that has not said hello after this many milliseconds is closed.
    pub login_timeout_ms: u32,
    /// A connection that sent nothing for this many milliseconds is closed.
    pub idle_timeout_ms: u32,
    /// Envelopes one user may have; 0 lifts the cap. The ledger decides; the SET spares it the questions it can answer itself.
    pub wins_per_user: u32,
    /// The most that it may still become, by the rounds to come; 0 lifts it. Who has fewer is not told to give up.
    pub wins_per_user_ever: u32,
}

/// A round, as clients are told of it. Times are microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTimes {
    /// Its place in the schedule, from 1.
    pub number: u16,
    /// Its begin.
    pub start_us: u64,
    /// Its end.
    pub end_us: u64,
}

/// A round, as the feeder is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundOrder {
    /// Its place in the schedule, from 1.
    pub number: u32,
    /// Envelopes to issue in the whole of it; `None` for as many as are asked for.
    pub envelopes: Option<u64>,
    /// How long it runs already.
    pub elapsed: Duration,
    /// How long it still runs.
    pub left: Duration,
    /// Whether what was not asked for is made up for, by a higher rate than planned.
    pub makes_up: bool,
    /// Whether the next round issues what this one does not.
    pub carries: bool,
}

/// Which connections an operator means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of this user.
    User(UserId),
    /// The one in this place of the SET's slab, whoever's it is.
    Slot(u32),
}

/// What control tells a SET. Each is counted in `commands_obeyed` once it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCommand {
    /// Whether to give the stock back and hand out nothing.
    Hold(bool),
    /// Hold clients to these rules from now on.
    Rules(Rules),
    /// Tell everyone who is logged in of this round, spread over so many milliseconds, and whoever logs in from now on. `None`: that there
    /// is none.
    Round {
        /// The round.
        times: Option<RoundTimes>,
        /// The spread.
        spread_ms: u32,
    },
    /// Send these away; they may come back.
    Dismiss(Whom),
    /// Refuse this user from now on, and send their connections away for so long.
    Bar {
        /// Whom.
        user: UserId,
        /// The time they are told to stay away, in milliseconds.
        retry_after_ms: u32,
    },
    /// Serve this user again.
    Unbar(UserId),
    /// Stop accepting, finish what is in flight, send everyone away, give the stock back, end the thread.
    Stop,
}

/// What control tells the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerCommand {
    /// From now on a user may have so many envelopes, and so many of one sponsor; 0 for no limit.
    Caps {
        /// In all.
        per_user: u32,
        /// Of one sponsor.
        per_sponsor: u32,
    },
    /// Whether to grant no gift; those sent are opened and refunded as ever.
    PauseGifts(bool),
}

/// What control tells the feeder. Each is counted in `commands_obeyed` once it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeederCommand {
    /// From now on this many envelopes a second; [`ISSUE_RATE_UNLIMITED`](crate::limits::ISSUE_RATE_UNLIMITED) for no limit.
    SetRate(u64),
    /// Whether a round's plan goes before the rate. It does at the start.
    FollowRounds(bool),
    /// A round runs, or its plan has changed; `None`: none runs.
    Round(Option<RoundOrder>),
    /// Deal nothing until [`Resume`](Self::Resume).
    Pause,
    /// Deal again, at the rate that was set last.
    Resume,
    /// Deal nothing any more, take back what the SETs return, and end when every SET has dropped its ends.
    Stop,
}

/// A SET's ends.
pub struct SetEnds {
    /// Envelopes to give away, from the feeder.
    pub stock: Consumer<Envelope>,
    /// Envelopes not used, to the feeder.
    pub returns: Producer<Envelope>,
    /// To the ledger.
    pub requests: Producer<Request>,
    /// From the ledger.
    pub verdicts: Consumer<Verdict>,
    /// From control.
    pub commands: Consumer<SetCommand>,
    /// Rung by the ledger and control after a push.
    pub doorbell: Arc<Doorbell>,
    /// To be rung after a push to `requests`.
    pub ledger_doorbell: Arc<Doorbell>,
    /// What the SET counts.
    pub cells: Arc<SetCells>,
}

/// The feeder's ends to one SET.
pub struct FeederSetEnds {
    /// Envelopes to give away.
    pub stock: Producer<Envelope>,
    /// Envelopes not used.
    pub returns: Consumer<Envelope>,
    /// For the demand: shakes so far.
    pub cells: Arc<SetCells>,
}

/// The ledger's ends to one SET.
pub struct LedgerSetEnds {
    /// Claims and logins. When this is empty and abandoned, the SET has ended.
    pub requests: Consumer<Request>,
    /// Answers.
    pub verdicts: Producer<Verdict>,
    /// To be rung after a push to `verdicts`.
    pub doorbell: Arc<Doorbell>,
}
