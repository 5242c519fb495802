//! Values with units as people write them: `10s`, `64MiB`, `200/s`, `unlimited`. One parser and one printer, for the command
//! line, the environment and the configuration file alike; what is printed parses back to the same value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no value of its kind; says how to write one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {hint}")]
pub struct UnitError {
    text: String,
    kind: &'static str,
    hint: &'static str,
}

/// Derives serde through `FromStr` and `Display`, so that file, flags and orders can never disagree.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as ::serde::Deserialize>::deserialize(deserializer)?.parse().map_err(::serde::de::Error::custom)
            }
        }
    )* };
}
pub(crate) use as_text;

/// A length of time: a whole number and one of `ns`, `us`, `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// Largest first, each with its nanoseconds.
const PERIOD_UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Period {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// So many microseconds.
    pub const fn micros(microseconds: u64) -> Self {
        Self(Duration::from_micros(microseconds))
    }

    /// In whole milliseconds, rounded down; at most `u32::MAX`, some 49 days.
    pub fn as_millis_u32(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// In whole microseconds, rounded down; at most `u32::MAX`, some 71 minutes.
    pub fn as_micros_u32(self) -> u32 {
        u32::try_from(self.0.as_micros()).unwrap_or(u32::MAX)
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, &PERIOD_UNITS).map(|nanoseconds| Self(Duration::from_nanos(nanoseconds))).ok_or_else(|| {
            UnitError {
                text: text.to_owned(),
                kind: "a duration",
                hint: "write a whole number and a unit (ns, us, ms, s, m, h), as in 10s or 500ms",
            }
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        if nanoseconds == 0 {
            return f.pad("0s");
        }
        print_scaled(nanoseconds, &PERIOD_UNITS, f)
    }
}

as_text!(Period);

/// A number of bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, &SIZE_UNITS).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "a size",
            hint: "write a whole number and a unit (B, KiB, MiB, GiB), as in 64MiB",
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0B");
        }
        print_scaled(self.0, &SIZE_UNITS, f)
    }
}

as_text!(Size);

/// So many a second, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// At most so many a second.
    PerSecond(u64),
    /// As fast as it goes.
    Unlimited,
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        text.strip_suffix("/s").and_then(parse_whole).map(Self::PerSecond).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "a rate",
            hint: "write a whole number a second, as in 200/s, or unlimited",
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(number) => write!(f, "{number}/s"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

as_text!(Rate);

/// At most so many, or `unlimited`. In a file it may be a plain number, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// At most so many; at least 1.
    AtMost(u32),
    /// As many as there are.
    Unlimited,
}

impl Cap {
    /// As a number: 0 where there is no limit.
    pub fn number(self) -> u32 {
        match self {
            Self::AtMost(number) => number,
            Self::Unlimited => 0,
        }
    }
}

impl FromStr for Cap {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let number = parse_whole(text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        number.map(Self::AtMost).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "a cap",
            hint: "write a whole number of at least 1, or unlimited",
        })
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Serialize for Cap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(number) => serializer.serialize_u32(*number),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer)
    }
}

/// For what a file may say without quotes, too.
fn number_or_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = UnitError>,
    D: Deserializer<'de>,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(serde::de::Error::custom)
}

/// A number of things: whole, with `k`, `M` or `G` where it is round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

const COUNT_UNITS: [(&str, u64); 4] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000), ("", 1)];

impl FromStr for Count {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = parse_scaled(text, &COUNT_UNITS).and_then(|number| u32::try_from(number).ok());
        number.map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            kind: "a count",
            hint: "write a whole number below 4G, as in 200000, 200k or 1M",
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_scaled(self.0.into(), &COUNT_UNITS, f)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer)
    }
}

/// The cores that SET threads are pinned to: `auto`, `off`, or a list as in `0,2-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// SET n on the n-th core that this process may use, where one is left over for the other threads; else no pinning.
    Auto,
    /// The scheduler decides.
    Off,
    /// SET n on the n-th of these, beginning anew after the last.
    Cores(Vec<usize>),
}

