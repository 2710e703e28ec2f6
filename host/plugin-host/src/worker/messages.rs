//! What the frames carry. Host, supervisor and worker are always one and the same
//! program, so these documents need no room to grow.

use crate::discovery::SkipKind;
use dsperse_plugin_api::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of this protocol; the worker program must speak the same.
pub(crate) const PROTOCOL: u32 = 1;
/// The operation behind which `describe` hides (it is a function of its own in the ABI).
pub(crate) const DESCRIBE: &str = "describe";
/// Exit code of a worker that lost its connection (or could not set it up).
pub(crate) const LOST: i32 = 70;
/// Room for what surrounds a reply.
pub(crate) const FRAME_SLACK: usize = 64 << 10;
/// Largest request (a job document).
pub(crate) const MAX_REQUEST: usize = 256 << 20;

/// First frame, host to supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    /// Path of the library, byte for byte.
    pub(crate) library: Vec<u8>,
    /// The worker's directory for temporary files, to be removed at the end.
    pub(crate) temp: Vec<u8>,
    pub(crate) max_reply: usize,
    pub(crate) tail: usize,
    pub(crate) max_output: usize,
}

/// Supervisor to host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) protocol: u32,
    /// Process number, and process group, of the worker.
    pub(crate) worker: i32,
}

/// Worker to host, after the library was opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Loaded {
    Ready {
        /// Plugin API version that the library was built for.
        api: semver::Version,
        door: String,
        /// Microseconds that loading took.
        micros: u64,
    },
    Refused {
        kind: SkipKind,
        reason: String,
    },
}

/// Head of [`super::frames::Kind::Call`]; the request document follows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CallHead {
    pub(crate) op: String,
    /// Working directory of the call.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) memory: Option<u64>,
    /// End after this call instead of waiting for another.
    pub(crate) last: bool,
}

/// Head of [`super::frames::Kind::Reply`]; the plugin's document follows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReplyHead {
    /// What the function returned, or why there is no document.
    pub(crate) status: Result<i32, Error>,
    /// Peak memory of the worker during the call, bytes; 0 when not known.
    pub(crate) peak: u64,
    /// Microseconds in the plugin's function.
    pub(crate) micros: u64,
}

/// Ready for another call. The worker fills `cpu_micros`; the supervisor the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Idle {
    /// CPU of the worker and of the children it waited for, since its start.
    pub(crate) cpu_micros: u64,
    /// Peak of the children's summed memory in this call, bytes.
    #[serde(default)]
    pub(crate) children_peak: u64,
    /// Processes that the call left behind; they are dead now.
    #[serde(default)]
    pub(crate) left_behind: usize,
    #[serde(default)]
    pub(crate) tail: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

/// Why the supervisor killed the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Killed {
    /// The host said so.
    Host,
    /// More memory than allowed, bytes.
    Memory { limit: u64, found: u64 },
    /// The worker sent something that is no frame.
    Protocol(String),
}

/// Last frame, supervisor to host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) ended: Ended,
    pub(crate) killed: Option<Killed>,
    /// CPU of the worker and everything below it, since its start.
    pub(crate) cpu_micros: u64,
    /// The worker's own peak as last seen, bytes.
    pub(crate) peak: u64,
    pub(crate) children_peak: u64,
    /// Processes that were still there when the worker ended; they are dead now.
    pub(crate) left_behind: usize,
    pub(crate) tail: String,
}

/// A document as a payload.
pub(crate) fn to_bytes<T: Serialize>(document: &T) -> Vec<u8> {
    // These documents have no maps with odd keys and no failing serializers.
    serde_json::to_vec(document).unwrap_or_default()
}

/// A document from a payload.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("an unreadable document: {e}"))
}

/// A head and raw bytes as one payload.
pub(crate) fn join<T: Serialize>(head: &T, body: &[u8]) -> Vec<u8> {
    let head = to_bytes(head);
    let mut payload = Vec::with_capacity(4 + head.len() + body.len());
    payload.extend_from_slice(&u32::try_from(head.len()).unwrap_or(0).to_le_bytes());
    payload.extend_from_slice(&head);
    payload.extend_from_slice(body);
    payload
}

/// The head and raw bytes of a payload made by [`join`].
pub(crate) fn split<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, &[u8]), String> {
    let short = || "a frame that is too short".to_owned();
    let (len, rest) = payload.split_first_chunk::<4>().ok_or_else(short)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > rest.len() {
        return Err(short());
    }
    let (head, body) = rest.split_at(len);
    Ok((from_bytes(head)?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_and_its_body_come_apart_again() {
        let head = CallHead {
            op: "prove".into(),
            dir: Some("/job".into()),
            memory: Some(5),
            last: true,
        };
        let payload = join(&head, b"\xff\x00");
        let (back, body): (CallHead, _) = split(&payload).unwrap();
        assert_eq!((back.op.as_str(), body), ("prove", &b"\xff\x00"[..]));
        assert!(split::<CallHead>(&payload[..3]).is_err());
        assert!(split::<CallHead>(&[255, 255, 0, 0, 1]).is_err());
    }
}
