//! The phones: they connect, shake, repeat themselves, break off and come back elsewhere; and they remember what they were told.

use hongbao_protocol::wire::{ClientFrame, Decoded, ErrorCode, ServerFrame};
use hongbao_protocol::{EnvelopeId, UserId};
use hongbao_uring::simulated::{PeerId, SimulatedNetwork};
use hongbaod::limits::EARLIER_WINS_SHOWN_MAX;

use crate::dice::Dice;
use crate::fault::{Fault, FaultCounts, FaultSet};
use crate::model::{Checked, Model, violated};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Hello is to be said, for the first time or again.
    Silent,
    Greeted,
    Welcomed,
}

/// A connection, as its client sees it.
#[derive(Debug)]
struct Link {
    set: usize,
    peer: PeerId,
    /// Said, and not yet on its way.
    unsent: Vec<u8>,
    /// Heard, and not yet a whole frame.
    unread: Vec<u8>,
    stage: Stage,
    /// Sends no more.
    is_half: bool,
    /// Does not read.
    is_deaf: bool,
    /// Broke the protocol: may be closed without an answer.
    is_abusive: bool,
    /// Shakes without an answer.
    waiting: Vec<u32>,
    /// What the user had been promised when it said hello, and so must be shown.
    promised: Vec<EnvelopeId>,
    /// Earlier wins that are still to be shown.
    to_be_shown: u32,
    shown: Vec<EnvelopeId>,
}

/// What clients have seen, over a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Shakes said.
    pub shakes: u64,
    /// Shakes answered with an envelope.
    pub envelopes: u64,
    /// Envelopes shown again.
    pub shown_again: u64,
    /// Logins answered.
    pub welcomes: u64,
}

impl Heard {
    pub(crate) fn add(&mut self, other: Self) {
        self.shakes += other.shakes;
        self.envelopes += other.envelopes;
        self.shown_again += other.shown_again;
        self.welcomes += other.welcomes;
    }
}

/// A client of one user.
#[derive(Debug)]
pub(crate) struct Client {
    user: UserId,
    link: Option<Link>,
    last_set: usize,
    sequence: u32,
}

/// What a client's turn takes from the history around it.
pub(crate) struct Around<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) dice: &'a mut Dice,
    pub(crate) faults: FaultSet,
    pub(crate) counts: &'a mut FaultCounts,
    pub(crate) heard: &'a mut Heard,
    /// Of all frames heard, in order.
    pub(crate) digest: &'a mut u64,
}

impl Around<'_> {
    /// Whether this happens now; counted where it does.
    fn happens(&mut self, fault: Fault, per_mille: usize) -> bool {
        let happens = self.faults.has(fault) && self.dice.chance(per_mille);
        if happens {
            self.counts.count(fault);
        }
        happens
    }
}

impl Client {
    pub(crate) fn new(user: UserId) -> Self {
        Self { user, link: None, last_set: 0, sequence: 0 }
    }

    pub(crate) fn user(&self) -> UserId {
        self.user
    }

    /// The SET it is connected to.
    pub(crate) fn set(&self) -> Option<usize> {
        self.link.as_ref().map(|link| link.set)
    }

    pub(crate) fn last_set(&self) -> usize {
        self.last_set
    }

    /// The daemon is gone, and with it the connection.
    pub(crate) fn cut(&mut self) {
        self.link = None;
    }

    /// Closes its connection.
    pub(crate) fn leave(&mut self, network: &mut SimulatedNetwork) {
        if let Some(link) = self.link.take().filter(|link| !link.is_half) {
            network.peer_close(link.peer);
        }
    }

    /// Shakes that ought to be answered and are not.
    pub(crate) fn waits_in_vain(&self) -> Option<u32> {
        let link = self.link.as_ref().filter(|link| !link.is_abusive && link.unsent.is_empty())?;
        link.waiting.first().copied()
    }

