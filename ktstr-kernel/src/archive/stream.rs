//! The bytes of an archive, decompressed, and proof that all of them were there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};

use crate::compression::Compression;

const BUFFER: usize = 256 << 10;

/// Counts and hashes what is read of a file.
pub(super) struct Meter<'a> {
    file: File,
    hash: Sha256,
    read: u64,
    /// Told how far we are, about once a MiB.
    on_read: &'a mut dyn FnMut(u64),
    told: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(file: File, on_read: &'a mut dyn FnMut(u64)) -> Self {
        Self {
            file,
            hash: Sha256::new(),
            read: 0,
            on_read,
            told: 0,
        }
    }

    /// The SHA-256 of the whole file, whatever of it was read before.
    pub(super) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        (self.on_read)(self.read);
        Ok(crate::hash::hex(&self.hash.finalize()))
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.hash.update(&buf[..n]);
        self.read += n as u64;
        if self.read - self.told >= 1 << 20 {
            self.told = self.read;
            (self.on_read)(self.read);
        }
        Ok(n)
    }
}

/// What the archive holds, as one stream of bytes.
pub(super) fn decompressed<'m>(
    meter: &'m mut Meter<'_>,
    compression: Compression,
) -> Box<dyn Read + 'm> {
    let input = BufReader::with_capacity(BUFFER, meter);
    match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Xz => Box::new(XzReader::new(input, true)),
        Compression::Zstd => Box::new(ZstdFrames::new(input)),
    }
}

/// A Zstandard stream: one frame or several, as parallel compressors write them.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Goes to the next frame; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                // A skippable frame, of other data.
                Err(Header(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let mut skipped = self.input.by_ref().take(length.into());
                    if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() < buf.len() && !self.decoder.is_finished() {
                let wanted = buf.len() - self.decoder.can_collect();
                let strategy = BlockDecodingStrategy::UptoBytes(wanted);
                self.decoder
                    .decode_blocks(&mut self.input, strategy)
                    .map_err(invalid)?;
            }
            let n = self.decoder.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            let sums = [
                self.decoder.get_checksum_from_data(),
                self.decoder.get_calculated_checksum(),
            ];
            if sums[0].is_some() && sums[0] != sums[1] {
                return Err(invalid("wrong checksum"));
            }
            self.in_frame = false;
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Remembers whether the last block of a tar stream was zeros: every whole archive ends with some, and
/// one that was cut between two entries does not.
pub(super) struct EndMark<R> {
    inner: R,
    /// How many zeros there were last.
    zeros: u64,
}

impl<R: Read> EndMark<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, zeros: 0 }
    }

    /// Reads to the end, so that checksums behind the last entry are checked too.
    pub(super) fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if self.zeros >= 512 {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the end of the archive is missing",
        ))
    }
}

impl<R: Read> Read for EndMark<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        match buf[..n].iter().rposition(|&byte| byte != 0) {
            Some(at) => self.zeros = (n - at - 1) as u64,
            None => self.zeros += n as u64,
        }
        Ok(n)
    }
}
