//! What fuzz targets run, as plain functions: `fuzz/` has the targets, the tests here a fixed seed.

use crate::channel::frame::Frame;
use crate::channel::{FrameDecoder, FrameEncoder, HEADER_LEN};
use crate::fuzz_input::Input;
pub use crate::fuzz_input::Report;

/// A hostile guest at the virtio console: any bytes become register accesses, descriptors, rings and
/// control messages. Nothing may panic; an error is the host's, which is out of descriptors or memory.
pub fn virtio_console(data: &[u8]) -> std::io::Result<Report> {
    crate::kvm::virtio::fuzz::run(data)
}

/// A hostile sender at the frame decoder: any bytes become frames, damaged frames and noise, cut
/// anywhere. Gives the number of frames that came out.
pub fn frame_decoder(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let mut stream = Vec::new();
    while !input.is_empty() {
        let kind = input.byte() % 8;
        let tag = input.byte();
        let len = usize::from(input.byte());
        let payload = input.bytes(len).to_vec();
        if kind == 0 {
            stream.extend_from_slice(&payload);
            continue;
        }
        let mut encoder = FrameEncoder::new();
        // A payload of at most 255 bytes fits.
        let _ = encoder.push(&Frame { tag, payload });
        let mut wire = encoder.bytes().to_vec();
        match kind {
            1 => {
                let at = usize::from(input.byte()) % wire.len();
                wire[at] ^= 1 << (input.byte() % 8);
            }
            // A header that is as it should be, but for what it says.
            2 => {
                let length = u32::from(input.word()) << (input.byte() % 17);
                wire[4..8].copy_from_slice(&length.to_le_bytes());
                let crc = crc32fast::hash(&wire[..HEADER_LEN - 4]);
                wire[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            }
            3 => wire.truncate(usize::from(input.byte())),
            _ => {}
        }
        stream.extend_from_slice(&wire);
    }
    let cut = data.first().map_or(1, |&byte| usize::from(byte) + 1);
    let mut decoder = FrameDecoder::new();
    let mut frames = 0;
    for chunk in stream.chunks(cut) {
        decoder.push(chunk);
        while let Ok(Some(_)) = decoder.next_frame() {
            frames += 1;
        }
        assert!(decoder.buffered() <= stream.len());
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marsaglia's xorshift, from a fixed seed.
    struct Noise(u64);

    impl Noise {
        fn bytes(&mut self, bytes: &mut [u8]) {
            for chunk in bytes.chunks_mut(8) {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
            }
        }
    }

    #[test]
    fn hostile_guests_do_not_panic_the_console() {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let mut data = [0; 4096];
        let (mut actions, mut running, mut to_host, mut faults, mut reading) = (0, 0, 0, 0, 0);
        while actions < 200_000 {
            noise.bytes(&mut data);
            let report = virtio_console(&data).unwrap();
            actions += report.actions;
            running += report.running;
            to_host += report.to_host;
            faults += report.faults;
            reading += report.reading;
        }
        // It went deep: drivers ran, ports carried data, and some drivers were given up.
        assert!(running > actions / 20, "running {running} of {actions}");
        assert!(
            to_host > 0 && reading > 0,
            "{to_host} bytes, {reading} reads"
        );
        assert!(faults > 0, "no faults");
    }

    #[test]
    fn hostile_senders_do_not_panic_the_frame_decoder() {
        let mut noise = Noise(0x0123_4567_89ab_cdef);
        let mut data = [0; 256];
        let mut frames = 0;
        for case in 0..100_000 {
            let len = 1 + case % data.len();
            noise.bytes(&mut data[..len]);
            frames += frame_decoder(&data[..len]);
        }
        assert!(frames > 10_000, "{frames} frames");
    }
}
