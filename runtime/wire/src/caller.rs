//! The one thing a generated proxy needs: somebody who carries a call to an object.

use core::convert::Infallible;
use core::future::Future;

use crate::abi::{Answer, Rejection};
use crate::codec;
use crate::interface::MethodKind;

/// Carries calls to the objects of a cluster. Implemented by the client, and by tests.
pub trait Caller {
    /// Why a call got no answer.
    type Error: core::error::Error;

    /// Runs `method` of `object` (`None`: the cluster's first object) with postcard `arguments`.
    ///
    /// A query is linearizable. An update is executed exactly once, however often it is retried underneath.
    fn invoke(
        &self,
        object: Option<&str>,
        method: &'static str,
        kind: MethodKind,
        arguments: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

impl<C: Caller> Caller for &C {
    type Error = C::Error;

    fn invoke(
        &self,
        object: Option<&str>,
        method: &'static str,
        kind: MethodKind,
        arguments: Vec<u8>,
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send {
        (**self).invoke(object, method, kind, arguments)
    }
}

/// Why a proxy's method gave no result. `E` is the method's own error, if it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError<C, E = Infallible> {
    /// The call got no answer.
    #[error(transparent)]
    Caller(C),
    /// The method returned `Err`.
    #[error("{0}")]
    Method(E),
    /// The object did not run the method: the proxy and the object do not fit.
    #[error("the object rejected the call: {0}")]
    Rejected(Rejection),
    /// The answer is not of the method's type: the proxy and the object do not fit.
    #[error("the answer does not fit the proxy: {0}")]
    Malformed(codec::FrameError),
}

/// Reads one value that uses up all bytes.
type Decode<T> = fn(&[u8]) -> Result<T, codec::FrameError>;

/// Decodes the answer of a method that returns `T`.
///
/// # Errors
/// As [`ProxyError`] says; never `Method`.
pub fn returned<T, C>(answer: Result<Answer, C>, result: Decode<T>) -> Result<T, ProxyError<C>> {
    match answer.map_err(ProxyError::Caller)? {
        Answer::Returned(bytes) => result(&bytes).map_err(ProxyError::Malformed),
        Answer::Failed(bytes) => Err(ProxyError::Malformed(codec::FrameError::Trailing(bytes.len()))),
        Answer::Rejected(why) => Err(ProxyError::Rejected(why)),
    }
}

/// Decodes the answer of a method that returns `Result<T, E>`.
///
/// # Errors
/// As [`ProxyError`] says.
pub fn returned_result<T, E, C>(
    answer: Result<Answer, C>,
    result: Decode<T>,
    error: Decode<E>,
) -> Result<T, ProxyError<C, E>> {
    match answer.map_err(ProxyError::Caller)? {
        Answer::Returned(bytes) => result(&bytes).map_err(ProxyError::Malformed),
        Answer::Failed(bytes) => match error(&bytes) {
            Ok(error) => Err(ProxyError::Method(error)),
            Err(error) => Err(ProxyError::Malformed(error)),
        },
        Answer::Rejected(why) => Err(ProxyError::Rejected(why)),
    }
}
