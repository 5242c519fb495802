//! What gift frames hold beside numbers: the recipients, and why a send or an open came to nothing.

use serde::{Deserialize, Serialize};

use super::GIFT_RECIPIENTS_MAX;
use crate::UserId;

/// Whom a gift is for: 1 to 32 users, in the order they were named. That none is named twice is not this type's business.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<UserId>", into = "Vec<UserId>")]
pub struct Recipients {
    count: u8,
    /// Zero from `count` on, so that equal lists are equal bytes.
    users: [UserId; GIFT_RECIPIENTS_MAX],
}

impl Recipients {
    /// These users; `None` where there are none or too many.
    pub fn new(users: &[UserId]) -> Option<Self> {
        if users.is_empty() {
            return None;
        }
        let mut recipients = Self { count: users.len() as u8, users: [UserId(0); GIFT_RECIPIENTS_MAX] };
        recipients.users.get_mut(..users.len())?.copy_from_slice(users);
        Some(recipients)
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// The users.
    pub fn as_slice(&self) -> &[UserId] {
        &self.users[..usize::from(self.count)]
    }
}

impl std::fmt::Debug for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl TryFrom<Vec<UserId>> for Recipients {
    type Error = &'static str;

    fn try_from(users: Vec<UserId>) -> Result<Self, Self::Error> {
        Self::new(&users).ok_or("a gift has 1 to 32 recipients")
    }
}

impl From<Recipients> for Vec<UserId> {
    fn from(recipients: Recipients) -> Self {
        recipients.as_slice().to_vec()
    }
}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u16)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $code,)*
        }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$variant),*];

            /// As it is called in reports and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one with this code.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes!(
    /// Why a gift was not sent. Nothing was taken from the sender.
    GiftRefusal {
        /// No share at all.
        NoShares = 1 "no_shares",
        /// Less than 1 cent for each share.
        TooFewCents = 2 "too_few_cents",
        /// More shares than recipients: as each has one share at most, the rest could never be opened.
        TooManyShares = 3 "too_many_shares",
        /// The sender is among the recipients.
        SenderNamed = 4 "sender_named",
        /// A recipient is named twice.
        RecipientTwice = 5 "recipient_twice",
        /// More money than one gift may hold.
        TotalTooLarge = 6 "total_too_large",
        /// More money than the sender has.
        Balance = 7 "balance",
        /// A lower number than that of a gift sent before, and none of the latest ones: whether it was sent is not known any more.
        StaleRequest = 8 "stale_request",
        /// Sending gifts is switched off for now.
        Paused = 9 "paused",
        /// As many gifts wait to be opened as the server holds.
        Full = 10 "full",
        /// The server cannot write to its disk for now.
        Halted = 11 "halted",
        /// The server has too much to do; nothing was decided.
        Overloaded = 12 "overloaded",
    }
);

codes!(
    /// Why an open brought no share.
    GiftClosed {
        /// Every share was taken by others, or all is so long over that the server has forgotten the gift.
        Gone = 1 "gone",
        /// The user is not among the recipients, or there is no such gift: which of the two is not told.
        NotYours = 2 "not_yours",
        /// The gift's time was over; what nobody opened went back.
        Expired = 3 "expired",
        /// The server cannot write to its disk for now; nothing was decided.
        Halted = 4 "halted",
        /// The server has too much to do; nothing was decided.
        Overloaded = 5 "overloaded",
    }
);
