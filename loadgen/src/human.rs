//! Figures as people read them: three digits and a unit. For pages and tables; data goes out in full.

/// Every digit, in groups of three: `1,000,000`.
pub fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count or a rate: `60k`, `1.25M`.
pub fn count(number: f64) -> String {
    scaled(number, &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")])
}

/// A time given in microseconds: `850 µs`, `12.4 ms`, `1.5 s`.
pub fn time(us: f64) -> String {
    scaled(us, &[(1.0, " µs"), (1e3, " ms"), (1e6, " s")])
}

/// Memory: `96.5 MB`, in powers of ten.
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, &[(1.0, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB")])
}

/// A share of one: `0.32 %`.
pub fn share(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// A number without a unit, three digits of it.
pub fn plain(number: f64) -> String {
    digits(number)
}

/// A time of the run given in whole seconds: `45 s`, `1:30`, `2:00:00`.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

fn scaled(number: f64, units: &[(f64, &str)]) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    // The unit in which it stays below 1,000 after rounding.
    let last = units.last().expect("every quantity has a unit");
    let (size, name) = units.iter().find(|(size, _)| number.abs() < 999.5 * size).unwrap_or(last);
    format!("{}{name}", digits(number / size))
}

fn digits(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 { "0" } else { "-" }.to_owned();
    }
    let before_the_point = number.abs().log10().floor() as i32 + 1;
    let after = (3 - before_the_point).clamp(0, 5) as usize;
    let text = format!("{number:.after$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_never_a_thousand_of_a_unit() {
        for (number, text) in [
            (0.0, "0"),
            (0.0173, "0.0173"),
            (5.0, "5"),
            (12.44, "12.4"),
            (999.4, "999"),
            (999.6, "1k"),
            (59_998.0, "60k"),
            (1_250_000.0, "1.25M"),
            (-2_500.0, "-2.5k"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!((time(850.0), time(12_440.0), time(1e6)), ("850 µs".into(), "12.4 ms".into(), "1 s".into()));
        assert_eq!((time(7.2e9), bytes(96.5e6)), ("7200 s".into(), "96.5 MB".into()));
        assert_eq!((share(0.0032), share(1.0)), ("0.32 %".into(), "100 %".into()));
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        let said = [0, 999, 1_000, 12_345, 1_000_000].map(exact);
        assert_eq!(said, ["0", "999", "1,000", "12,345", "1,000,000"]);
        assert!(exact(u64::MAX).starts_with("18,446,"));
    }

    #[test]
    fn a_time_of_the_run_is_told_like_a_clock() {
        let said = [0.0, 59.9, 60.0, 90.0, 3_600.0, 7_325.0].map(clock);
        assert_eq!(said, ["0 s", "59 s", "1:00", "1:30", "1:00:00", "2:02:05"]);
    }
}
