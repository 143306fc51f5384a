//! Calls of proxies that are executed as one.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use concoord_wire::abi::Answer;
use concoord_wire::caller::Caller;
use concoord_wire::client::{Abort, CallError};
use concoord_wire::interface::MethodKind;
use tokio::sync::{mpsc, oneshot};

use crate::{Client, ClientError, Part};

/// Takes the calls of proxies, for [`Client::together`] to execute them as one.
#[derive(Clone, Debug)]
pub struct Together(mpsc::UnboundedSender<Collected>);

/// A call, and who waits for its answer.
#[derive(Debug)]
struct Collected {
    object: Option<String>,
    method: &'static str,
    arguments: Vec<u8>,
    answer: oneshot::Sender<Result<Answer, ClientError>>,
}

impl Caller for Together {
    type Error = ClientError;

    async fn invoke(
        &self,
        object: Option<&str>,
        method: &'static str,
        _kind: MethodKind,
        arguments: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let (answer, answered) = oneshot::channel();
        let call = Collected { object: object.map(str::to_owned), method, arguments, answer };
        self.0.send(call).map_err(|_| ClientError::NotTogether)?;
        answered.await.unwrap_or(Err(ClientError::Closed))
    }
}

impl Client {
    /// Executes calls of proxies as one, as [`Client::atomically`] does: all of them, in the order in which they are made and with
    /// nothing in between, or none. Proxies that are made with what `calls` is given take part. Gives what `calls` returns.
    ///
    /// ```no_run
    /// # use concoord_client::{Client, ClientError};
    /// # use concoord_wire::caller::Caller;
    /// # use concoord_wire::interface::MethodKind;
    /// # async fn run(client: Client) -> Result<(), ClientError> {
    /// client
    ///     .together(async |as_one| {
    ///         let first = as_one.invoke(Some("counter"), "increment", MethodKind::Update, Vec::new());
    ///         let second = as_one.invoke(Some("counter"), "increment", MethodKind::Update, Vec::new());
    ///         tokio::try_join!(first, second)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// They are sent when `calls` waits, so join them: the first that is waited for alone is sent alone.
    ///
    /// # Errors
    /// Each call has its own: the one that put an end to all has, and has first, the error that its method returned; the others, and all
    /// where it trapped or would have to wait, have [`CallError::Aborted`]. [`ClientError::NotTogether`] for a call that is made after the
    /// others were sent. Else all have what [`Client::atomically`] has.
    pub async fn together<T>(&self, calls: impl AsyncFnOnce(Together) -> T) -> T {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut body = pin!(calls(Together(sender)));
        let mut collected = Vec::new();
        let done = poll_fn(|context| {
            if let Poll::Ready(done) = body.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            while let Poll::Ready(Some(call)) = receiver.poll_recv(context) {
                collected.push(call);
            }
            if collected.is_empty() { Poll::Pending } else { Poll::Ready(None) }
        });
        if let Some(done) = done.await {
            return done;
        }
        drop(receiver);
        let parts = collected.iter().map(|Collected { object, method, arguments, .. }| Part {
            object: object.as_deref(),
            method,
            arguments,
        });
        let outcome = self.atomically(&parts.collect::<Vec<_>>()).await;
        let mut answers: Vec<_> = collected.into_iter().map(|call| call.answer).enumerate().collect();
        // What put an end to all is heard first: whoever waits until one fails then has the error of that one.
        if let Err(ClientError::Call(CallError::Aborted { part, .. })) = &outcome {
            answers.sort_by_key(|(index, _)| u32::try_from(*index) != Ok(*part));
        }
        for (index, waits) in answers {
            // Whoever does not want it any more has dropped the other end.
            let _ = waits.send(answer(&outcome, index));
            let polled = poll_fn(|context| Poll::Ready(body.as_mut().poll(context)));
            if let Poll::Ready(done) = polled.await {
                return done;
            }
        }
        body.await
    }
}

/// What came of the call at this place.
fn answer(outcome: &Result<Vec<Vec<u8>>, ClientError>, index: usize) -> Result<Answer, ClientError> {
    match outcome {
        Ok(returned) => returned.get(index).cloned().map(Answer::Returned).ok_or(ClientError::Closed),
        Err(ClientError::Call(CallError::Aborted { part, why: Abort::Failed(error), .. }))
            if usize::try_from(*part) == Ok(index) =>
        {
            Ok(Answer::Failed(error.clone()))
        }
        Err(error) => Err(error.clone()),
    }
}
