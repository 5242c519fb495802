//! What one frame of the server means to one user.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::ServerFrame;

use crate::book::Book;
use crate::connector::Connector;
use crate::gifts::told::Opened;
use crate::parting::Parting;
use crate::record::Outcome;
use crate::sessions::Tally;
use crate::user::{Phase, User};

/// Reads the frames of one user, for as long as one buffer lasts.
pub struct Reader<'a> {
    /// Local connection.
    pub local: u32,
    /// Who it is.
    pub id: UserId,
    /// The connection's state.
    pub user: &'a mut User,
    /// Told of logins.
    pub connector: &'a mut Connector,
    /// Told of logins.
    pub tally: &'a mut Tally,
    /// Told of answers.
    pub book: &'a mut Book,
    /// Whether users wait as they are told.
    pub obey_retry: bool,
    /// Now.
    pub now_ns: u64,
}

impl Reader<'_> {
    /// Takes one frame. An error ends the connection.
    pub fn take(&mut self, frame: ServerFrame) -> Result<(), Parting> {
        match self.user.phase {
            Phase::LoggingIn => self.take_login(frame),
            Phase::Ready | Phase::Dismissed => self.take_answer(frame),
            Phase::Away | Phase::Connecting | Phase::Leaving => Err(Parting::BadFrame),
        }
    }

    fn take_login(&mut self, frame: ServerFrame) -> Result<(), Parting> {
        match frame {
            ServerFrame::Welcome { shake_interval_ms, idle_timeout_ms, .. } => {
                self.connector.ended();
                self.tally.established += 1;
                self.tally.reconnected += u64::from(self.user.known);
                self.tally.shake_interval_ms = shake_interval_ms;
                self.tally.idle_timeout_ms = idle_timeout_ms;
                self.user.phase = Phase::Ready;
                self.user.attempts = 0;
                self.user.established = true;
                self.user.known = true;
                if let Some((gifts, recorder)) = self.book.gifts() {
                    gifts.logged_in(self.local, self.now_ns, recorder);
                }
                Ok(())
            }
            ServerFrame::Overloaded { retry_after_ms, .. } => {
                self.user.retry_after_ms = retry_after_ms;
                Err(Parting::LoginOverloaded)
            }
            ServerFrame::GoAway { reason, retry_after_ms } => {
                self.user.retry_after_ms = retry_after_ms;
                Err(Parting::from(reason))
            }
            ServerFrame::Error { code, .. } => Err(Parting::from(code)),
            _ => Err(Parting::BadFrame),
        }
    }

    fn take_answer(&mut self, frame: ServerFrame) -> Result<(), Parting> {
        match frame {
            ServerFrame::None { sequence, retry_after_ms } => self.answer(sequence, Outcome::None, retry_after_ms),
            ServerFrame::Envelope { sequence, envelope, shown_again, receipt } => {
                self.book.receipt(self.id, envelope, receipt, (sequence, shown_again), self.now_ns);
                if !shown_again {
                    self.answer(sequence, Outcome::Envelope, 0);
                }
            }
            // No shake of this user will win again: who obeys is held for good.
            ServerFrame::UserLimit { sequence } => self.answer(sequence, Outcome::UserLimit, u32::MAX),
            ServerFrame::SponsorLimit { sequence, retry_after_ms } => {
                self.answer(sequence, Outcome::SponsorLimit, retry_after_ms);
            }
            ServerFrame::Overloaded { sequence, retry_after_ms } => {
                self.answer(sequence, Outcome::Overloaded, retry_after_ms);
            }
            ServerFrame::GoAway { reason, retry_after_ms } => {
                self.user.phase = Phase::Dismissed;
                self.user.dismissal = Some(Parting::from(reason));
                self.user.retry_after_ms = retry_after_ms;
            }
            ServerFrame::Error { code, .. } => return Err(Parting::from(code)),
            ServerFrame::Round { .. } => self.tally.rounds_told += 1,
            ServerFrame::Pong { .. } => {}
            ServerFrame::Welcome { .. } => return Err(Parting::BadFrame),
            gift => return self.take_gift(gift),
        }
        Ok(())
    }

    fn take_gift(&mut self, frame: ServerFrame) -> Result<(), Parting> {
        let (local, user, now_ns) = (self.local, self.id, self.now_ns);
        let Some((gifts, recorder)) = self.book.gifts() else {
            // A notice of somebody's gift carries no money, and a run without gifts lets it lie. It asked for nothing else.
            let notice = matches!(frame, ServerFrame::GiftNotice { .. } | ServerFrame::GiftListed { .. });
            return if notice { Ok(()) } else { Err(Parting::BadFrame) };
        };
        match frame {
            ServerFrame::GiftSent { request, gift, expires_in_s, again } => {
                gifts.sent((local, user), (request, gift), (expires_in_s, again), now_ns, recorder);
            }
            ServerFrame::GiftRefused { request, reason, .. } => {
                gifts.refused((local, request), user, reason, recorder);
            }
            ServerFrame::GiftNotice { gift, listed, .. } => gifts.noticed(local, gift, listed, now_ns),
            ServerFrame::GiftListed { shown, pending, retry_after_ms, .. } => {
                gifts.listed(local, shown, pending, retry_after_ms, now_ns);
            }
            ServerFrame::GiftOpened { gift, share, luckiest, shares, remaining: _, again } => {
                let told = Opened { gift, user, share, luckiest, shares, again, noticed_ns: 0, told_ns: now_ns };
                gifts.opened(local, told, now_ns, recorder);
            }
            ServerFrame::GiftClosed { gift, reason, retry_after_ms } => {
                gifts.closed((local, user), gift, (reason, retry_after_ms), now_ns, recorder);
            }
            _ => return Err(Parting::BadFrame),
        }
        Ok(())
    }

    fn answer(&mut self, sequence: u32, outcome: Outcome, retry_after_ms: u32) {
        self.book.answer(self.local, sequence, outcome, self.now_ns);
        if self.obey_retry {
            let until_ms = (self.now_ns / 1_000_000).saturating_add(u64::from(retry_after_ms));
            self.user.held_until_ms = u32::try_from(until_ms).unwrap_or(u32::MAX);
        }
    }
}
