//! The terminal: what is typed comes in, what the guest says comes out, and nobody waits for a reader.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use ktstr_vmm::channel::TERMINAL_NAME;
use ktstr_vmm::{
    ExitReason, Flow, Frame, Machine, MachineError, MachineSpec, Observer, Outbox, Terminal,
};
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::{LIMIT, Rig, SMALL, Script, backend_config};

/// Types a line once the guest waits for it, and stops when the guest has told that it came.
struct Typist {
    stream: UnixStream,
    port: String,
    heard: String,
}

const LINE: &str = "echo the line";

impl Typist {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self {
            stream,
            port: String::new(),
            heard: String::new(),
        }
    }

    /// Reads the terminal until it said `words`.
    fn expect(&mut self, words: &str) {
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(words) {
            let mut bytes = [0; 256];
            let count = self.stream.read(&mut bytes).unwrap_or(0);
            let all = String::from_utf8_lossy(&said);
            assert!(count > 0, "the terminal ends with {all:?}");
            said.extend_from_slice(&bytes[..count]);
        }
    }
}

impl Observer for Typist {
    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        let text = String::from_utf8_lossy(&frame.payload).trim().to_owned();
        let mut ask = |tag, text: &str| {
            outbox.send(&Frame {
                tag,
                payload: text.as_bytes().to_vec(),
            });
        };
        match frame.tag {
            b'r' => ask(b'n', ""),
            b'n' => {
                self.port = text;
                ask(b't', "");
            }
            b't' => writeln!(self.stream, "{LINE}").unwrap(),
            _ => {
                self.heard = text;
                return Flow::Stop;
            }
        }
        Flow::Continue
    }
}

fn machine(rig: &Rig, terminal: Terminal) -> Result<Machine, MachineError> {
    let spec = MachineSpec {
        terminal: Some(terminal),
        ..rig.spec(SMALL)
    };
    Machine::new(spec, backend_config())
}

/// A line typed into the terminal reaches a program in the guest, whose answer comes back.
fn talk(machine: &Machine, typist: &mut Typist) {
    let exit = machine.run(typist).unwrap();
    assert_eq!(exit.reason, ExitReason::Stopped);
    assert_eq!(typist.heard, LINE);
    assert!(typist.port.contains(TERMINAL_NAME), "{}", typist.port);
    typist.expect(&LINE.to_uppercase());
}

#[test]
fn a_line_goes_in_and_its_answer_comes_out() {
    let rig = Rig::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let machine = machine(&rig, theirs.into()).unwrap();
    let mut typist = Typist::new(ours);
    // Once more over the same stream.
    for _ in 0..2 {
        talk(&machine, &mut typist);
    }
}

#[test]
fn a_path_is_connected_to_at_the_start_or_named() {
    let rig = Rig::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terminal");
    let machine = machine(&rig, Terminal::Socket(path.clone())).unwrap();
    let error = machine.run(&mut Script::one(b'e')).unwrap_err();
    assert!(matches!(error, MachineError::Terminal { .. }), "{error}");

    let listener = UnixListener::bind(&path).unwrap();
    let talker = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut all = Vec::new();
        // The machine's end closes with the machine.
        stream.read_to_end(&mut all).map(|_| all)
    });
    let exit = machine
        .run(&mut Script::new([(b'T', b"16".to_vec())]))
        .unwrap();
    assert_eq!(exit.reason, ExitReason::Stopped);
    let all = talker.join().unwrap().unwrap();
    assert!(all.len() >= 16 << 10, "{}", all.len());
}

/// More than all buffers between guest and host take, with nobody who reads: neither the guest nor the run waits.
///
/// No more than that: Linux hands a console 16 bytes at a time and spins until they are taken, which lasts a time slice
/// where host and guest share one CPU.
#[test]
fn a_reader_who_is_slow_or_gone_holds_nobody_up() {
    let rig = Rig::new();
    for gone in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The kernel takes a little more.
        set_socket_send_buffer_size(&theirs, 4 << 10).unwrap();
        let machine = machine(&rig, theirs.into()).unwrap();
        let ours = (!gone).then_some(ours);
        let mut script = Script::new([(b'T', b"96".to_vec()), (b'e', b"still here".to_vec())]);
        let exit = machine.run(&mut script).unwrap();
        assert_eq!(exit.reason, ExitReason::Stopped);
        assert_eq!(script.answers.last().unwrap().payload, b"still here");
        drop(ours);
    }
}

#[test]
fn what_is_no_stream_is_refused_before_anything_starts() {
    let rig = Rig::new();
    let file = Terminal::Stream(std::sync::Arc::new(tempfile::tempfile().unwrap().into()));
    let error = machine(&rig, file).unwrap_err().to_string();
    assert!(error.contains("stream socket"), "{error}");
}
