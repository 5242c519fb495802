//! What people type for rates, durations and users, as numbers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hongbao_protocol::UserId;

use crate::limits::RATE_MAX;

/// A number with an optional `k` or `M`.
pub fn count(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number: u64 =
        digits.replace('_', "").parse().map_err(|_| format!("`{text}` is no number; write 60000, 60k or 1M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// Events a second: `60000`, `60k`, `60000/s`.
pub fn rate(text: &str) -> Result<u64, String> {
    match count(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err("a rate is at least 1/s".to_owned()),
        rate if rate > RATE_MAX => Err(format!("a rate is at most {RATE_MAX}/s")),
        rate => Ok(rate),
    }
}

/// A duration: `500us`, `10ms`, `60s`, `5m`, `1h`. A bare number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
    let (digits, unit_us) =
        UNITS.iter().find_map(|(unit, us)| Some((text.strip_suffix(unit)?, *us))).unwrap_or((text, 1_000_000));
    let number: f64 =
        digits.parse().map_err(|_| format!("`{text}` is no duration; write 500us, 10ms, 60s, 5m or 1h"))?;
    let us = number * unit_us as f64;
    if (0.0..1e15).contains(&us) {
        Ok(Duration::from_micros(us as u64))
    } else {
        Err(format!("`{text}` is out of range"))
    }
}

/// User ids `first..end`, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// The first user's id.
    pub first: u64,
    /// How many, at least one.
    pub count: u64,
}

impl Users {
    /// Who logs in on this connection. Where there are fewer users than connections, they log in several times.
    pub const fn of_connection(&self, connection: u32) -> UserId {
        UserId(self.first + connection as u64 % self.count)
    }
}

impl FromStr for Users {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, end) = text.split_once("..").ok_or("users are written A..B, the end not included")?;
        let (first, end) = (count(first)?, count(end)?);
        if first >= end {
            return Err(format!("{first}..{end} holds no user; the end is not included"));
        }
        Ok(Self { first, count: end - first })
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.first + self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!((rate("60000"), rate("60k"), rate("60_000/s")), (Ok(60_000), Ok(60_000), Ok(60_000)));
        assert_eq!(count("1M"), Ok(1_000_000));
        assert_eq!(duration("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!((duration("2m"), duration("60")), (Ok(Duration::from_mins(2)), Ok(Duration::from_mins(1))));
        assert_eq!("10..13".parse(), Ok(Users { first: 10, count: 3 }));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "-1", "0", "1e30/s", "99999999999999999999"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["", "s", "-1s", "nan", "inf", "1e30h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "5", "5..5", "6..5", "a..b"] {
            assert!(text.parse::<Users>().is_err(), "{text}");
        }
    }

    #[test]
    fn fewer_users_than_connections_log_in_several_times() {
        let users = Users { first: 10, count: 3 };
        assert_eq!([0, 1, 2, 3].map(|n| users.of_connection(n).0), [10, 11, 12, 10]);
    }
}