    /// Connects to this SET and says hello.
    pub(crate) fn connect(&mut self, set: usize, network: &mut SimulatedNetwork, model: &Model) {
        let mut link = Link {
            set,
            peer: network.peer_connect(),
            unsent: Vec::new(),
            unread: Vec::new(),
            stage: Stage::Silent,
            is_half: false,
            is_deaf: false,
            is_abusive: false,
            waiting: Vec::new(),
            promised: Vec::new(),
            to_be_shown: 0,
            shown: Vec::new(),
        };
        link.say_hello(self.user, model);
        self.last_set = set;
        self.link = Some(link);
    }

    /// Reads everything that has arrived.
    pub(crate) fn read(&mut self, network: &mut SimulatedNetwork, around: &mut Around<'_>) -> Checked {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.unread.extend(network.peer_read(link.peer));
        let mut at = 0;
        while at < link.unread.len() {
            match ServerFrame::decode(&link.unread[at..]) {
                Ok(Decoded::Frame(frame, taken)) => {
                    let digest = (*around.digest ^ self.user.0).wrapping_mul(0x0100_0000_01B3);
                    let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
                    *around.digest = link.unread[at..at + taken].iter().fold(digest, mix);
                    at += taken;
                    link.hear(self.user, frame, around)?;
                }
                Ok(Decoded::Incomplete) => break,
                Err(error) => violated!("user {} was sent what is no frame: {error}", self.user),
            }
        }
        link.unread.drain(..at);
        if network.peer_end(link.peer).is_some() {
            // Whoever is closed on closes too; else the server waits for it.
            network.peer_close(link.peer);
            self.link = None;
        }
        Ok(())
    }

    /// One turn of a connected client.
    pub(crate) fn act(&mut self, network: &mut SimulatedNetwork, around: &mut Around<'_>) -> Checked {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.is_deaf && around.dice.chance(200) {
            link.is_deaf = false;
            network.peer_takes(link.peer, usize::MAX);
        } else if !link.is_deaf && around.happens(Fault::SlowReader, 15) {
            link.is_deaf = true;
            network.peer_takes(link.peer, around.dice.below(40));
        }
        if around.dice.chance(700) {
            self.read(network, around)?;
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        if around.happens(Fault::Reset, 10) {
            network.peer_reset(link.peer);
            self.link = None;
            return Ok(());
        }
        if around.happens(Fault::Close, 10) {
            if !link.is_half {
                network.peer_close(link.peer);
            }
            self.link = None;
            return Ok(());
        }
        if !link.is_half {
            self.speak(network, around);
        }
        Ok(())
    }

    fn speak(&mut self, network: &mut SimulatedNetwork, around: &mut Around<'_>) {
        let Some(link) = &mut self.link else { return };
        if link.stage == Stage::Silent {
            link.say_hello(self.user, around.model);
        } else if link.unsent.is_empty() && (link.stage == Stage::Welcomed || around.dice.chance(100)) {
            // Before the welcome it may turn out that the hello was put off.
            link.is_abusive |= link.stage != Stage::Welcomed;
            if around.happens(Fault::Garbage, 8) {
                link.is_abusive = true;
                let bytes: Vec<u8> = (0..around.dice.between(1, 20)).map(|_| around.dice.any() as u8).collect();
                link.unsent.extend(bytes);
            } else if around.dice.chance(100) {
                link.say(&ClientFrame::Ping { nonce: around.dice.any() as u32 });
            } else if around.dice.chance(700) {
                if self.sequence == 0 || !around.happens(Fault::RepeatedShake, 60) {
                    self.sequence += 1;
                }
                let sequence = self.sequence;
                link.waiting.push(sequence);
                link.say(&ClientFrame::Shake { sequence });
                around.model.shakes(self.user);
                around.heard.shakes += 1;
            }
        }
        if link.unsent.is_empty() {
            return;
        }
        let split = around.happens(Fault::SplitFrame, 200);
        let count = if split { around.dice.between(1, link.unsent.len()) } else { link.unsent.len() };
        let bytes: Vec<u8> = link.unsent.drain(..count).collect();
        network.peer_write(link.peer, &bytes);
        if link.unsent.is_empty() && around.happens(Fault::HalfClose, 8) {
            network.peer_shutdown_write(link.peer);
            link.is_half = true;
        }
    }

