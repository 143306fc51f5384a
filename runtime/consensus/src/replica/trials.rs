//! Modules that strangers send are tried before anything is proposed: what they take to be compiled is known only then, and
//! a decided one that a replica can't compile ends it. [`Effect::TryOut`] has that done elsewhere, within bounds.

use std::collections::BTreeMap;

use bytes::Bytes;
use concoord_wire::ObjectId;
use concoord_wire::abi::ObjectLimits;
use concoord_wire::client::{CallError, Consistency, Response};
use concoord_wire::objects::{ObjectAction, ObjectError};
use concoord_wire::value::Command;

use super::Replica;
use super::clients::note_newest;
use crate::io::{Ask, ClientToken, Effect, Question};
use crate::limits::TRIALS_MAX;

/// Trials under way, by number.
#[derive(Debug, Default)]
pub(super) struct Trials {
    under_way: BTreeMap<u64, Trial>,
    last: u64,
}

#[derive(Debug)]
struct Trial {
    client: ClientToken,
    /// The client's number of the request.
    request: u64,
    wanted: Wanted,
}

/// What is done with a module that can be run.
#[derive(Debug)]
pub(super) enum Wanted {
    /// It is proposed.
    Operate {
        /// As the client drew it.
        nonce: u128,
        /// With the whole module.
        action: ObjectAction,
    },
    /// An upgrade is tried on a copy of an object.
    Try {
        /// The object.
        object: ObjectId,
        /// The whole module.
        module: Bytes,
        /// What it may take.
        limits: Option<ObjectLimits>,
    },
}

impl Trials {
    /// Nobody waits for a client's trials any more.
    pub(super) fn forget(&mut self, client: ClientToken) {
        self.under_way.retain(|_, trial| trial.client != client);
    }
}

impl Replica {
    /// Has a module tried before what is wanted with it.
    pub(super) fn try_out(&mut self, client: ClientToken, request: u64, module: Bytes, wanted: Wanted) {
        let trials = &mut self.clients.trials;
        if trials.under_way.len() >= TRIALS_MAX {
            let busy = CallError::Busy { what: "the trials of modules".into(), limit: TRIALS_MAX as u64 };
            return self.reply(client, Response::Operated { request, result: Err(busy.into()) });
        }
        trials.last += 1;
        let trial = trials.last;
        trials.under_way.insert(trial, Trial { client, request, wanted });
        self.effects.push(Effect::TryOut { trial, module });
    }

    /// A trial has ended.
    pub(super) fn on_tried_out(&mut self, trial: u64, result: Result<(), String>) {
        let Some(Trial { client, request, wanted }) = self.clients.trials.under_way.remove(&trial) else { return };
        // Much may have happened meanwhile: a new leader, for one.
        let admitted = result.map_err(|why| ObjectError::Refused { why }).and_then(|()| Ok(self.admit(0, 0)?));
        match (admitted, wanted) {
            (Ok(()), Wanted::Operate { nonce, action }) => {
                note_newest(&mut self.clients.operators, nonce, (client, request));
                self.clients.push(Command::Operate { nonce, action });
            }
            (Ok(()), Wanted::Try { object, module, limits }) => {
                let ask = Ask::Try { object, module, limits };
                self.ask(Question { client, request, ask }, Consistency::Linearizable);
            }
            (Err(error), _) => self.reply(client, Response::Operated { request, result: Err(error) }),
        }
    }
}
