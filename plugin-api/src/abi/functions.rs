//! The two functions as a host holds them: calls with bounded replies, and buffers that
//! always go back to their owner.

use super::types::{ByteView, CallFn, DescribeFn, HostV1, OwnedBuffer};
use super::{Op, status};
use crate::{Descriptor, Error, ErrorKind};
use serde::de::DeserializeOwned;

/// A plugin's two functions, whichever door they came through.
#[derive(Debug, Clone, Copy)]
pub struct Functions {
    /// See [`DescribeFn`].
    pub describe: DescribeFn,
    /// See [`CallFn`].
    pub call: CallFn,
}

/// What came back from one of the two functions, copied into the host's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReply {
    /// See [`status`].
    pub status: i32,
    /// The reply or error document.
    pub bytes: Vec<u8>,
}

/// A reply that can't even be copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Occurs when the reply is longer than the host is willing to read.
    #[error("the reply has {found} bytes, more than the {limit} that the host reads")]
    TooLarge {
        /// Bytes in the reply.
        found: usize,
        /// The host's limit.
        limit: usize,
    },
    /// Occurs when the buffer has a length and no address.
    #[error("the reply has a length of {len} bytes and no address")]
    NoAddress {
        /// The length.
        len: usize,
    },
}

impl Functions {
    /// Asks for the descriptor document.
    ///
    /// # Safety
    /// The function must come from a library that stays loaded and keeps the contract
    /// of [`abi`](super).
    ///
    /// # Errors
    /// When the reply can't be read; its buffer is released all the same.
    pub unsafe fn describe(&self, limit: usize) -> Result<RawReply, ReplyError> {
        let mut out = OwnedBuffer::empty();
        // SAFETY: `out` is a valid empty buffer; the caller vouches for the function.
        let status = unsafe { (self.describe)(&raw mut out) };
        // SAFETY: the plugin filled `out` or left it empty.
        unsafe { take(status, out, limit) }
    }

    /// Runs an operation. `host` may be null.
    ///
    /// # Safety
    /// As [`Functions::describe`]; and `host` must stay valid until this returns, with
    /// an event callback that any thread may call.
    ///
    /// # Errors
    /// When the reply can't be read; its buffer is released all the same.
    pub unsafe fn call(
        &self,
        op: &str,
        request: &[u8],
        host: *const HostV1,
        limit: usize,
    ) -> Result<RawReply, ReplyError> {
        let mut out = OwnedBuffer::empty();
        // SAFETY: the views outlive the call; the caller vouches for function and host.
        let status = unsafe {
            (self.call)(
                ByteView::of(op.as_bytes()),
                ByteView::of(request),
                host,
                &raw mut out,
            )
        };
        // SAFETY: the plugin filled `out` or left it empty.
        unsafe { take(status, out, limit) }
    }
}

/// Copies the reply and gives the buffer back.
///
/// # Safety
/// `out` must be empty or hold `len` readable bytes with a `release` that fits them.
unsafe fn take(status: i32, mut out: OwnedBuffer, limit: usize) -> Result<RawReply, ReplyError> {
    let reply = if out.len > limit {
        Err(ReplyError::TooLarge {
            found: out.len,
            limit,
        })
    } else {
        let view = ByteView {
            data: out.data,
            len: out.len,
        };
        // SAFETY: the caller of `take` vouches for the bytes.
        match unsafe { view.bytes() } {
            Some(bytes) => Ok(RawReply {
                status,
                bytes: bytes.to_vec(),
            }),
            None => Err(ReplyError::NoAddress { len: out.len }),
        }
    };
    if let Some(release) = out.release {
        // SAFETY: called once, with the struct that the owner filled.
        unsafe { release(&raw mut out) };
    }
    reply
}

impl RawReply {
    /// Reads the reply as the document of an operation.
    ///
    /// # Errors
    /// The plugin's own error, or an `internal` one that says what is wrong with the
    /// reply: bad UTF-8, bad JSON, a document of another shape, an unknown status.
    pub fn decode<T: DeserializeOwned>(&self, what: &str) -> Result<T, Error> {
        match self.status {
            status::OK => parse(&self.bytes, what),
            status::ERROR => {
                let error: Error = parse(&self.bytes, "error")?;
                Err(error)
            }
            status::FAULT => Err(Error::new(
                ErrorKind::Panic,
                format!("the plugin broke down in \"{what}\" and sent no document"),
            )),
            other => Err(Error::internal(format!(
                "the plugin returned the unknown status {other} from \"{what}\"; expected {}, {} or {}",
                status::OK,
                status::ERROR,
                status::FAULT
            ))),
        }
    }

    /// Reads the reply of `describe`.
    ///
    /// # Errors
    /// As [`RawReply::decode`].
    pub fn descriptor(&self) -> Result<Descriptor, Error> {
        self.decode("describe")
    }

    /// Reads the reply of an operation.
    ///
    /// # Errors
    /// As [`RawReply::decode`].
    pub fn reply<T: DeserializeOwned>(&self, op: Op) -> Result<T, Error> {
        self.decode(op.as_str())
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Error::internal(format!(
            "the plugin's \"{what}\" document is not UTF-8 (byte {})",
            e.valid_up_to()
        ))
    })?;
    serde_json::from_str(text).map_err(|e| {
        Error::internal(format!(
            "the plugin's \"{what}\" document can't be read: {e}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probe;

    fn reply(status: i32, bytes: &[u8]) -> RawReply {
        RawReply {
            status,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn faults_of_a_reply_have_their_own_words() {
        let message = |r: RawReply| r.reply::<Probe>(Op::Probe).unwrap_err();
        let e = message(reply(77, b"{}"));
        assert_eq!(e.kind, ErrorKind::Internal);
        assert!(e.message.contains("unknown status 77"), "{e}");
        let e = message(reply(status::OK, b"\"\xff\""));
        assert!(e.message.contains("not UTF-8 (byte 1)"), "{e}");
        let e = message(reply(status::OK, b"{\"ready\":"));
        assert!(e.message.contains("can't be read"), "{e}");
        assert_eq!(message(reply(status::FAULT, b"")).kind, ErrorKind::Panic);
    }

    #[test]
    fn an_error_document_is_passed_on() {
        let sent = Error::unsupported("no Loop").at_node("n1", "Loop");
        let bytes = serde_json::to_vec(&sent).expect("JSON");
        let got = reply(status::ERROR, &bytes)
            .reply::<Probe>(Op::Probe)
            .unwrap_err();
        assert_eq!(got, sent);
    }

    unsafe extern "C" fn big(out: *mut OwnedBuffer) -> i32 {
        // SAFETY: the test passes a valid pointer.
        unsafe { *out = OwnedBuffer::from_vec(vec![b' '; 1000]) };
        status::OK
    }

    unsafe extern "C" fn never(
        _: ByteView,
        _: ByteView,
        _: *const HostV1,
        _: *mut OwnedBuffer,
    ) -> i32 {
        status::FAULT
    }

    #[test]
    fn a_reply_over_the_limit_is_refused() {
        let functions = Functions {
            describe: big,
            call: never,
        };
        // SAFETY: both functions are the test's own.
        let result = unsafe { functions.describe(999) };
        assert_eq!(
            result,
            Err(ReplyError::TooLarge {
                found: 1000,
                limit: 999
            })
        );
        // SAFETY: as above.
        let result = unsafe { functions.describe(1000) };
        assert_eq!(result.map(|r| r.bytes.len()), Ok(1000));
    }
}
