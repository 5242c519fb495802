//! Values of a scenario file, written as people type them: `"30k"`, `"5m"`, `"10k..60k"`, or plain numbers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::parse;

/// As JSON may have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Number(f64),
    Text(String),
}

impl From<Raw> for String {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::Number(number) => number.to_string(),
            Raw::Text(text) => text,
        }
    }
}

/// A number: `1000000`, `"1M"`, `"18k"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Count(pub u64);

impl TryFrom<Raw> for Count {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        parse::count(&String::from(raw)).map(Self)
    }
}

/// A time: `"5m"`, `"500ms"`; a number means seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "String")]
pub struct Time(pub Duration);

impl Time {
    /// Whether it is none.
    pub const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl TryFrom<Raw> for Time {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        parse::duration(&String::from(raw)).map(Self)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{}us", time.0.as_micros())
    }
}

/// A share: `"5%"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "String")]
pub struct Percentage(pub f64);

impl FromStr for Percentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: Option<f64> = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
        match number {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self(percent / 100.0)),
            _ => Err(format!("`{text}` is no share above 0 % and up to 100 %; write 5%")),
        }
    }
}

impl TryFrom<Raw> for Percentage {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        String::from(raw).parse()
    }
}

impl From<Percentage> for String {
    fn from(share: Percentage) -> Self {
        format!("{}%", share.0 * 100.0)
    }
}

/// Events a second, the same throughout (`"30k"`) or from one rate to another (`"10k..60k"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "String")]
pub struct RateRange {
    /// At the begin.
    pub from: u64,
    /// At the end.
    pub to: u64,
}

impl RateRange {
    /// The same throughout.
    pub const fn even(rate: u64) -> Self {
        Self { from: rate, to: rate }
    }
}

impl FromStr for RateRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("..") {
            Some((from, to)) => Ok(Self { from: parse::rate(from)?, to: parse::rate(to)? }),
            None => parse::rate(text).map(Self::even),
        }
    }
}

impl TryFrom<Raw> for RateRange {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        String::from(raw).parse()
    }
}

impl fmt::Display for RateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}/s", self.to) } else { write!(f, "{}..{}/s", self.from, self.to) }
    }
}

impl From<RateRange> for String {
    fn from(rate: RateRange) -> Self {
        if rate.from == rate.to { rate.to.to_string() } else { format!("{}..{}", rate.from, rate.to) }
    }
}