    /// From now on it reads what comes and says what it had begun to say, and nothing new.
    pub(crate) fn calm_down(&mut self, network: &mut SimulatedNetwork) {
        let Some(link) = &mut self.link else { return };
        link.is_deaf = false;
        network.peer_takes(link.peer, usize::MAX);
        let bytes = std::mem::take(&mut link.unsent);
        if !link.is_half && !bytes.is_empty() {
            network.peer_write(link.peer, &bytes);
        }
    }

    /// Whether it was welcomed and has been shown all there was to show.
    pub(crate) fn is_settled(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.stage == Stage::Welcomed && link.to_be_shown == 0)
    }
}

impl Link {
    fn say(&mut self, frame: &ClientFrame) {
        self.unsent.extend_from_slice(frame.encode().as_bytes());
    }

    fn say_hello(&mut self, user: UserId, model: &Model) {
        self.stage = Stage::Greeted;
        self.promised = model.promised(user);
        self.say(&ClientFrame::Hello { version_min: 1, version_max: 1, user });
    }

    fn hear(&mut self, user: UserId, frame: ServerFrame, around: &mut Around<'_>) -> Checked {
        match frame {
            ServerFrame::Welcome { earlier_wins, earlier_wins_shown, .. } => {
                if self.stage == Stage::Welcomed {
                    violated!("user {user} was welcomed twice on one connection");
                }
                if usize::from(earlier_wins) < self.promised.len() {
                    violated!(
                        "user {user} was promised {} envelopes and is told of {earlier_wins}",
                        self.promised.len()
                    );
                }
                let all = u32::from(earlier_wins) <= EARLIER_WINS_SHOWN_MAX;
                if all && u16::from(earlier_wins_shown) != earlier_wins {
                    violated!("user {user} has {earlier_wins} envelopes and is shown {earlier_wins_shown}");
                }
                around.heard.welcomes += 1;
                if !all {
                    self.promised.clear();
                }
                (self.stage, self.to_be_shown) = (Stage::Welcomed, u32::from(earlier_wins_shown));
                self.check_shown(user)
            }
            ServerFrame::Envelope { envelope, shown_again: true, receipt, .. } => {
                let Some(left) = self.to_be_shown.checked_sub(1) else {
                    violated!("user {user} was shown an envelope more than the welcome counted")
                };
                self.to_be_shown = left;
                self.shown.push(envelope.id);
                around.heard.shown_again += 1;
                around.model.shown(user, &envelope, receipt, true)?;
                self.check_shown(user)
            }
            ServerFrame::Envelope { sequence, envelope, shown_again: false, receipt } => {
                around.heard.envelopes += 1;
                around.model.shown(user, &envelope, receipt, false)?;
                self.answered(user, sequence)
            }
            ServerFrame::UserLimit { sequence } => {
                around.model.told_limit(user);
                self.answered(user, sequence)
            }
            ServerFrame::Overloaded { sequence: 0, .. } => {
                self.stage = Stage::Silent;
                Ok(())
            }
            ServerFrame::None { sequence, .. }
            | ServerFrame::SponsorLimit { sequence, .. }
            | ServerFrame::Overloaded { sequence, .. } => self.answered(user, sequence),
            ServerFrame::Error { code, .. } if !self.is_abusive && code != ErrorCode::LoginTimeout => {
                violated!("user {user} kept to the protocol and was told {code:?}")
            }
            ServerFrame::Error { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::GoAway { .. }
            | ServerFrame::GiftListed { .. } => Ok(()),
            other => violated!("user {user} sent no gift and was told {other:?}"),
        }
    }

    fn answered(&mut self, user: UserId, sequence: u32) -> Checked {
        match self.waiting.iter().position(|waiting| *waiting == sequence) {
            Some(place) => {
                self.waiting.remove(place);
                Ok(())
            }
            None => violated!("user {user} got an answer to shake {sequence}, which waits for none"),
        }
    }

    /// Once everything was shown, every promise must be among it.
    fn check_shown(&self, user: UserId) -> Checked {
        if self.to_be_shown > 0 {
            return Ok(());
        }
        match self.promised.iter().find(|id| !self.shown.contains(id)) {
            Some(id) => violated!("user {user} was promised envelope {id}, and it was not shown again"),
            None => Ok(()),
        }
    }
}
