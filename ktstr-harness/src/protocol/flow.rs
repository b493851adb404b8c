//! The bytes of a shell's streams between host and guest, and how much of them is under way.
//!
//! Each stream has a window, as the channels of SSH (RFC 4254, 5.2) have: its receiver says how many bytes it takes, and
//! its sender stops there. So neither side ever waits for the other while it sends, and both hold a bounded amount. Bytes
//! go in frames of their own kind, not in JSON.

use std::collections::VecDeque;
use std::io;

use ktstr_vmm::Frame;
use rustix::io::Errno;

use super::{ProtocolError, TerminalSize};

/// Tag of frames of a shell's streams.
const TAG_STREAM: u8 = 2;

/// How many bytes of a stream its sender may send before the receiver has passed any of them on.
pub(crate) const WINDOW: usize = 256 << 10;

/// A receiver grants more in steps of at least this many bytes: a frame for each write would cost as much as the bytes.
const GRANT_STEP: usize = WINDOW / 4;

/// Most bytes of a stream in one frame: what the kernel's virtio port takes at a time.
pub(crate) const LONGEST_PART: usize = (32 << 10) - 64;

/// A stream of a shell, as its process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input, or what is typed at the terminal.
    Input,
    /// Standard output, or what the terminal shows.
    Output,
    /// Standard error.
    Error,
}

impl Stream {
    fn number(self) -> u8 {
        match self {
            Self::Input => 0,
            Self::Output => 1,
            Self::Error => 2,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        [Self::Input, Self::Output, Self::Error]
            .into_iter()
            .find(|stream| stream.number() == number)
    }
}

/// A frame of a shell's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFrame<'b> {
    /// Bytes of the stream.
    Data(Stream, &'b [u8]),
    /// The sender has no more.
    End(Stream),
    /// The receiver takes so many bytes more.
    Grant(Stream, u32),
    /// Nobody reads the stream any more: the receiver takes no more of it.
    Closed(Stream),
    /// The terminal has this size now.
    Resize(TerminalSize),
    /// The foreground processes are to get this signal.
    Signal(i32),
}

/// First byte of a frame.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const END: u8 = 1;
    pub(super) const GRANT: u8 = 2;
    pub(super) const CLOSED: u8 = 3;
    pub(super) const RESIZE: u8 = 4;
    pub(super) const SIGNAL: u8 = 5;
}

impl<'b> StreamFrame<'b> {
    /// Packs it.
    pub(crate) fn to_frame(self) -> Frame {
        let (kind, stream, rest) = match self {
            Self::Data(stream, bytes) => (kind::DATA, Some(stream), bytes.to_vec()),
            Self::End(stream) => (kind::END, Some(stream), Vec::new()),
            Self::Grant(stream, count) => (kind::GRANT, Some(stream), count.to_le_bytes().to_vec()),
            Self::Closed(stream) => (kind::CLOSED, Some(stream), Vec::new()),
            Self::Resize(size) => {
                let rows_and_columns = [size.rows.to_le_bytes(), size.columns.to_le_bytes()];
                (kind::RESIZE, None, rows_and_columns.concat())
            }
            Self::Signal(signal) => (kind::SIGNAL, None, signal.to_le_bytes().to_vec()),
        };
        let mut payload = Vec::with_capacity(2 + rest.len());
        payload.extend([kind, stream.map_or(0, Stream::number)]);
        payload.extend(rest);
        Frame {
            tag: TAG_STREAM,
            payload,
        }
    }

    /// Unpacks `frame`, where it is one of a stream; others are messages.
    pub(crate) fn of_frame(frame: &'b Frame) -> Option<Result<Self, ProtocolError>> {
        (frame.tag == TAG_STREAM).then(|| Self::parse(&frame.payload).ok_or(ProtocolError::Stream))
    }

    fn parse(payload: &'b [u8]) -> Option<Self> {
        let (&[kind, number], rest) = payload.split_first_chunk()?;
        let stream = Stream::of_number(number)?;
        let frame = match (kind, rest) {
            (kind::DATA, bytes) => Self::Data(stream, bytes),
            (kind::END, []) => Self::End(stream),
            (kind::GRANT, rest) => Self::Grant(stream, u32::from_le_bytes(rest.try_into().ok()?)),
            (kind::CLOSED, []) => Self::Closed(stream),
            (kind::RESIZE, &[a, b, c, d]) => Self::Resize(TerminalSize {
                rows: u16::from_le_bytes([a, b]),
                columns: u16::from_le_bytes([c, d]),
            }),
            (kind::SIGNAL, rest) => Self::Signal(i32::from_le_bytes(rest.try_into().ok()?)),
            _ => return None,
        };
        Some(frame)
    }
}

/// How much of a stream may still be sent.
#[derive(Debug)]
pub(crate) struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(WINDOW)
    }
}

impl Allowance {
    /// How many bytes the next frame may have.
    pub(crate) fn next(&self) -> usize {
        self.0.min(LONGEST_PART)
    }

    /// Counts bytes that were sent.
    pub(crate) fn spend(&mut self, count: usize) {
        self.0 = self.0.saturating_sub(count);
    }

    /// Takes what the receiver grants. The receiver is not believed beyond the window.
    pub(crate) fn grant(&mut self, count: u32) {
        self.0 = self.0.saturating_add(count as usize).min(WINDOW);
    }
}

/// Bytes of a stream that have come and are to be passed on.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: VecDeque<u8>,
    /// Bytes that were passed on and not granted again.
    passed: usize,
}

