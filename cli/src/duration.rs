//! Durations as people write them: `200ms`, `1.5s`, `2m`, `1h`.

use std::time::Duration;

/// The longest that is accepted: 365 days. Beyond it sums of times could overflow.
const DURATION_SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// Reads a number with its unit.
///
/// # Errors
/// One line that says what is missing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_seconds = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" => return Err("a unit is missing: write 200ms, 5s, 2m or 1h".into()),
        other => return Err(format!("'{other}' is not a unit: write 200ms, 5s, 2m or 1h")),
    };
    let number: f64 = number.parse().map_err(|_| "a number is missing: write 200ms, 5s, 2m or 1h".to_owned())?;
    let seconds = number * unit_seconds;
    if seconds > DURATION_SECONDS_MAX {
        return Err(format!("longer than {DURATION_SECONDS_MAX} s"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A measured duration with three digits and a unit that fits.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (number, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = match number {
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(parse("5").expect_err("no unit").contains("unit is missing"));
        assert!(parse("5 parsecs").expect_err("no such unit").contains("'parsecs'"));
        assert!(parse("s").expect_err("no number").contains("number is missing"));
        assert!(parse("1.2.3s").expect_err("no number").contains("number is missing"));
        assert!(parse("-1s").is_err());
        assert!(parse("99999999999h").expect_err("too long").contains("longer than"));
    }

    #[test]
    fn shows_three_digits() {
        assert_eq!(show(Duration::from_micros(87)), "87.0 us");
        assert_eq!(show(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(show(Duration::from_millis(312)), "312 ms");
        assert_eq!(show(Duration::from_millis(2500)), "2.50 s");
    }
}
