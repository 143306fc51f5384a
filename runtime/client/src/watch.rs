//! What an object emits, as a stream that goes on over lost connections and leaders.

use std::collections::VecDeque;

use concoord_wire::client::{EmittedEvent, Events};
use concoord_wire::{ObjectId, Position};

use crate::error::ClientError;
use crate::handle::Client;

/// From where on a watch tells events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// Those that come behind everything that was acknowledged before the watch began.
    #[default]
    Now,
    /// Those after this revision: a watch that ended goes on after [`Watch::revision`].
    After(u64),
    /// All that are kept.
    Oldest,
}

/// The events of an object, in order: see [`Client::watch`]. Each has a revision that is larger than those before. Nothing is
/// left out and nothing is told twice, over whichever replicas it comes.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    object: ObjectId,
    topic: Option<String>,
    from_oldest: bool,
    after: Option<Position>,
    told: VecDeque<EmittedEvent>,
    /// Where the stream is behind `told`.
    upto: Option<Position>,
}

impl Watch {
    pub(crate) async fn begin(
        client: Client,
        object: ObjectId,
        topic: Option<String>,
        from: From,
    ) -> Result<Watch, ClientError> {
        let after = match from {
            From::Now => None,
            From::After(revision) => Some(Position(revision)),
            From::Oldest => Some(Position(0)),
        };
        let from_oldest = from == From::Oldest;
        let mut watch = Watch { client, object, topic, from_oldest, after, told: VecDeque::new(), upto: None };
        if after.is_none() {
            watch.ask().await?;
        }
        Ok(watch)
    }

    /// The next event; waits until there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Call`] with [`CallError::Compacted`](crate::CallError::Compacted) when events after
    /// [`Watch::revision`] are kept no longer, with [`CallError::UnknownObject`](crate::CallError::UnknownObject) when the
    /// object is gone; [`ClientError::Closed`].
    pub async fn next(&mut self) -> Result<EmittedEvent, ClientError> {
        loop {
            if let Some(event) = self.told.pop_front() {
                self.after = Some(event.revision);
                self.from_oldest = false;
                return Ok(event);
            }
            if let Some(upto) = self.upto.take() {
                self.after = self.after.max(Some(upto));
            }
            self.ask().await?;
        }
    }

    /// Everything up to here was told, or was there before this began.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.after.map_or(0, |after| after.0)
    }

    async fn ask(&mut self) -> Result<(), ClientError> {
        use concoord_wire::client::CallError;
        match self.client.events_after(self.object, self.topic.clone(), self.after).await {
            Ok(Events { events, upto }) => {
                self.told.extend(events);
                self.upto = Some(upto);
                if self.after.is_none() {
                    self.after = self.upto.take();
                }
            }
            Err(ClientError::Call(CallError::Compacted { oldest })) if self.from_oldest => {
                self.after = Some(Position(oldest.0.saturating_sub(1)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
