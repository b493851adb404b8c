//! Decodes frames from a byte stream that arrives in pieces of any size.

use super::frame::{Frame, FrameError, HEADER_LEN, Header};

/// Turns received bytes into frames.
///
/// It holds at most the bytes that were pushed since the last complete frame, and allocates for received bytes only, never
/// for a length that a header announces. The channel is reliable, so damaged data means a faulty sender: the first error
/// is final.
///
/// ```
/// use ktstr_vmm::Frame;
/// use ktstr_vmm::channel::{FrameDecoder, FrameEncoder};
///
/// let mut encoder = FrameEncoder::new();
/// encoder.push(&Frame { tag: 1, payload: b"hello".to_vec() })?;
/// let mut decoder = FrameDecoder::new();
/// decoder.push(encoder.bytes());
/// assert_eq!(decoder.next_frame()?.unwrap().payload, b"hello");
/// assert_eq!(decoder.next_frame()?, None);
/// # Ok::<(), ktstr_vmm::FrameError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that belong to frames already returned.
    taken: usize,
    header: Option<Header>,
    broken: Option<FrameError>,
}

impl FrameDecoder {
    /// Creates a decoder for the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes of the stream; call [`FrameDecoder::next_frame`] until it returns `None` before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete frame; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        self.parse().inspect_err(|&error| {
            self.broken = Some(error);
            self.buffer = Vec::new();
            self.taken = 0;
        })
    }

    /// Number of buffered bytes of incomplete frames.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.taken
    }

    fn parse(&mut self) -> Result<Option<Frame>, FrameError> {
        let header = if let Some(header) = self.header {
            header
        } else {
            let Some(bytes) = self.buffer[self.taken..].first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let header = Header::decode(bytes)?;
            self.taken += HEADER_LEN;
            *self.header.insert(header)
        };
        let Some(payload) = self.buffer[self.taken..].get(..header.len) else {
            return Ok(None);
        };
        if crc32fast::hash(payload) != header.payload_crc {
            return Err(FrameError::Payload);
        }
        let payload = payload.to_vec();
        self.taken += header.len;
        self.header = None;
        Ok(Some(Frame {
            tag: header.tag,
            payload,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::FrameEncoder;
    use super::*;

    fn decode_all(
        decoder: &mut FrameDecoder,
        stream: &[u8],
        chunks: &[usize],
    ) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        let mut rest = stream;
        let mut sizes = chunks.iter().copied().cycle();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
            let (chunk, tail) = rest.split_at(size);
            decoder.push(chunk);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
            rest = tail;
        }
        Ok(frames)
    }

    fn wire(frames: &[Frame]) -> Vec<u8> {
        let mut encoder = FrameEncoder::new();
        for frame in frames {
            encoder.push(frame).unwrap();
        }
        encoder.bytes().to_vec()
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(tag, payload)| Frame { tag, payload })
    }

    #[test]
    fn oversized_frames_are_refused_on_both_sides() {
        let frame = Frame {
            tag: 0,
            payload: vec![0; super::super::MAX_PAYLOAD + 1],
        };
        let len = frame.payload.len();
        assert_eq!(
            FrameEncoder::new().push(&frame),
            Err(FrameError::TooLarge(len))
        );
        let mut header = wire(&[Frame {
            tag: 0,
            payload: vec![],
        }]);
        header[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let crc = crc32fast::hash(&header[..12]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        let mut decoder = FrameDecoder::new();
        decoder.push(&header);
        assert_eq!(
            decoder.next_frame(),
            Err(FrameError::TooLarge(u32::MAX as usize))
        );
        decoder.push(&[0; 4096]);
        assert_eq!(decoder.buffered(), 0);
    }

    proptest! {
        #[test]
        fn any_chunking_round_trips(
            frames in prop::collection::vec(any_frame(), 0..6),
            chunks in prop::collection::vec(1..70usize, 1..8),
        ) {
            let stream = wire(&frames);
            let mut decoder = FrameDecoder::new();
            prop_assert_eq!(decode_all(&mut decoder, &stream, &chunks), Ok(frames));
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn hostile_bytes_neither_panic_nor_pile_up(
            valid in prop::collection::vec(any_frame(), 0..2),
            noise in prop::collection::vec(any::<u8>(), 0..600),
            chunks in prop::collection::vec(1..70usize, 1..8),
        ) {
            let mut stream = wire(&valid);
            stream.extend(noise);
            let mut decoder = FrameDecoder::new();
            let _ = decode_all(&mut decoder, &stream, &chunks);
            prop_assert!(decoder.buffered() <= stream.len());
            prop_assert!(decoder.buffer.capacity() <= 2 * stream.len() + 64);
        }

        #[test]
        fn flipped_bits_never_give_another_frame(
            frame in any_frame(),
            flip in any::<prop::sample::Index>(),
            bit in 0..8u32,
        ) {
            let mut stream = wire(std::slice::from_ref(&frame));
            let at = flip.index(stream.len());
            stream[at] ^= 1 << bit;
            let mut decoder = FrameDecoder::new();
            prop_assert!(decode_all(&mut decoder, &stream, &[7]).is_err());
        }
    }
}
