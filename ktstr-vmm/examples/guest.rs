//! Init of the machines in `tests/machine`: does what the host's frames say.
//!
//! It shows the guest's side of the channel in full: mount `/sys` and `/dev`, open the port, answer.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use ktstr_vmm::Frame;
use ktstr_vmm::channel::{GuestChannel, PORT_NAME};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

fn main() {
    if let Err(error) = serve() {
        println!("guest: {error}");
    }
    let _ = reboot(RebootCommand::PowerOff);
}

fn serve() -> Result<(), Box<dyn Error>> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(
            kind,
            place,
            kind,
            MountFlags::empty(),
            None::<&std::ffi::CStr>,
        )?;
    }
    let mut channel = GuestChannel::open(PORT_NAME)?;
    channel.send(&Frame {
        tag: b'r',
        payload: Vec::new(),
    })?;
    loop {
        let frame = channel.recv(Duration::from_secs(300))?;
        match frame.tag {
            // The same back.
            b'e' => channel.send(&frame)?,
            // A file's content.
            b'f' => {
                let payload = fs::read(String::from_utf8(frame.payload)?)?;
                channel.send(&Frame { tag: b'f', payload })?;
            }
            // A file's new content: the path, a line break, the content.
            b'w' => {
                let text = String::from_utf8(frame.payload)?;
                let (path, content) = text.split_once('\n').ok_or("no content")?;
                fs::write(path, content)?;
                channel.send(&done(b'w'))?;
            }
            // So many KiB on the console, or on the terminal.
            b'c' => {
                write_kib(std::io::stdout(), &frame.payload)?;
                // What is in the kernel's buffer would not count as said.
                rustix::termios::tcdrain(std::io::stdout())?;
                channel.send(&done(b'c'))?;
            }
            b'T' => {
                write_kib(terminal()?, &frame.payload)?;
                channel.send(&done(b'T'))?;
            }
            // The names of all ports.
            b'n' => {
                let payload = port_names()?.join("\n").into_bytes();
                channel.send(&Frame { tag: b'n', payload })?;
            }
            // A line from the terminal, back in capitals, and as a frame. The answer to come is promised first.
            b't' => {
                let mut terminal = BufReader::new(terminal()?);
                channel.send(&done(b't'))?;
                let mut line = String::new();
                terminal.read_line(&mut line)?;
                terminal
                    .get_mut()
                    .write_all(line.to_uppercase().as_bytes())?;
                let payload = line.into_bytes();
                channel.send(&Frame { tag: b'l', payload })?;
            }
            b'o' => reboot(RebootCommand::PowerOff)?,
            b'b' => reboot(RebootCommand::Restart)?,
            b'p' => fs::write("/proc/sysrq-trigger", "c")?,
            // Init must not end: the kernel panics.
            b'x' => std::process::exit(3),
            // Nor be killed: so is a program that was built for a newer CPU.
            b'i' => illegal_instruction(),
            // It stands with all of its CPUs halted.
            b'h' => reboot(RebootCommand::Halt)?,
            // Bytes that are no frame, behind the channel's back.
            b'g' => {
                let port = port_device().ok_or("no port")?;
                drop(channel);
                fs::OpenOptions::new()
                    .write(true)
                    .open(port)?
                    .write_all(&[0xee; 64])?;
                std::thread::sleep(Duration::from_secs(300));
                return Ok(());
            }
            // Silence for so many seconds, asleep or at work.
            b'S' => {
                std::thread::sleep(seconds(&frame.payload)?);
                channel.send(&done(b'S'))?;
            }
            b'B' => {
                let (begin, limit) = (Instant::now(), seconds(&frame.payload)?);
                while begin.elapsed() < limit {
                    std::hint::spin_loop();
                }
                channel.send(&done(b'B'))?;
            }
            // Silence.
            b's' => std::thread::sleep(Duration::from_secs(300)),
            other => return Err(format!("no command `{}`", char::from(other)).into()),
        }
    }
}

#[allow(unsafe_code)]
fn illegal_instruction() {
    // SAFETY: it ends the process, and touches nothing before.
    unsafe { std::arch::asm!("ud2") }
}

fn done(tag: u8) -> Frame {
    Frame {
        tag,
        payload: Vec::new(),
    }
}

fn seconds(payload: &[u8]) -> Result<Duration, Box<dyn Error>> {
    let seconds = std::str::from_utf8(payload)?.parse()?;
    Ok(Duration::from_secs(seconds))
}

fn terminal() -> std::io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/hvc0")
}

/// So many KiB as `count` says in decimal.
fn write_kib(mut to: impl Write, count: &[u8]) -> Result<(), Box<dyn Error>> {
    let kib: usize = std::str::from_utf8(count)?.parse()?;
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..kib {
        to.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn port_names() -> std::io::Result<Vec<String>> {
    let ports = fs::read_dir("/sys/class/virtio-ports")?;
    ports
        .map(|port| fs::read_to_string(port?.path().join("name")))
        .collect()
}

fn port_device() -> Option<std::path::PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let port = ports.flatten().find(|port| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT_NAME)
    })?;
    Some(std::path::Path::new("/dev").join(port.file_name()))
}
