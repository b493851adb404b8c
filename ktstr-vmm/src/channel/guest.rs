//! The guest's end of the channel.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::decoder::FrameDecoder;
use super::frame::{Frame, FrameEncoder, FrameError};

/// The kernel creates ports asynchronously; one that does not exist after this time is not configured.
const PORT_WAIT: Duration = Duration::from_secs(10);

/// Buffer size of a read; the kernel returns a page at a time.
const READ: usize = 16 << 10;

const PORTS: &str = "/sys/class/virtio-ports";

/// A failure of the guest's end of the channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// There is no such port.
    #[error(
        "channel: no virtio port named {name} in {PORTS}; \
         mount /sys and check that the kernel has CONFIG_VIRTIO_CONSOLE, and CONFIG_VIRTIO_PCI (on QEMU) \
         or CONFIG_VIRTIO_MMIO (on KVM)"
    )]
    NoPort {
        /// The port's name.
        name: String,
    },
    /// The port could not be opened.
    #[error("channel: {path}: {source}; mount devtmpfs on /dev")]
    Open {
        /// The port's device.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Reading from or writing to the port failed.
    #[error("channel: {0}; the host process has died or failed")]
    Io(#[from] io::Error),
    /// The host closed its end.
    #[error("channel: the host closed its end; nothing more will come")]
    Closed,
    /// No frame arrived in time.
    #[error("channel: no frame within {} s; the host process hangs or has died", .0.as_secs_f32())]
    Timeout(Duration),
    /// A frame that was received, or was to be sent, is invalid.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The guest's end of the channel: sends block, receives have a timeout.
///
/// ```no_run
/// use std::time::Duration;
///
/// use ktstr_vmm::Frame;
/// use ktstr_vmm::channel::{GuestChannel, PORT_NAME};
///
/// let mut channel = GuestChannel::open(PORT_NAME)?;
/// channel.send(&Frame { tag: 1, payload: b"ready".to_vec() })?;
/// let request = channel.recv(Duration::from_secs(60))?;
/// # Ok::<(), ktstr_vmm::channel::ChannelError>(())
/// ```
#[derive(Debug)]
pub struct GuestChannel {
    port: File,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl GuestChannel {
    /// Opens the port called `name`; [`super::PORT_NAME`] is the one that machines have.
    ///
    /// `/sys` must be mounted, and devtmpfs on `/dev`.
    pub fn open(name: &str) -> Result<Self, ChannelError> {
        let path = wait_for_port(name)?;
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| ChannelError::Open { path, source })?;
        Ok(Self {
            port,
            decoder: FrameDecoder::new(),
            buffer: vec![0; READ],
        })
    }

    /// Sends `frame`; returns when the kernel has accepted all of it.
    pub fn send(&mut self, frame: &Frame) -> Result<(), ChannelError> {
        let mut encoder = FrameEncoder::new();
        encoder.push(frame)?;
        self.port.write_all(encoder.bytes())?;
        Ok(())
    }

    /// Returns the next frame from the host, waiting up to `timeout` for it.
    pub fn recv(&mut self, timeout: Duration) -> Result<Frame, ChannelError> {
        let start = Instant::now();
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            let left = timeout.saturating_sub(start.elapsed());
            if !self.wait_readable(left)? {
                return Err(ChannelError::Timeout(timeout));
            }
            match self.port.read(&mut self.buffer) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => self.decoder.push(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the next frame that has already arrived, if any, without blocking.
    ///
    /// After `poll` reports input, call this until it returns `None`: one read may deliver several frames.
    pub fn try_recv(&mut self) -> Result<Option<Frame>, ChannelError> {
        match self.recv(Duration::ZERO) {
            Ok(frame) => Ok(Some(frame)),
            Err(ChannelError::Timeout(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wait_readable(&self, limit: Duration) -> Result<bool, ChannelError> {
        let mut fds = [PollFd::new(&self.port, PollFlags::IN)];
        // Only durations of more than 292 billion years do not fit.
        let timeout = Timespec::try_from(limit).ok();
        let ready = retry_on_intr(|| poll(&mut fds, timeout.as_ref())).map_err(io::Error::from)?;
        Ok(ready > 0)
    }
}

impl AsFd for GuestChannel {
    /// The port, which is readable when [`GuestChannel::try_recv`] may return a frame.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

fn wait_for_port(name: &str) -> Result<PathBuf, ChannelError> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(path) = find_port(Path::new(PORTS), name) {
            return Ok(path);
        }
        if start.elapsed() > PORT_WAIT {
            let name = name.to_owned();
            return Err(ChannelError::NoPort { name });
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn find_port(class: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(class).ok()?;
    entries.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("name")).ok()?;
        (found.trim_end() == name).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_their_name() {
        let class = tempfile::tempdir().unwrap();
        for (device, name) in [("vport0p1", "other\n"), ("vport0p2", "ktstr\n")] {
            let dir = class.path().join(device);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("name"), name).unwrap();
        }
        fs::create_dir(class.path().join("vport0p3")).unwrap();
        let found = find_port(class.path(), "ktstr");
        assert_eq!(found.as_deref(), Some(Path::new("/dev/vport0p2")));
        assert_eq!(find_port(class.path(), "nobody"), None);
        assert_eq!(find_port(Path::new("/no/such/dir"), "ktstr"), None);
    }
}
