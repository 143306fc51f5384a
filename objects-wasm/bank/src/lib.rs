//! A bank: accounts by name, none of them below zero.

use std::collections::BTreeMap;

use concoord::prelude::*;

/// A bank that starts without accounts.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Bank {
    balances: BTreeMap<String, u64>,
}

/// Why the bank did not do it. It changed nothing then.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// There is an account of this name already.
    #[error("there is an account of this name already")]
    AlreadyOpen,
    /// There is no account of this name.
    #[error("there is no account of this name")]
    NoAccount,
    /// There is less on the account than was to be taken.
    #[error("there is only {balance} on the account")]
    Insufficient {
        /// What is on the account.
        balance: u64,
    },
    /// There would be more on the account than can be counted, with what is on it now.
    #[error("with the {balance} on the account, that is more than can be counted")]
    Overflow {
        /// What is on the account.
        balance: u64,
    },
}

#[concoord::methods]
impl Bank {
    /// Opens `account` with nothing on it.
    pub fn open(&mut self, account: String) -> Result<(), BankError> {
        if self.balances.contains_key(&account) {
            return Err(BankError::AlreadyOpen);
        }
        self.balances.insert(account, 0);
        Ok(())
    }

    /// Closes `account`, and returns what was on it.
    pub fn close(&mut self, account: String) -> Result<u64, BankError> {
        self.balances.remove(&account).ok_or(BankError::NoAccount)
    }

    /// Takes `amount` from `account`, and returns what is on it then.
    pub fn debit(&mut self, account: String, amount: u64) -> Result<u64, BankError> {
        let balance = self.balances.get_mut(&account).ok_or(BankError::NoAccount)?;
        *balance = balance.checked_sub(amount).ok_or(BankError::Insufficient { balance: *balance })?;
        Ok(*balance)
    }

    /// Adds `amount` to `account`, and returns what is on it then.
    pub fn deposit(&mut self, account: String, amount: u64) -> Result<u64, BankError> {
        let balance = self.balances.get_mut(&account).ok_or(BankError::NoAccount)?;
        *balance = balance.checked_add(amount).ok_or(BankError::Overflow { balance: *balance })?;
        Ok(*balance)
    }

    /// What is on `account`.
    pub fn balance(&self, account: String) -> Result<u64, BankError> {
        self.balances.get(&account).copied().ok_or(BankError::NoAccount)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn ann() -> String {
        "ann".into()
    }

    #[test]
    fn accounts_are_opened_used_and_closed() {
        let mut bank = Bank::default();
        assert_eq!(bank.deposit(ann(), 1), Err(BankError::NoAccount));
        assert_eq!((bank.open(ann()), bank.open(ann())), (Ok(()), Err(BankError::AlreadyOpen)));
        assert_eq!((bank.deposit(ann(), 10), bank.debit(ann(), 4), bank.balance(ann())), (Ok(10), Ok(6), Ok(6)));
        assert_eq!((bank.debit(ann(), 7), bank.balance(ann())), (Err(BankError::Insufficient { balance: 6 }), Ok(6)));
        assert_eq!(bank.deposit(ann(), u64::MAX), Err(BankError::Overflow { balance: 6 }));
        assert_eq!((bank.close(ann()), bank.close(ann())), (Ok(6), Err(BankError::NoAccount)));
        assert_eq!((bank.debit(ann(), 0), bank.balance(ann())), (Err(BankError::NoAccount), Err(BankError::NoAccount)));
    }

    /// The model computes in numbers that can be negative and do not overflow, and looks afterwards.
    #[test]
    fn any_calls_leave_the_sums_of_those_that_went_well() {
        for seed in 0..200 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut bank, mut model) = (Bank::default(), [None::<i128>; 4]);
            for _ in 0..200 {
                let at = chance.random_range(0..model.len());
                let (name, known) = (at.to_string(), &mut model[at]);
                let amount = if chance.random_bool(0.1) { u64::MAX - 50 } else { chance.random_range(0..100) };
                match chance.random_range(0..10) {
                    0 => {
                        assert_eq!(bank.open(name).is_ok(), known.is_none(), "seed {seed}");
                        *known = known.or(Some(0));
                    }
                    1 => assert_eq!(bank.close(name).ok().map(i128::from), known.take(), "seed {seed}"),
                    turn => {
                        let by = if turn < 6 { i128::from(amount) } else { -i128::from(amount) };
                        let then = known.map(|balance| balance + by);
                        let then = then.filter(|balance| (0..=i128::from(u64::MAX)).contains(balance));
                        let done = if turn < 6 { bank.deposit(name, amount) } else { bank.debit(name, amount) };
                        assert_eq!(done.ok().map(i128::from), then, "seed {seed}");
                        *known = then.or(*known);
                    }
                }
            }
            let moved = Bank::import(&bank.export()).expect("its own export");
            for (at, known) in model.iter().enumerate() {
                assert_eq!(bank.balance(at.to_string()).ok().map(i128::from), *known, "seed {seed}");
                assert_eq!(moved.balance(at.to_string()), bank.balance(at.to_string()), "seed {seed}");
            }
        }
        assert!(Bank::import(&[]).is_err());
    }
}
