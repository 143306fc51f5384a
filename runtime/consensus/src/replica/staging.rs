//! Modules that arrive in pieces, each kept for its connection until a request needs it.
//!
//! Nothing here is durable, and nobody else has it: a client that loses its connection, or its leader, sends all again.

use std::collections::BTreeMap;

use bytes::Bytes;
use concoord_wire::client::CallError;
use concoord_wire::limits::{MODULE_BYTES_MAX, MODULE_PIECE_BYTES_MAX};
use concoord_wire::objects::ObjectError;

use crate::io::ClientToken;
use crate::limits::STAGED_BYTES_MAX;

/// What clients have sent so far, each of one module. **Invariant:** `bytes` is the sum over all.
#[derive(Debug, Default)]
pub(super) struct Staging {
    pieces: BTreeMap<ClientToken, Vec<u8>>,
    bytes: usize,
}

impl Staging {
    /// Keeps a piece: gives how many bytes of its module are here.
    ///
    /// # Errors
    /// [`ObjectError::Piece`] when it is not the next one, `TooLarge` when it or the module is, `Busy` when there is no room.
    pub(super) fn add(&mut self, client: ClientToken, offset: u64, data: &[u8]) -> Result<u64, ObjectError> {
        if offset == 0 {
            self.forget(client);
        }
        let kept = self.kept(client);
        if offset != kept as u64 {
            return Err(ObjectError::Piece { offset, expected: kept as u64 });
        }
        within("a piece of a module", data.len(), MODULE_PIECE_BYTES_MAX)?;
        within("a module", kept + data.len(), MODULE_BYTES_MAX)?;
        if self.bytes + data.len() > STAGED_BYTES_MAX {
            let what = "the room for modules that arrive in pieces".into();
            return Err(CallError::Busy { what, limit: STAGED_BYTES_MAX as u64 }.into());
        }
        self.pieces.entry(client).or_default().extend_from_slice(data);
        self.bytes += data.len();
        Ok(self.kept(client) as u64)
    }

    /// The whole module, now that its last piece is here.
    ///
    /// # Errors
    /// `TooLarge` when it is; it is dropped.
    pub(super) fn take(&mut self, client: ClientToken, last: Bytes) -> Result<Bytes, ObjectError> {
        let kept = self.kept(client);
        self.bytes -= kept;
        let pieces = self.pieces.remove(&client);
        within("a module", kept + last.len(), MODULE_BYTES_MAX)?;
        Ok(match pieces {
            None => last,
            Some(mut pieces) => {
                pieces.extend_from_slice(&last);
                pieces.into()
            }
        })
    }

    /// A client is gone, or begins anew.
    pub(super) fn forget(&mut self, client: ClientToken) {
        self.bytes -= self.pieces.remove(&client).map_or(0, |pieces| pieces.len());
    }

    fn kept(&self, client: ClientToken) -> usize {
        self.pieces.get(&client).map_or(0, Vec::len)
    }
}

fn within(what: &str, size: usize, limit: usize) -> Result<(), CallError> {
    if size <= limit {
        return Ok(());
    }
    Err(CallError::TooLarge { what: what.into(), size: size as u64, limit: limit as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientToken = ClientToken(1);
    const B: ClientToken = ClientToken(2);

    #[test]
    fn pieces_make_a_module_in_order_and_one_that_does_not_fit_changes_nothing() {
        let mut staging = Staging::default();
        assert_eq!(staging.add(A, 0, b"ab"), Ok(2));
        assert_eq!(staging.add(B, 0, b"x"), Ok(1));
        assert_eq!(staging.add(A, 2, b"cd"), Ok(4));
        assert_eq!(staging.add(A, 2, b"cd"), Err(ObjectError::Piece { offset: 2, expected: 4 }));
        assert_eq!(staging.take(A, Bytes::from_static(b"e")), Ok(Bytes::from_static(b"abcde")));
        assert_eq!(staging.take(A, Bytes::from_static(b"whole")), Ok(Bytes::from_static(b"whole")));
        assert_eq!(staging.add(B, 0, b"again"), Ok(5), "the first piece begins anew");
        staging.forget(B);
        assert_eq!(staging.add(B, 5, b"!"), Err(ObjectError::Piece { offset: 5, expected: 0 }));
        assert_eq!((staging.bytes, staging.pieces.len()), (0, 0));
    }

    #[test]
    fn pieces_modules_and_all_modules_together_are_bounded() {
        let mut staging = Staging::default();
        let piece = vec![0; MODULE_PIECE_BYTES_MAX];
        let too_large = |result| matches!(result, Err(ObjectError::Call(CallError::TooLarge { .. })));
        assert!(too_large(staging.add(A, 0, &vec![0; MODULE_PIECE_BYTES_MAX + 1])));
        let fill = |client, staging: &mut Staging| {
            (0..MODULE_BYTES_MAX / MODULE_PIECE_BYTES_MAX)
                .try_for_each(|index| staging.add(client, (index * piece.len()) as u64, &piece).map(drop))
        };
        assert_eq!(fill(A, &mut staging), Ok(()));
        assert!(too_large(staging.add(A, MODULE_BYTES_MAX as u64, b"x")));
        for client in 2..=(STAGED_BYTES_MAX / MODULE_BYTES_MAX) as u64 {
            assert_eq!(fill(ClientToken(client), &mut staging), Ok(()));
        }
        let late = ClientToken(100);
        assert!(matches!(staging.add(late, 0, b"x"), Err(ObjectError::Call(CallError::Busy { .. }))));
        assert!(too_large(staging.take(A, Bytes::from_static(b"x")).map(|_| 0)));
        assert_eq!(staging.add(late, 0, b"x"), Ok(1), "what was too large is dropped");
    }
}
