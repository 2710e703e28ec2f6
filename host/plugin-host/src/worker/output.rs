//! What the plugin prints: cut into lines, forwarded within bounds, the end kept.

use crate::call::{CallEvent, OutputStream};
use std::collections::VecDeque;

/// Longest line that is forwarded in one piece, in bytes.
const MAX_LINE: usize = 8 << 10;

/// Collects one call's output.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: VecDeque<u8>,
    tail_limit: usize,
    /// Bytes that may still be forwarded in this call.
    allowance: usize,
    max_output: usize,
}

impl Output {
    pub(crate) fn new(tail_limit: usize, max_output: usize) -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            tail: VecDeque::new(),
            tail_limit,
            allowance: max_output,
            max_output,
        }
    }

    /// Takes bytes of a stream; returns the events to forward.
    pub(crate) fn push(&mut self, stream: OutputStream, bytes: &[u8]) -> Vec<CallEvent> {
        let kept = bytes.len().min(self.tail_limit);
        self.tail
            .extend(bytes.get(bytes.len() - kept..).unwrap_or_default());
        let over = self.tail.len().saturating_sub(self.tail_limit);
        self.tail.drain(..over);

        let mut events = Vec::new();
        if self.allowance == 0 {
            return events;
        }
        let mut partial = std::mem::take(self.partial(stream));
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= MAX_LINE {
                self.line(stream, &partial, &mut events);
                partial.clear();
            }
        }
        *self.partial(stream) = partial;
        events
    }

    /// Ends the call: forwards unfinished lines, returns the tail, starts anew.
    pub(crate) fn finish(&mut self) -> (Vec<CallEvent>, String) {
        let mut events = Vec::new();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let partial = std::mem::take(self.partial(stream));
            if !partial.is_empty() {
                self.line(stream, &partial, &mut events);
            }
        }
        self.allowance = self.max_output;
        let tail: Vec<u8> = std::mem::take(&mut self.tail).into();
        (events, String::from_utf8_lossy(&tail).into_owned())
    }

    fn partial(&mut self, stream: OutputStream) -> &mut Vec<u8> {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    fn line(&mut self, stream: OutputStream, line: &[u8], events: &mut Vec<CallEvent>) {
        if self.allowance == 0 {
            return;
        }
        self.allowance = self.allowance.saturating_sub(line.len());
        let line = String::from_utf8_lossy(line);
        events.push(CallEvent::Output {
            stream,
            line: line.trim_end_matches(['\n', '\r']).to_owned(),
        });
        if self.allowance == 0 {
            events.push(CallEvent::Output {
                stream,
                line: format!(
                    "… more than {} bytes of output: the rest is dropped, its end is kept",
                    self.max_output
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: Vec<CallEvent>) -> Vec<String> {
        events
            .into_iter()
            .map(|event| match event {
                CallEvent::Output { line, .. } => line,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn lines_are_joined_across_reads_and_streams_kept_apart() {
        let mut output = Output::new(100, 100);
        assert!(lines(output.push(OutputStream::Stdout, b"ab")).is_empty());
        assert!(lines(output.push(OutputStream::Stderr, b"x")).is_empty());
        assert_eq!(lines(output.push(OutputStream::Stdout, b"c\nd")), ["abc"]);
        let (events, tail) = output.finish();
        assert_eq!(lines(events), ["d", "x"]);
        assert_eq!(tail, "abxc\nd");
    }

    #[test]
    fn noise_is_bounded_and_its_end_kept() {
        let mut output = Output::new(8, 10);
        let events = output.push(OutputStream::Stdout, b"12345\n67890\nabcde\n");
        let got = lines(events);
        assert_eq!(got[..2], ["12345", "67890"]);
        assert!(got[2].contains("more than 10 bytes"), "{got:?}");
        assert_eq!(got.len(), 3);
        assert!(lines(output.push(OutputStream::Stdout, b"end\n")).is_empty());
        assert_eq!(output.finish().1, "cde\nend\n");
        assert_eq!(lines(output.push(OutputStream::Stdout, b"new\n")), ["new"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut output = Output::new(10, 1 << 20);
        let events = output.push(OutputStream::Stdout, &[b'a'; MAX_LINE + 5]);
        assert_eq!(lines(events)[0].len(), MAX_LINE + 5);
        assert!(output.stdout.is_empty());
    }
}
