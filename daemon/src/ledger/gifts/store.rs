//! The memory of gifts: what is known of each, of each of its recipients, and who waits for what.
//!
//! A gift is found by its number through a ring of places; the places of gifts that are forgotten are used again, and so are the runs of
//! recipients, by gifts with as many of them. A recipient's entry holds the links of the list of all that waits for that user until the
//! share is opened, and the share from then on.

use std::collections::VecDeque;

use hongbao_protocol::wire::GIFT_RECIPIENTS_MAX;
use hongbao_protocol::{Cents, UserId};

use super::book::Order;

/// No entry, no place.
pub(super) const NONE: u32 = u32::MAX;

/// One gift.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gift {
    pub(super) number: u64,
    pub(super) sender: UserId,
    pub(super) request: u64,
    /// What nobody has opened yet, or what went back.
    pub(super) left: Cents,
    /// In microseconds since 1970.
    pub(super) expires_us: u64,
    /// How many numbers back the sender's gift before this one is; 0 where there is none, or too far.
    pub(super) previous: u32,
    /// The entry of the first recipient; the others stand behind it.
    entries: u32,
    /// A bit for each recipient who has opened.
    pub(super) opened: u32,
    pub(super) shares: u8,
    pub(super) shares_left: u8,
    recipients: u8,
    pub(super) flags: u8,
}

impl Gift {
    /// The house paid for it.
    pub(super) const HOUSE: u8 = 1;
    /// What was left went back.
    pub(super) const REFUNDED: u8 = 2;
    /// It ends before a gift that was sent earlier.
    pub(super) const EARLY: u8 = 4;

    /// A gift that nobody has opened. Who it is for is filled in by the store.
    pub(super) fn new(number: u64, order: &Order, expires_us: u64, previous: u32, flags: u8) -> Self {
        Self {
            number,
            sender: order.sender,
            request: order.request,
            left: order.total,
            expires_us,
            previous,
            entries: NONE,
            opened: 0,
            shares: order.shares as u8,
            shares_left: order.shares as u8,
            recipients: 0,
            flags,
        }
    }

    /// Whether a share of it can still be opened or refunded.
    pub(super) fn is_pending(&self) -> bool {
        self.shares_left > 0 && self.flags & Self::REFUNDED == 0
    }

    pub(super) fn has_opened(&self, place: u32) -> bool {
        self.opened & 1 << place != 0
    }

    /// The places of the recipients, from 0.
    pub(super) fn places(&self) -> std::ops::Range<u32> {
        0..u32::from(self.recipients)
    }
}

/// A recipient of a gift, in 20 bytes: the user, the gift's place, and the two links or the share.
#[derive(Clone, Copy, Debug)]
struct Entry([u32; 5]);

const _: () = assert!(size_of::<Gift>() == 56 && size_of::<Entry>() == 20, "the module's text states the memory");
const _: () = assert!(GIFT_RECIPIENTS_MAX <= u32::BITS as usize, "a bit for each recipient");

impl Entry {
    fn new(user: UserId, gift: u32) -> Self {
        Self([user.0 as u32, (user.0 >> 32) as u32, gift, NONE, NONE])
    }

    fn user(&self) -> UserId {
        UserId(u64::from(self.0[0]) | u64::from(self.0[1]) << 32)
    }

    fn share(&self) -> Cents {
        Cents(u64::from(self.0[3]) | u64::from(self.0[4]) << 32)
    }

    fn set_share(&mut self, share: Cents) {
        (self.0[3], self.0[4]) = (share.0 as u32, (share.0 >> 32) as u32);
    }
}

