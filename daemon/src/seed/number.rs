//! Counts and amounts as people write them.

/// Reads a whole number with optional underscores and an optional `k`, `M` or `G` for thousands, millions or billions:
/// `250000`, `250_000` and `250k` are the same.
pub fn parse_number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let plain = digits.replace('_', "");
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected a whole number such as 250000, 250_000, 250k, 10M or 2G".into());
    }
    plain
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "the number is too large: it must be below 2^64".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, number) in
            [("0", 0), ("250000", 250_000), ("10_000_000", 10_000_000), ("250k", 250_000), ("10M", 10_000_000)]
        {
            assert_eq!(parse_number(text), Ok(number), "{text}");
        }
        assert_eq!(parse_number("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_number_is_refused_and_not_guessed() {
        for text in [
            "",
            "k",
            "_1",
            "-1",
            "+1",
            "1.5M",
            "1 000",
            "0x10",
            "10m",
            "1MM",
            "十",
            "18446744073709551616",
            "99999999999G",
        ] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }
}
