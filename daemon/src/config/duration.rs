//! Parses durations: `12h`, `30m`, `90s`, `1h30m`.

use jiff::SignedDuration;

const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parses whole numbers with units, larger units first.
pub fn parse(text: &str) -> Option<SignedDuration> {
    let mut units = UNITS.iter();
    let mut seconds: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.chars().next()?;
        // One iterator over the units rejects a second `h`, and an `h` after an `m`.
        let (_, factor) = units.find(|(letter, _)| *letter == unit)?;
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(*factor)?)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, seconds) in
            [("12h", 43_200), ("30m", 1_800), ("90s", 90), ("1h30m", 5_400), ("1d", 86_400)]
        {
            assert_eq!(parse(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn invalid_duration_is_rejected() {
        for text in
            ["", "12", "h", "12 h", "-1h", "1.5h", "30m1h", "1h1h", "1y", "9223372036854775807d", "１h", "1H"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
