//! Gifts of the test server: grants, tells, opens, and misbehaves as told.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hongbao_protocol::wire::{ClientFrame, GiftClosed, GiftRefusal, ServerFrame};
use hongbao_protocol::{Cents, GiftId, UserId};

/// What is wrong with the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Honest,
    /// A repeated open brings another share.
    OtherShareAgain,
    /// A repeated send makes another gift.
    SecondGift,
    /// The last share has a cent less than the rest.
    KeepsACent,
    /// The neighbour of each recipient is told as well, and may open.
    TellsStrangers,
    /// The first send of a user is granted, and the connection closed without an answer.
    HangsUpOnSends,
    /// The first open of a user is booked, and the connection closed without an answer.
    HangsUpOnOpens,
    /// The first open of a gift is put off.
    PutsOff,
    /// Sends are refused.
    Refuses,
    /// Nobody is told.
    TellsNobody,
}

#[derive(Clone, Debug)]
struct Gift {
    sender: UserId,
    total: u64,
    shares: u16,
    recipients: Vec<UserId>,
    opened: Vec<(UserId, u64)>,
    put_off: bool,
}

/// A client's connection: its own thread writes answers, others notices.
pub(crate) type Line = Arc<Mutex<TcpStream>>;

/// See the module's text.
pub(crate) struct Bank {
    fault: Fault,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    lines: HashMap<UserId, Line>,
    gifts: HashMap<u64, Gift>,
    requests: HashMap<(UserId, u64), u64>,
    hung_up_on: HashMap<UserId, u32>,
    next: u64,
}

