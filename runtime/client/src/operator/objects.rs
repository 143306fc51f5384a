//! What operators do with objects.
//!
//! Each action has a nonce of its own, which it keeps over every retry, so it is executed once however often it is asked
//! for. A module that is too large for one request goes ahead in pieces over the same connection; a replica that does not
//! lead, or loses its leadership, has to be left for another one, and that one is sent all of it.

use bytes::Bytes;
use concoord_wire::ObjectId;
use concoord_wire::abi::ObjectLimits;
use concoord_wire::client::{CallError, Consistency, Request, Response};
use concoord_wire::limits::MODULE_PIECE_BYTES_MAX;
use concoord_wire::objects::{ObjectAction, ObjectError, ObjectList, Operated};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};

use super::line::{Line, LineError};
use super::{Asking, Operator, OperatorError, Step};

impl Operator {
    /// Has an action executed, once. Gives what it did, once that is decided and applied.
    ///
    /// # Errors
    /// [`OperatorError::Object`] when the cluster does not do it, [`OperatorError::NoAnswer`] when nobody said so in time:
    /// it may be done then, or later.
    pub async fn operate(&self, mut action: ObjectAction) -> Result<Operated, OperatorError> {
        let setup = |error: &dyn std::fmt::Display| OperatorError::Setup { reason: error.to_string() };
        let nonce = StdRng::try_from_rng(&mut SysRng).map_err(|error| setup(&error))?.random();
        let module = action.module().map(std::mem::take).unwrap_or_default();
        self.ask_with_module(&module, |request, last| {
            let mut action = action.clone();
            if let Some(module) = action.module() {
                *module = last;
            }
            Request::Operate { request, nonce, action }
        })
        .await
    }

    /// Says what an upgrade of an object to `module` would come to; `limits` as in [`ObjectAction::Upgrade`]. It is tried
    /// on a copy, and nothing changes. What it would break for callers is told, and is no error.
    ///
    /// # Errors
    /// As [`Operator::operate`].
    pub async fn try_upgrade(
        &self,
        object: ObjectId,
        module: &Bytes,
        limits: Option<ObjectLimits>,
    ) -> Result<Operated, OperatorError> {
        self.ask_with_module(module, |request, last| Request::Try { request, object, module: last, limits }).await
    }

    /// The cluster's objects, or the one of this name.
    ///
    /// # Errors
    /// [`OperatorError::Object`] when there is none of this name, [`OperatorError::NoAnswer`].
    pub async fn objects(&self, name: Option<&str>) -> Result<ObjectList, OperatorError> {
        let name = name.map(str::to_owned);
        let request = Request::Objects { request: 1, name, consistency: Consistency::Linearizable };
        self.asking(self.addresses.clone())
            .ask(&self.endpoint, &request, |answer| match answer {
                Ok(Response::Objects { result: Ok(list), .. }) => Step::Done(list),
                Ok(Response::Objects { result: Err(error), .. }) => not_done(error.into()),
                other => super::unexpected(other),
            })
            .await
    }

    /// Asks what needs a module; `ask` makes the request with its number and the last piece of that.
    async fn ask_with_module(
        &self,
        module: &Bytes,
        ask: impl Fn(u64, Bytes) -> Request,
    ) -> Result<Operated, OperatorError> {
        let mut asking = self.asking(self.addresses.clone());
        loop {
            let address = asking.next();
            let step = match asking.dial(&self.endpoint, address).await {
                Ok(mut line) => asking.send_module(&mut line, module, &ask).await,
                Err(LineError::NotReached(said) | LineError::NoReply(said)) => Step::Elsewhere { leader: None, said },
            };
            match step {
                Step::Done(operated) => return Ok(operated),
                Step::Never(error) => return Err(error),
                Step::Elsewhere { leader, said } => asking.go_on(address, leader, said).await?,
            }
        }
    }
}

impl Asking {
    /// Sends all pieces but the last, each when the one before is kept, and then the request with that.
    async fn send_module(
        &self,
        line: &mut Line,
        module: &Bytes,
        ask: &impl Fn(u64, Bytes) -> Request,
    ) -> Step<Operated> {
        let mut request = 1;
        let mut sent = 0;
        while module.len() - sent > MODULE_PIECE_BYTES_MAX {
            let data = module.slice(sent..sent + MODULE_PIECE_BYTES_MAX);
            let stage = Request::Stage { request, offset: sent as u64, data };
            sent += MODULE_PIECE_BYTES_MAX;
            match line.ask(&stage, self.deadline).await {
                Ok(Response::Staged { result: Ok(kept), .. }) if kept == sent as u64 => request += 1,
                Ok(Response::Staged { result: Err(error), .. }) => return not_done(error),
                other => return super::unexpected(other),
            }
        }
        match line.ask(&ask(request, module.slice(sent..)), self.deadline).await {
            Ok(Response::Operated { result: Ok(operated), .. }) => Step::Done(operated),
            Ok(Response::Operated { result: Err(error), .. }) => not_done(error),
            other => super::unexpected(other),
        }
    }
}

pub(super) fn not_done<T>(error: ObjectError) -> Step<T> {
    let said = error.to_string();
    match error {
        ObjectError::Call(CallError::NotLeader { leader }) => Step::Elsewhere { leader, said },
        error if error.is_retryable() => Step::Elsewhere { leader: None, said },
        error => Step::Never(OperatorError::Object(error)),
    }
}
