//! Signals that cancel.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread;

use ktstr_vmm::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A token that is cancelled by the first SIGINT, SIGTERM or SIGHUP. From now on these do not end this process: whoever
/// has the token does.
pub fn cancelled_by_signals() -> io::Result<CancelToken> {
    let cancel = CancelToken::new()?;
    let (mut read, write) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    let token = cancel.clone();
    thread::spawn(move || {
        if read.read_exact(&mut [0]).is_ok() {
            token.cancel();
        }
    });
    Ok(cancel)
}