impl Bank {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, books: Mutex::new(Books { next: 1, ..Books::default() }) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cents sent and cents opened, as the bank has them.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let books = self.books();
        let opened = books.gifts.values().flat_map(|gift| &gift.opened).map(|(_, share)| share).sum();
        (books.gifts.values().map(|gift| gift.total).sum(), opened)
    }

    /// (gift, user, share) of all that was opened.
    pub(crate) fn opened(&self) -> Vec<(u64, u64, u64)> {
        let books = self.books();
        let of = |(id, gift): (&u64, &Gift)| -> Vec<_> {
            gift.opened.iter().map(|(user, share)| (*id, user.0, *share)).collect()
        };
        let mut all: Vec<_> = books.gifts.iter().flat_map(of).collect();
        all.sort_unstable();
        all
    }

    /// Who is connected; and the gifts that wait for them.
    pub(crate) fn log_in(&self, user: UserId, line: &Line) -> io::Result<()> {
        let mut books = self.books();
        books.lines.insert(user, Arc::clone(line));
        let list = list(&books, user);
        drop(books);
        if list.len() > 1 { send(line, &list) } else { Ok(()) }
    }

    /// Answers a frame about gifts. `false`: hangs up.
    pub(crate) fn answer(&self, user: UserId, line: &Line, frame: &ClientFrame) -> io::Result<bool> {
        let mut books = self.books();
        match frame {
            ClientFrame::GiftSend { request, total, shares, recipients } => {
                if self.fault == Fault::Refuses {
                    let (reason, retry_after_ms) = (GiftRefusal::Balance, 0);
                    drop(books);
                    send(line, &[ServerFrame::GiftRefused { request: *request, reason, retry_after_ms }])?;
                    return Ok(true);
                }
                let known = books.requests.get(&(user, *request)).copied();
                let again = known.is_some();
                let id = if let Some(id) = known.filter(|_| self.fault != Fault::SecondGift) {
                    id
                } else {
                    let id = books.next;
                    books.next += 1;
                    books.requests.insert((user, *request), id);
                    let gift = Gift {
                        sender: user,
                        total: total.0,
                        shares: *shares,
                        recipients: recipients.as_slice().to_vec(),
                        opened: Vec::new(),
                        put_off: false,
                    };
                    books.gifts.insert(id, gift);
                    self.tell(&books, id);
                    id
                };
                if self.fault == Fault::HangsUpOnSends && first_time(&mut books, user) {
                    return Ok(false);
                }
                drop(books);
                let sent = ServerFrame::GiftSent { request: *request, gift: GiftId(id), expires_in_s: 86_400, again };
                send(line, &[sent])?;
            }
            ClientFrame::GiftOpen { gift } => {
                let answer = self.open(&mut books, user, gift.0);
                if self.fault == Fault::HangsUpOnOpens && first_time(&mut books, user) {
                    return Ok(false);
                }
                drop(books);
                send(line, &[answer])?;
            }
            ClientFrame::GiftList { request, .. } => {
                let mut frames = list(&books, user);
                drop(books);
                if let Some(ServerFrame::GiftListed { request: answered, .. }) = frames.last_mut() {
                    *answered = *request;
                }
                send(line, &frames)?;
            }
            other => panic!("not about gifts: {other:?}"),
        }
        Ok(true)
    }

    fn tell(&self, books: &Books, id: u64) {
        let gift = &books.gifts[&id];
        let neighbours =
            (self.fault == Fault::TellsStrangers).then(|| gift.recipients.iter().map(|user| UserId(user.0 + 1)));
        let told = gift.recipients.iter().copied().chain(neighbours.into_iter().flatten());
        for line in told.filter(|_| self.fault != Fault::TellsNobody).filter_map(|user| books.lines.get(&user)) {
            let notice =
                ServerFrame::GiftNotice { gift: GiftId(id), sender: gift.sender, expires_in_s: 86_400, listed: false };
            // Whoever has gone is told at the next login.
            drop(send(line, &[notice]));
        }
    }

    fn open(&self, books: &mut Books, user: UserId, id: u64) -> ServerFrame {
        let fault = self.fault;
        let closed = |reason, retry_after_ms| ServerFrame::GiftClosed { gift: GiftId(id), reason, retry_after_ms };
        let Some(gift) = books.gifts.get_mut(&id) else { return closed(GiftClosed::NotYours, 0) };
        if !gift.recipients.contains(&user) && fault != Fault::TellsStrangers {
            return closed(GiftClosed::NotYours, 0);
        }
        if fault == Fault::PutsOff && !std::mem::replace(&mut gift.put_off, true) {
            return closed(GiftClosed::Overloaded, 20);
        }
        let known = gift.opened.iter().find(|(opener, _)| *opener == user).map(|(_, share)| *share);
        let again = known.is_some();
        let share = if let Some(share) = known {
            share + u64::from(fault == Fault::OtherShareAgain)
        } else {
            let left = usize::from(gift.shares) - gift.opened.len().min(usize::from(gift.shares));
            let rest = gift.total - gift.opened.iter().map(|(_, share)| share).sum::<u64>();
            let share = match left {
                0 => return closed(GiftClosed::Gone, 0),
                1 => rest - u64::from(fault == Fault::KeepsACent),
                _ => (rest / left as u64).max(1),
            };
            gift.opened.push((user, share));
            share
        };
        ServerFrame::GiftOpened {
            gift: GiftId(id),
            share: Cents(share),
            luckiest: Cents(gift.opened.iter().map(|(_, share)| *share).max().unwrap_or(share).max(share)),
            shares: gift.shares,
            remaining: gift.shares - gift.opened.len() as u16,
            again,
        }
    }
}

fn first_time(books: &mut Books, user: UserId) -> bool {
    let count = books.hung_up_on.entry(user).or_default();
    *count += 1;
    *count == 1
}

/// Up to 16 gifts that wait for a user, and the end of the list.
fn list(books: &Books, user: UserId) -> Vec<ServerFrame> {
    let waits = |gift: &Gift| {
        gift.recipients.contains(&user)
            && gift.opened.len() < usize::from(gift.shares)
            && gift.opened.iter().all(|(opener, _)| *opener != user)
    };
    let mut ids: Vec<u64> = books.gifts.iter().filter(|(_, gift)| waits(gift)).map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let notice = |id: &u64| ServerFrame::GiftNotice {
        gift: GiftId(*id),
        sender: books.gifts[id].sender,
        expires_in_s: 86_400,
        listed: true,
    };
    let mut frames: Vec<ServerFrame> = ids.iter().take(16).map(notice).collect();
    let (shown, pending) = (frames.len() as u32, ids.len() as u32);
    frames.push(ServerFrame::GiftListed { request: 0, shown, pending, retry_after_ms: 0 });
    frames
}

fn send(line: &Line, frames: &[ServerFrame]) -> io::Result<()> {
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().as_bytes().to_vec()).collect();
    line.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
}
