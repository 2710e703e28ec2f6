//! Length-prefixed frames on the sockets between host, supervisor and worker.
//!
//! A frame is `magic (4) · token (8) · kind (1) · length (4) · payload`, little-endian.
//! The token is drawn anew for every worker, so that bytes which a confused plugin writes
//! to a descriptor that isn't its own are recognised as such instead of being believed.

use std::fmt;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 17;
const MAGIC: [u8; 4] = *b"DSPW";

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Host to supervisor: who I am and which library to load.
    Hello = 1,
    /// Supervisor to host: version and process number of the worker.
    Started = 2,
    /// Worker to host: the library is loaded, or why it is not.
    Loaded = 3,
    /// Host to worker: run an operation.
    Call = 4,
    /// Host to worker: set the cancellation flag.
    Cancel = 5,
    /// Host to supervisor: kill everything.
    Kill = 6,
    /// Worker or supervisor to host: an event.
    Event = 7,
    /// Worker to host: what the operation returned.
    Reply = 8,
    /// Worker to supervisor, and then to host with more figures: ready for another call.
    Idle = 9,
    /// Supervisor to host: how the worker ended. The last frame.
    Exit = 10,
    /// Worker to host: the plugin's function is called now.
    Begun = 11,
}

impl Kind {
    fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Hello,
            2 => Self::Started,
            3 => Self::Loaded,
            4 => Self::Call,
            5 => Self::Cancel,
            6 => Self::Kill,
            7 => Self::Event,
            8 => Self::Reply,
            9 => Self::Idle,
            10 => Self::Exit,
            11 => Self::Begun,
            _ => return None,
        })
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Occurs when the first bytes are not ours, or carry another worker's token.
    Foreign,
    /// Occurs when the kind is unknown.
    Kind(u8),
    /// Occurs when a frame is longer than allowed.
    TooLong { found: usize, limit: usize },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("bytes that are no frame of this worker"),
            Self::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Self::TooLong { found, limit } => {
                write!(f, "a frame of {found} bytes, more than the {limit} allowed")
            }
        }
    }
}

/// The bytes of a frame.
pub(crate) fn encode(token: u64, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&token.to_le_bytes());
    bytes.push(kind as u8);
    // Every sender bounds its payload far below 4 GiB.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    token: Option<u64>,
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that were handed out already.
    used: usize,
}

impl Decoder {
    /// Accepts frames with this token and payloads up to `limit` bytes. Without a token
    /// the first frame's token is taken (the supervisor learns it from the host's hello).
    pub(crate) fn new(token: Option<u64>, limit: usize) -> Self {
        Self {
            token,
            limit,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// The token, once known.
    pub(crate) fn token(&self) -> Option<u64> {
        self.token
    }

    /// Adds bytes that were read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 && self.used * 2 >= self.buffer.len() {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes of an unfinished frame are left.
    pub(crate) fn has_rest(&self) -> bool {
        self.used < self.buffer.len()
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = self.buffer.get(self.used..).unwrap_or_default();
        // Foreign bytes are refused as soon as they differ: they may never fill a header.
        if rest.iter().zip(MAGIC).any(|(a, b)| *a != b) {
            return Err(FrameError::Foreign);
        }
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [
            _,
            _,
            _,
            _,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            kind,
            l0,
            l1,
            l2,
            l3,
        ] = *header;
        let token = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        if *self.token.get_or_insert(token) != token {
            return Err(FrameError::Foreign);
        }
        let kind = Kind::from_u8(kind).ok_or(FrameError::Kind(kind))?;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > self.limit {
            return Err(FrameError::TooLong {
                found: len,
                limit: self.limit,
            });
        }
        let Some(payload) = body.get(..len) else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            payload: payload.to_vec(),
        };
        self.used += HEADER + len;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = encode(7, Kind::Event, b"{}");
        bytes.extend(encode(7, Kind::Reply, &[9; 300]));
        let mut decoder = Decoder::new(Some(7), 1000);
        let mut frames = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            while let Some(frame) = decoder.next().unwrap() {
                frames.push((frame.kind, frame.payload.len()));
            }
        }
        assert_eq!(frames, [(Kind::Event, 2), (Kind::Reply, 300)]);
        assert!(!decoder.has_rest());
    }

    #[test]
    fn foreign_bytes_and_tokens_are_refused() {
        let mut decoder = Decoder::new(Some(7), 1000);
        decoder.push(b"DSX");
        assert_eq!(decoder.next(), Err(FrameError::Foreign));
        let mut decoder = Decoder::new(Some(7), 1000);
        decoder.push(&encode(8, Kind::Reply, b""));
        assert_eq!(decoder.next(), Err(FrameError::Foreign));
    }

    #[test]
    fn length_and_kind_are_checked_before_the_payload_arrives() {
        let mut decoder = Decoder::new(None, 10);
        let bytes = encode(1, Kind::Reply, &[0; 11]);
        decoder.push(&bytes[..HEADER]);
        assert_eq!(
            decoder.next(),
            Err(FrameError::TooLong {
                found: 11,
                limit: 10
            })
        );
        let mut bytes = encode(1, Kind::Reply, b"");
        bytes[12] = 200;
        let mut decoder = Decoder::new(None, 10);
        decoder.push(&bytes);
        assert_eq!(decoder.next(), Err(FrameError::Kind(200)));
    }
}