/// All gifts that are remembered.
#[derive(Debug)]
pub(super) struct Store {
    /// The places of the gifts from `first_number` on; [`NONE`] where one is forgotten.
    numbers: VecDeque<u32>,
    first_number: u64,
    gifts: Vec<Gift>,
    free_gifts: Vec<u32>,
    entries: Vec<Entry>,
    /// Free runs of one entry, of two, and so on.
    free_runs: [Vec<u32>; GIFT_RECIPIENTS_MAX],
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            numbers: VecDeque::new(),
            first_number: 1,
            gifts: Vec::new(),
            free_gifts: Vec::new(),
            entries: Vec::new(),
            free_runs: std::array::from_fn(|_| Vec::new()),
        }
    }

    /// The lowest number that may still be remembered.
    pub(super) fn first_number(&self) -> u64 {
        self.first_number
    }

    /// The number of the next gift.
    pub(super) fn next_number(&self) -> u64 {
        self.first_number + self.numbers.len() as u64
    }

    fn place(&self, number: u64) -> Option<u32> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        self.numbers.get(index).copied().filter(|place| *place != NONE)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Gift> {
        self.place(number).map(|place| &self.gifts[place as usize])
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Gift> {
        self.place(number).map(|place| &mut self.gifts[place as usize])
    }

    /// Takes a gift in, whose number is the next, and whom it is for.
    pub(super) fn insert(&mut self, mut gift: Gift, recipients: &[UserId]) {
        assert_eq!(gift.number, self.next_number(), "gifts are numbered without a gap");
        let place = self.free_gifts.pop().unwrap_or(self.gifts.len() as u32);
        let first = self.free_runs[recipients.len() - 1].pop().unwrap_or(self.entries.len() as u32);
        let end = first as usize + recipients.len();
        assert!(place != NONE && end < NONE as usize, "places are counted in 32 bits");
        if self.entries.len() < end {
            self.entries.resize(end, Entry::new(UserId(0), NONE));
        }
        for (entry, user) in self.entries[first as usize..end].iter_mut().zip(recipients) {
            *entry = Entry::new(*user, place);
        }
        (gift.entries, gift.recipients) = (first, recipients.len() as u8);
        if place as usize == self.gifts.len() {
            self.gifts.push(gift);
        } else {
            self.gifts[place as usize] = gift;
        }
        self.numbers.push_back(place);
    }

    /// Forgets a gift that waits for nobody any more.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(place) = self.place(number) else { return };
        let gift = &self.gifts[place as usize];
        self.free_runs[usize::from(gift.recipients) - 1].push(gift.entries);
        self.free_gifts.push(place);
        self.numbers[(number - self.first_number) as usize] = NONE;
        while self.numbers.front() == Some(&NONE) {
            self.numbers.pop_front();
            self.first_number += 1;
        }
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.gifts)
            + size_of_val(&*self.entries)
            + size_of::<u32>()
                * (self.numbers.len() + self.free_gifts.len() + self.free_runs.iter().map(Vec::len).sum::<usize>())
    }

    /// The user at a recipient's place.
    pub(super) fn recipient(&self, gift: &Gift, place: u32) -> UserId {
        self.entries[(gift.entries + place) as usize].user()
    }

    /// Where a user stands among a gift's recipients.
    pub(super) fn place_of(&self, gift: &Gift, user: UserId) -> Option<u32> {
        gift.places().find(|place| self.recipient(gift, *place) == user)
    }

    /// What the recipient at a place opened, who has.
    pub(super) fn share(&self, gift: &Gift, place: u32) -> Cents {
        debug_assert!(gift.has_opened(place));
        self.entries[(gift.entries + place) as usize].share()
    }

    /// The largest share opened so far.
    pub(super) fn luckiest(&self, gift: &Gift) -> Cents {
        let shares = gift.places().filter(|place| gift.has_opened(*place)).map(|place| self.share(gift, place));
        shares.max().unwrap_or_default()
    }

    /// Notes the share of a recipient, whose entry waits in no list any more.
    pub(super) fn set_share(&mut self, entry: u32, share: Cents) {
        self.entries[entry as usize].set_share(share);
    }

    /// The entry of a recipient.
    pub(super) fn entry(gift: &Gift, place: u32) -> u32 {
        gift.entries + place
    }

    /// The gift of an entry that waits.
    pub(super) fn gift_of(&self, entry: u32) -> &Gift {
        &self.gifts[self.entries[entry as usize].0[2] as usize]
    }

    /// The entry behind this one in its user's list, which is a circle.
    pub(super) fn next_of(&self, entry: u32) -> u32 {
        self.entries[entry as usize].0[4]
    }

    fn set_previous(&mut self, entry: u32, previous: u32) {
        self.entries[entry as usize].0[3] = previous;
    }

    fn set_next(&mut self, entry: u32, next: u32) {
        self.entries[entry as usize].0[4] = next;
    }

    /// Adds an entry at the end of the list that begins at `head`.
    pub(super) fn link(&mut self, head: &mut u32, entry: u32) {
        if *head == NONE {
            *head = entry;
        }
        let last = if *head == entry { entry } else { self.entries[*head as usize].0[3] };
        self.set_previous(entry, last);
        self.set_next(entry, *head);
        self.set_next(last, entry);
        self.set_previous(*head, entry);
    }

    /// Takes an entry out of the list that begins at `head`.
    pub(super) fn unlink(&mut self, head: &mut u32, entry: u32) {
        let Entry([_, _, _, previous, next]) = self.entries[entry as usize];
        if next == entry {
            *head = NONE;
            return;
        }
        self.set_next(previous, next);
        self.set_previous(next, previous);
        if *head == entry {
            *head = next;
        }
    }
}
