//! Why connections fail and break, counted by name.

use std::collections::BTreeMap;

use hongbao_protocol::wire::{ErrorCode, GoAwayReason};
use hongbao_uring::Errno;

/// Why an attempt failed or a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Parting {
    /// Nobody listens there.
    Refused,
    /// The peer reset it.
    Reset,
    /// No answer to the connect or the hello in time.
    TimedOut,
    /// No free local port.
    NoPort,
    /// No free descriptor, or no memory for a socket.
    NoSocket,
    /// Any other error of the network.
    Failed,
    /// The peer ended it without a word.
    EndOfFile,
    /// The peer does not read what it is sent.
    Blocked,
    /// The server put the login off: overloaded.
    LoginOverloaded,
    /// Go-away: every place is taken.
    GoAwayFull,
    /// Go-away: the server is stopping.
    GoAwayStopping,
    /// Go-away: idle for too long.
    GoAwayIdle,
    /// Go-away: the user has logged in on another connection.
    GoAwayReplaced,
    /// Go-away: an operator ended the connection.
    GoAwayDismissed,
    /// Go-away: an operator barred the user.
    GoAwayBarred,
    /// The server says that we broke the protocol by a late hello.
    ErrorLoginTimeout,
    /// The server says that we broke the protocol in another way.
    ErrorFrame,
    /// The server broke the protocol.
    BadFrame,
}

impl Parting {
    const ALL: [(Self, &'static str); 18] = [
        (Self::Refused, "refused"),
        (Self::Reset, "reset"),
        (Self::TimedOut, "timed_out"),
        (Self::NoPort, "no_port"),
        (Self::NoSocket, "no_socket"),
        (Self::Failed, "failed"),
        (Self::EndOfFile, "end_of_file"),
        (Self::Blocked, "blocked"),
        (Self::LoginOverloaded, "login_overloaded"),
        (Self::GoAwayFull, "go_away_full"),
        (Self::GoAwayStopping, "go_away_stopping"),
        (Self::GoAwayIdle, "go_away_idle"),
        (Self::GoAwayReplaced, "go_away_replaced"),
        (Self::GoAwayDismissed, "go_away_dismissed"),
        (Self::GoAwayBarred, "go_away_barred"),
        (Self::ErrorLoginTimeout, "error_login_timeout"),
        (Self::ErrorFrame, "error_frame"),
        (Self::BadFrame, "bad_frame"),
    ];
}

impl From<Errno> for Parting {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ECONNRESET | Errno::EPIPE => Self::Reset,
            Errno::ETIMEDOUT => Self::TimedOut,
            Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => Self::NoPort,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::NoSocket,
            _ => Self::Failed,
        }
    }
}

impl From<GoAwayReason> for Parting {
    fn from(reason: GoAwayReason) -> Self {
        match reason {
            GoAwayReason::Full => Self::GoAwayFull,
            GoAwayReason::Stopping => Self::GoAwayStopping,
            GoAwayReason::Idle => Self::GoAwayIdle,
            GoAwayReason::Replaced => Self::GoAwayReplaced,
            GoAwayReason::Dismissed => Self::GoAwayDismissed,
            GoAwayReason::Barred => Self::GoAwayBarred,
        }
    }
}

impl From<ErrorCode> for Parting {
    fn from(code: ErrorCode) -> Self {
        if code == ErrorCode::LoginTimeout { Self::ErrorLoginTimeout } else { Self::ErrorFrame }
    }
}

/// Counts by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partings([u64; Parting::ALL.len()]);

impl Partings {
    /// One more.
    pub fn count(&mut self, parting: Parting) {
        self.0[parting as usize] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that happened, by name.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        Parting::ALL
            .iter()
            .map(|(parting, name)| ((*name).to_owned(), self.0[*parting as usize]))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl std::ops::AddAssign for Partings {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_place_that_its_number_says() {
        for (place, (parting, _)) in Parting::ALL.iter().enumerate() {
            assert_eq!(*parting as usize, place);
        }
    }
}
