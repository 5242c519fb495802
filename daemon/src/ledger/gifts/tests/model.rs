//! What gifts ought to do, as plainly as it can be written: lists and maps, searched from end to end, nothing kept twice.

use std::collections::{BTreeMap, BTreeSet};

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};

/// A gift, with all that ever happened to it.
#[derive(Clone, Debug)]
pub(super) struct ModelGift {
    pub(super) sender: u64,
    pub(super) request: u64,
    pub(super) total: u64,
    pub(super) shares: u64,
    pub(super) recipients: Vec<u64>,
    pub(super) house: bool,
    pub(super) expires_us: u64,
    pub(super) opened: BTreeMap<u64, u64>,
    pub(super) refunded: Option<u64>,
}

impl ModelGift {
    pub(super) fn left(&self) -> u64 {
        self.total - self.opened.values().sum::<u64>() - self.refunded.unwrap_or(0)
    }

    pub(super) fn is_over(&self) -> bool {
        self.refunded.is_some() || self.opened.len() as u64 == self.shares
    }

    fn waits_for(&self, user: u64) -> bool {
        !self.is_over() && self.recipients.contains(&user) && !self.opened.contains_key(&user)
    }
}

/// Something that was decided.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Won(u64, u64),
    Sent(ModelGift),
    Opened { number: usize, user: u64, share: u64 },
    Refunded { number: usize },
}

/// What the model expects of an open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Share,
    Again(u64),
    Closed(GiftClosed),
}

/// Everything that was decided, in order; the state is computed from it whenever it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) events: Vec<Event>,
    pub(super) gifts: Vec<ModelGift>,
    over: Vec<usize>,
    remembered: usize,
}

impl Model {
    pub(super) fn new(remembered: usize) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// The model after the first `events` only.
    pub(super) fn cut(&self, events: usize) -> Self {
        let mut cut = Self::new(self.remembered);
        self.events[..events].iter().for_each(|event| cut.happens(event.clone()));
        cut
    }

    pub(super) fn happens(&mut self, event: Event) {
        match &event {
            Event::Won(..) => {}
            Event::Sent(gift) => self.gifts.push(gift.clone()),
            Event::Opened { number, user, share } => {
                let gift = &mut self.gifts[number - 1];
                assert!(gift.opened.insert(*user, *share).is_none(), "one share a recipient");
                if gift.is_over() {
                    self.over.push(*number);
                }
            }
            Event::Refunded { number } => {
                let gift = &mut self.gifts[number - 1];
                assert!(!gift.is_over(), "refunded once, and only what is left");
                gift.refunded = Some(gift.left());
                self.over.push(*number);
            }
        }
        self.events.push(event);
    }

    pub(super) fn is_forgotten(&self, number: usize) -> bool {
        let latest = &self.over[self.over.len().saturating_sub(self.remembered)..];
        self.over.contains(&number) && !latest.contains(&number)
    }

    pub(super) fn balance(&self, user: u64) -> u64 {
        let mine = |event: &&Event| matches!(event, Event::Won(who, _) if *who == user);
        let won: u64 = self.events.iter().filter(mine).map(amount).sum();
        let opened: u64 = self.gifts.iter().filter_map(|gift| gift.opened.get(&user)).sum();
        let mine = || self.gifts.iter().filter(|gift| gift.sender == user && !gift.house);
        let back: u64 = mine().filter_map(|gift| gift.refunded).sum();
        won + opened + back - mine().map(|gift| gift.total).sum::<u64>()
    }

    pub(super) fn won(&self) -> u64 {
        self.events.iter().map(amount).sum()
    }

    pub(super) fn pending(&self) -> usize {
        self.gifts.iter().filter(|gift| !gift.is_over()).count()
    }

    /// The earlier gift that a request is answered with, or that it is too old to be known.
    pub(super) fn sent_before(&self, sender: u64, request: u64) -> Result<Option<usize>, GiftRefusal> {
        let mine: Vec<usize> =
            (1..=self.gifts.len()).rev().filter(|number| self.gifts[number - 1].sender == sender).collect();
        if mine.first().is_none_or(|latest| request > self.gifts[latest - 1].request) {
            return Ok(None);
        }
        let known = mine.iter().take(16).take_while(|number| !self.is_forgotten(**number));
        let found = known.copied().find(|number| self.gifts[number - 1].request == request);
        found.map(Some).ok_or(GiftRefusal::StaleRequest)
    }

    /// Why an order must be refused, whatever was sent before.
    pub(super) fn refusal(&self, gift: &ModelGift, paused: bool, pending_max: usize) -> Option<GiftRefusal> {
        let distinct: BTreeSet<u64> = gift.recipients.iter().copied().collect();
        let wrong = [
            (gift.shares == 0, GiftRefusal::NoShares),
            (gift.shares > gift.recipients.len() as u64, GiftRefusal::TooManyShares),
            (gift.total < gift.shares, GiftRefusal::TooFewCents),
            (gift.total > 1 << 40, GiftRefusal::TotalTooLarge),
            (distinct.contains(&gift.sender), GiftRefusal::SenderNamed),
            (distinct.len() < gift.recipients.len(), GiftRefusal::RecipientTwice),
            (paused, GiftRefusal::Paused),
            (self.pending() >= pending_max, GiftRefusal::Full),
            (!gift.house && self.balance(gift.sender) < gift.total, GiftRefusal::Balance),
        ];
        wrong.into_iter().find_map(|(is_so, refusal)| is_so.then_some(refusal))
    }

    pub(super) fn open(&self, user: u64, number: usize, time_us: u64) -> Expected {
        if number == 0 || number > self.gifts.len() {
            return Expected::Closed(GiftClosed::NotYours);
        }
        let gift = &self.gifts[number - 1];
        if self.is_forgotten(number) {
            Expected::Closed(GiftClosed::Gone)
        } else if !gift.recipients.contains(&user) {
            Expected::Closed(GiftClosed::NotYours)
        } else if let Some(share) = gift.opened.get(&user) {
            Expected::Again(*share)
        } else if gift.opened.len() as u64 == gift.shares {
            Expected::Closed(GiftClosed::Gone)
        } else if gift.refunded.is_some() || gift.expires_us <= time_us {
            Expected::Closed(GiftClosed::Expired)
        } else {
            Expected::Share
        }
    }

    /// Whose time is over and which of them ends first; of those that end together the one sent first.
    pub(super) fn due(&self, time_us: u64) -> Option<usize> {
        let over = (1..=self.gifts.len())
            .filter(|number| !self.gifts[number - 1].is_over() && self.gifts[number - 1].expires_us <= time_us);
        over.min_by_key(|number| (self.gifts[number - 1].expires_us, *number))
    }

    /// The numbers of the gifts that wait for a user, the oldest first.
    pub(super) fn waiting(&self, user: u64) -> Vec<usize> {
        (1..=self.gifts.len()).filter(|number| self.gifts[number - 1].waits_for(user)).collect()
    }
}

fn amount(event: &Event) -> u64 {
    if let Event::Won(_, amount) = event { *amount } else { 0 }
}
