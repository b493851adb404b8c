//! Checksums of files.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The SHA-256 of what is left to read of `file`, hexadecimal; `on_read` is told how far we are.
pub(crate) fn sha256(file: &mut File, mut on_read: impl FnMut(u64)) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => {
                hash.update(&buffer[..n]);
                done += n as u64;
                on_read(done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
