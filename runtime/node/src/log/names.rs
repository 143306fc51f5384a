//! The names of the files of a data directory.

use concoord_consensus::io::LogPosition;

use crate::disk::PART;

/// Who this directory belongs to.
pub(crate) const IDENTITY: &str = "identity";
/// What is known to be synced.
pub(crate) const MARK: &str = "mark";
/// The directory for native code of modules; a cache, of which the log knows nothing.
pub(crate) const NATIVE_CODE: &str = "native-code";

const SEGMENT: &str = "log-";
const SPARE: &str = "spare-";
/// Digits of a number in a name, so that names sort like numbers.
const DIGITS: usize = 20;

/// A segment, by the position of its first record.
pub(crate) fn segment(first: LogPosition) -> String {
    numbered(SEGMENT, first.0)
}

pub(crate) fn parse_segment(name: &str) -> Option<LogPosition> {
    parse(SEGMENT, name).map(LogPosition)
}

/// A segment that waits to be used.
pub(crate) fn spare(number: u64) -> String {
    numbered(SPARE, number)
}

pub(crate) fn parse_spare(name: &str) -> Option<u64> {
    parse(SPARE, name)
}

pub(crate) fn is_part(name: &str) -> bool {
    name.ends_with(PART)
}

/// `prefix` and a number, padded so that names sort like numbers.
pub(crate) fn numbered(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:0DIGITS$}")
}

/// The number in a name that [`numbered`] made.
pub(crate) fn parse(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_what_they_print_and_nothing_else() {
        assert_eq!(segment(LogPosition(7)), "log-00000000000000000007");
        assert_eq!(parse_segment(&segment(LogPosition(u64::MAX))), Some(LogPosition(u64::MAX)));
        for other in ["log-7", "log-+0000000000000000007", "log-00000000000000000007.part", "log-99999999999999999999"]
        {
            assert_eq!(parse_segment(other), None, "{other}");
        }
    }
}
