//! A replicated stock: what is put in can be taken out, once, whoever asks and whichever replica fails.
//!
//! A `pub fn` with `&mut self` is an update: every replica runs it, in one order. One with `&self` is a query: one
//! replica answers. A `fn` without `pub` is yours. A panic (integer overflow is one) undoes what its call changed, and
//! the caller is told.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// Keeps things by name.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Stock {
    amounts: BTreeMap<String, u64>,
}

/// Why nothing was taken.
#[concoord::data]
#[derive(Debug, PartialEq)]
pub enum Shortage {
    /// None was ever put in.
    Unknown,
    /// There is less than was asked for.
    OnlyLeft(u64),
}

#[concoord::methods]
impl Stock {
    /// Puts `amount` of `item` in, and returns how much is there then.
    pub fn put(&mut self, item: String, amount: u64) -> u64 {
        let there = self.amounts.entry(item).or_default();
        *there += amount;
        *there
    }

    /// Takes `amount` of `item` out, all of it or nothing, and returns how much is left.
    pub fn take(&mut self, item: String, amount: u64) -> Result<u64, Shortage> {
        let there = self.amounts.get_mut(&item).ok_or(Shortage::Unknown)?;
        *there = there.checked_sub(amount).ok_or(Shortage::OnlyLeft(*there))?;
        Ok(*there)
    }

    /// How much of `item` is there.
    pub fn amount(&self, item: String) -> u64 {
        self.amounts.get(&item).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_can_be_taken_once() {
        let mut object = Stock::default();
        assert_eq!(object.put("apples".into(), 3), 3);
        assert_eq!(object.take("apples".into(), 2), Ok(1));
        assert_eq!(object.take("apples".into(), 2), Err(Shortage::OnlyLeft(1)));
        assert_eq!(object.take("pears".into(), 1), Err(Shortage::Unknown));
        assert_eq!(object.amount("apples".into()), 1);
    }

    #[test]
    #[should_panic(expected = "overflow")]
    fn never_wraps_around() {
        let mut object = Stock::default();
        object.put("apples".into(), u64::MAX);
        object.put("apples".into(), 1);
    }

    #[test]
    fn goes_on_where_its_export_was() {
        let mut object = Stock::default();
        object.put("apples".into(), 3);
        let moved = Stock::import(&object.export()).expect("its own state");
        assert_eq!(moved.amount("apples".into()), 3);
    }
}
