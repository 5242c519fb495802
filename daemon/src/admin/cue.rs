//! A moment as operators say it: now, in so much time, or at a time.

use std::fmt;
use std::str::FromStr;

use crate::rounds::Moment;
use crate::units::Period;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cue {
    /// So much time from now.
    In(Period),
    /// Then.
    At(Moment),
}

impl FromStr for Cue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::In(Period::seconds(0)));
        }
        let Some(time) = text.strip_prefix('+') else {
            return text
                .parse()
                .map(Self::At)
                .map_err(|error| format!("{error}; or now, or a time from now as in +5s"));
        };
        let seconds = time.parse().ok().filter(|_| time.bytes().all(|byte| byte.is_ascii_digit())).map(Period::seconds);
        let period = seconds.map_or_else(|| time.parse::<Period>().map_err(|error| error.to_string()), Ok)?;
        if period > Period::seconds(7 * 24 * 3600) {
            return Err(format!("{period} from now is too far: give the time itself, as in 2027-02-05T20:00:00+08:00"));
        }
        Ok(Self::In(period))
    }
}

impl fmt::Display for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(period) if period.0.is_zero() => f.write_str("now"),
            Self::In(period) => write!(f, "+{period}"),
            Self::At(moment) => moment.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cue_is_a_time_from_now_or_a_time() {
        assert_eq!("+5".parse(), Ok(Cue::In(Period::seconds(5))));
        assert_eq!("+500ms".parse(), Ok(Cue::In(Period::millis(500))));
        assert_eq!("now".parse(), Ok(Cue::In(Period::seconds(0))));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Cue::At(Moment(1_000_000))));
        for text in ["", "5", "+", "+-5", "-5s", "+5 s s", "+8d", "soon", "+99999999999999"] {
            assert!(text.parse::<Cue>().is_err(), "{text}");
        }
        for cue in [Cue::In(Period::seconds(0)), Cue::In(Period::millis(1500)), Cue::At(Moment(7))] {
            assert_eq!(cue.to_string().parse(), Ok(cue));
        }
    }
}