/// How passing bytes on ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// All, or as many as the reader takes now.
    Open,
    /// The reader is gone.
    Gone,
    /// The system says no.
    Failed(Errno),
}

impl Backlog {
    /// Takes bytes of the sender; false where it sends more than it may.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        // What was passed on counts until it is granted: the sender cannot know of it.
        let fits = self.bytes.len() + self.passed + bytes.len() <= WINDOW;
        if fits {
            self.bytes.extend(bytes);
        }
        fits
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Passes bytes on by `write`, which writes what it can without waiting.
    pub(crate) fn pass(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Passed {
        while !self.bytes.is_empty() {
            match write(self.bytes.as_slices().0) {
                Ok(0) => return Passed::Open,
                Ok(count) => {
                    self.bytes.drain(..count);
                    self.passed += count;
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => return Passed::Open,
                    Some(Errno::INTR) => {}
                    Some(Errno::PIPE | Errno::CONNRESET) => return Passed::Gone,
                    Some(errno) => return Passed::Failed(errno),
                    None => return Passed::Failed(Errno::IO),
                },
            }
        }
        Passed::Open
    }

    /// How many bytes more the sender is to be granted, once that is worth a frame.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        if self.passed < GRANT_STEP {
            return None;
        }
        u32::try_from(std::mem::take(&mut self.passed)).ok()
    }

    /// Drops what nobody will read.
    pub(crate) fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAMS: [Stream; 3] = [Stream::Input, Stream::Output, Stream::Error];

    #[test]
    fn frames_round_trip() {
        let size = TerminalSize {
            rows: 50,
            columns: 300,
        };
        let mut frames = vec![StreamFrame::Resize(size), StreamFrame::Signal(2)];
        for stream in STREAMS {
            frames.extend([
                StreamFrame::Data(stream, b"\0\xff"),
                StreamFrame::Data(stream, b""),
                StreamFrame::End(stream),
                StreamFrame::Grant(stream, 70_000),
                StreamFrame::Closed(stream),
            ]);
        }
        for frame in frames {
            let packed = frame.to_frame();
            let unpacked = StreamFrame::of_frame(&packed).unwrap().unwrap();
            assert_eq!(unpacked, frame);
        }
        let message = Frame {
            tag: 1,
            payload: b"{}".to_vec(),
        };
        assert!(StreamFrame::of_frame(&message).is_none());
    }

    #[test]
    fn a_sender_that_sends_too_much_is_found_out() {
        let mut backlog = Backlog::default();
        assert!(backlog.take(&vec![0; WINDOW]));
        assert!(!backlog.take(b"x"));
        let mut room = WINDOW / 2;
        let passed = backlog.pass(|bytes| {
            let count = bytes.len().min(room);
            room -= count;
            Ok(count)
        });
        assert_eq!(passed, Passed::Open);
        // Passed on, but not granted.
        assert!(!backlog.take(b"x"));
        assert_eq!(backlog.grant(), Some((WINDOW / 2) as u32));
        assert_eq!(backlog.grant(), None);
        assert!(backlog.take(b"x"));
    }

    #[test]
    fn what_stops_a_reader_is_told_apart() {
        let told = |errno: Errno| {
            let mut backlog = Backlog::default();
            assert!(backlog.take(b"x"));
            backlog.pass(|_| Err(errno.into()))
        };
        assert_eq!(told(Errno::AGAIN), Passed::Open);
        assert_eq!(told(Errno::PIPE), Passed::Gone);
        assert_eq!(told(Errno::CONNRESET), Passed::Gone);
        assert_eq!(told(Errno::NOSPC), Passed::Failed(Errno::NOSPC));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_are_refused(payload in prop::collection::vec(any::<u8>(), 0..12)) {
            let frame = Frame { tag: TAG_STREAM, payload };
            if let Some(Ok(parsed)) = StreamFrame::of_frame(&frame) {
                // All but the stream of what has none is what it says.
                let again = parsed.to_frame();
                prop_assert_eq!(StreamFrame::of_frame(&again).unwrap().unwrap(), parsed);
            }
        }

        /// However both sides take turns, all bytes arrive in order, and no more than a window of them is under way.
        #[test]
        fn all_arrives_within_the_window(
            total in 0_usize..3 * WINDOW,
            steps in prop::collection::vec((0_usize..90_000, 0_usize..90_000), 1..20),
        ) {
            let content: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
            let (mut sent, mut arrived) = (0, Vec::<u8>::new());
            let (mut allowance, mut backlog) = (Allowance::default(), Backlog::default());
            let mut idle = 0;
            for (send, pass) in steps.into_iter().chain(std::iter::repeat((90_000, 90_000))) {
                let part = allowance.next().min(send).min(total - sent);
                prop_assert!(part <= LONGEST_PART);
                prop_assert!(backlog.take(&content[sent..sent + part]));
                allowance.spend(part);
                sent += part;
                let before = arrived.len();
                let mut room = pass;
                backlog.pass(|bytes| {
                    let count = bytes.len().min(room);
                    room -= count;
                    arrived.extend(&bytes[..count]);
                    Ok(count)
                });
                prop_assert!(sent - arrived.len() <= WINDOW);
                if let Some(more) = backlog.grant() {
                    allowance.grant(more);
                }
                idle = if part == 0 && arrived.len() == before { idle + 1 } else { 0 };
                if arrived.len() == total {
                    break;
                }
                prop_assert!(idle < 1000, "both sides wait");
            }
            prop_assert_eq!(arrived, content);
        }
    }
}
