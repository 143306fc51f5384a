//! The objects and tests of the book's page on methods that wait, letter by letter.

#![allow(missing_docs, reason = "they are those of the book")]

pub mod clock;
pub mod door;
pub mod lock;

use clock::{Clock, Rang};
use concoord::testing::Table;
use door::Door;
use lock::Lock;

const PAGE: &str = include_str!("../../../docs/src/objects/waiting.md");

#[test]
fn a_lock_goes_to_the_next_when_its_session_ends() {
    let mut table = Table::new(Lock::default());
    assert_eq!(table.call(1, "acquire", &()).returned::<u64>(), 1);
    assert!(table.call(2, "acquire", &()).waits());
    assert_eq!(table.close(1).woken::<u64>(), [(2, 3)]);
}

#[test]
fn a_clock_rings_when_it_is_time() {
    let mut table = Table::new(Clock::default());
    table.call(1, "set", &("tea", 3000_u64));
    assert!(table.advance(2_999_999).events.is_empty());
    assert_eq!(table.advance(1).emitted(), [("tea".to_owned(), Rang { what: "tea".into() })]);
}

#[test]
fn a_door_is_opened() {
    let mut table = Table::new(Door::default());
    assert!(table.call(1, "knock", &()).waits());
    let opened = table.call(2, "open", "welcome");
    assert_eq!((opened.woken(), opened.returned()), (vec![(1, "welcome".to_owned())], true));
}

/// What the page has of a test is in the body of one here.
#[test]
fn the_page_has_what_is_compiled_here() {
    let here = [include_str!("clock.rs"), include_str!("door.rs"), include_str!("lock.rs"), include_str!("main.rs")];
    let indented = |block: &str| block.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let blocks = PAGE.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let mut seen = 0;
    for block in blocks {
        let is_here = here.iter().any(|text| text.contains(block) || text.contains(&indented(block)));
        assert!(is_here, "nowhere in guest-sdk/tests/book:\n{block}");
        seen += 1;
    }
    assert!(seen > 0);
}