impl FromStr for Pin {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            list => parse_cores(list).map(Self::Cores).ok_or_else(|| UnitError {
                text: text.to_owned(),
                kind: "a list of cores",
                hint: "write auto, off, or numbers and ranges below 4096, as in 0,2-5",
            }),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Cores(cores) => {
                for (index, core) in cores.iter().enumerate() {
                    write!(f, "{}{core}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

as_text!(Pin);

/// Digits only: no sign, no space, no leading plus that `u64::from_str` would let pass.
fn parse_whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A whole number and a unit; `None` where either is missing or the product does not fit. A bare zero needs no unit.
fn parse_scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    parse_whole(number)?.checked_mul(*factor)
}

/// In the largest unit that leaves a whole number. `units` end with a factor of 1.
fn print_scaled(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let exact = units.iter().find(|(_, factor)| value.is_multiple_of(*factor));
    let (unit, factor) = exact.copied().unwrap_or(("", 1));
    f.pad(&format!("{}{unit}", value / factor))
}

fn parse_cores(text: &str) -> Option<Vec<usize>> {
    const CORES_MAX: u64 = 4096;
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_whole(first)?, parse_whole(last)?);
        if first > last || last >= CORES_MAX {
            return None;
        }
        cores.extend(first as usize..=last as usize);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_without_a_unit_is_refused_and_told_how() {
        let error = "10".parse::<Period>().expect_err("ten what?");
        assert!(error.to_string().contains("10s or 500ms"), "{error}");
        for text in ["", "s", "-1s", "+1s", "1.5s", "1 s s", "18446744073709551616s", "18446744073709551615h", "10S"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["64", "64MB", "64M", "-1B", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["200", "200/min", "/s", "-1/s", "Unlimited"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["0", "-1", "4294967296", ""] {
            assert!(text.parse::<Cap>().is_err(), "{text}");
        }
        for text in ["", "M", "-1", "1.5M", "1m", "4294967296", "5G"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
        for text in ["", "1,", "3-1", "a", "0-4096", "1-2-3"] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_mean_what_they_say() {
        assert_eq!("10s".parse(), Ok(Period::seconds(10)));
        assert_eq!("500ms".parse(), Ok(Period::millis(500)));
        assert_eq!("0".parse(), Ok(Period::seconds(0)));
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("200/s".parse(), Ok(Rate::PerSecond(200)));
        assert_eq!("unlimited".parse(), Ok(Cap::Unlimited));
        assert_eq!(["1M", "200k", "7"].map(str::parse), [Ok(Count(1_000_000)), Ok(Count(200_000)), Ok(Count(7))]);
        assert_eq!("0,2-4".parse(), Ok(Pin::Cores(vec![0, 2, 3, 4])));
        assert_eq!(Period::seconds(120).to_string(), "2m");
        assert_eq!(Period::millis(1500).to_string(), "1500ms");
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
    }

    #[test]
    fn a_cap_in_a_file_may_be_a_number() {
        assert_eq!(serde_json::from_str::<Cap>("3").ok(), Some(Cap::AtMost(3)));
        assert_eq!(serde_json::from_str::<Cap>("\"unlimited\"").ok(), Some(Cap::Unlimited));
        assert!(serde_json::from_str::<Cap>("0").is_err());
        assert!(serde_json::from_str::<Cap>("1.5").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(number in any::<u64>(), small in 1u32.., cores in prop::collection::vec(0usize..4096, 1..9)) {
            let period = Period(Duration::from_nanos(number));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            prop_assert_eq!(Rate::PerSecond(number).to_string().parse(), Ok(Rate::PerSecond(number)));
            prop_assert_eq!(Cap::AtMost(small).to_string().parse(), Ok(Cap::AtMost(small)));
            prop_assert_eq!(Count(small).to_string().parse(), Ok(Count(small)));
            let pin = Pin::Cores(cores);
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Period>();
            let _ = text.parse::<Size>();
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Cap>();
            let _ = text.parse::<Count>();
            let _ = text.parse::<Pin>();
        }
    }
}
