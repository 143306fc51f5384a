//! What operators did with objects: the newest, so that a retry finds what its first try came to.
//!
//! A retry that comes after [`OPERATIONS_KEPT_MAX`] others is not known any more. What it wants then says itself that it
//! was done: the name is taken, the id is gone, the generation is another one.

use std::collections::VecDeque;

use concoord_wire::objects::{ObjectError, Operated};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::OPERATIONS_KEPT_MAX;

/// What an operation came to.
pub(super) type OperationResult = Result<Operated, ObjectError>;

/// The newest operations, oldest first.
#[derive(Debug, Default)]
pub(super) struct Operations {
    results: VecDeque<(u128, OperationResult)>,
}

impl Operations {
    /// What the operation of this nonce came to.
    pub(super) fn find(&self, nonce: u128) -> Option<&OperationResult> {
        self.results.iter().rev().find(|(of, _)| *of == nonce).map(|(_, result)| result)
    }

    /// Keeps what an operation came to.
    pub(super) fn record(&mut self, nonce: u128, result: OperationResult) {
        if self.results.len() == OPERATIONS_KEPT_MAX {
            self.results.pop_front();
        }
        self.results.push_back((nonce, result));
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.put(&self.results);
    }

    /// Reads what [`Operations::write`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Operations, RestoreError> {
        let results: VecDeque<(u128, OperationResult)> = from.take("what operators did")?;
        from.within("operations", results.len(), OPERATIONS_KEPT_MAX)?;
        Ok(Operations { results })
    }

    /// The digest with all of this behind it.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        digest.with(&self.results)
    }
}
