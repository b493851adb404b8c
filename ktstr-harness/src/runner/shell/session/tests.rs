use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;

use ktstr_core::Topology;
use proptest::prelude::*;

use super::super::ShellControl;
use super::*;
use crate::protocol::flow::WINDOW;
use crate::protocol::{ShellExit, ShellSpec, TerminalSize};

/// The caller's side: what it types, what it sees.
struct Caller {
    input: PipeReader,
    typed: PipeWriter,
    output: PipeWriter,
    seen: PipeReader,
    control: ShellControl,
    request: GuestRequest,
}

impl Caller {
    fn new(at_terminal: bool) -> Self {
        let (input, typed) = pipe().unwrap();
        let (seen, output) = pipe().unwrap();
        let size = TerminalSize {
            rows: 24,
            columns: 80,
        };
        Self {
            input,
            typed,
            output,
            seen,
            control: ShellControl::new().unwrap(),
            request: GuestRequest::Shell(Box::new(ShellSpec {
                topology: Topology::constant(1, 1, 1, 1),
                command: None,
                terminal: at_terminal.then_some(size),
                env: Vec::new(),
                scheduler: None,
                host_root: false,
            })),
        }
    }

    fn session<'c>(&'c self, observer: &'c mut dyn RunObserver) -> ShellSession<'c> {
        let streams = ShellStreams {
            input: self.input.as_fd(),
            output: self.output.as_fd(),
            error: self.output.as_fd(),
            console: None,
            control: &self.control,
        };
        ShellSession::new(&self.request, streams, observer)
    }
}

fn ready() -> Frame {
    to_frame(&GuestMessage::Ready {
        kernel_release: "6.12.1".to_owned(),
    })
}

fn started() -> Frame {
    to_frame(&GuestMessage::Started)
}

fn data(bytes: &[u8]) -> Frame {
    StreamFrame::Data(Stream::Output, bytes).to_frame()
}

/// A session whose shell runs.
fn running<'c>(
    caller: &'c Caller,
    observer: &'c mut dyn RunObserver,
) -> (ShellSession<'c>, Outbox) {
    let (mut session, mut outbox) = (caller.session(observer), Outbox::default());
    for frame in [ready(), started()] {
        assert_eq!(session.frame(frame, &mut outbox), Flow::Continue);
    }
    (session, outbox)
}

fn ignore(_: RunEvent<'_>) {}

#[test]
fn output_is_written_and_the_status_ends_it() {
    let mut caller = Caller::new(false);
    let mut told = Vec::new();
    let mut observer = |event: RunEvent<'_>| told.push(format!("{event:?}"));
    let (mut session, mut outbox) = running(&caller, &mut observer);
    assert_eq!(session.frame(data(b"hello"), &mut outbox), Flow::Continue);
    let exit = ShellExit::Exited(7);
    let last = to_frame(&GuestMessage::ShellEnded(exit.clone()));
    assert_eq!(session.frame(last, &mut outbox), Flow::Stop);
    assert_eq!(session.end, Some(ShellEnd::Exited(exit)));
    drop(session);
    assert_eq!(told[1..], ["BodyStarted", "Reported"]);
    let mut seen = [0; 5];
    caller.seen.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello");
}

#[test]
fn a_guest_that_breaks_the_protocol_is_found_out() {
    let caller = Caller::new(false);
    let garbled = |before: &[Frame], frame: Frame| {
        let (mut observer, mut outbox) = (ignore, Outbox::default());
        let mut session = caller.session(&mut observer);
        for frame in before {
            assert_eq!(session.frame(frame.clone(), &mut outbox), Flow::Continue);
        }
        assert_eq!(session.frame(frame, &mut outbox), Flow::Stop);
        session.garbled.unwrap()
    };
    let started = [ready(), started()];
    for (before, frame) in [
        (&started[..0], started[1].clone()),
        (&started[..1], data(b"early")),
        (&started[..2], ready()),
        (
            &started[..2],
            StreamFrame::Data(Stream::Input, b"x").to_frame(),
        ),
        (
            &started[..2],
            to_frame(&GuestMessage::Output(String::new())),
        ),
    ] {
        let why = garbled(before, frame);
        assert!(why.contains("out of turn"), "{why}");
    }
    // The pipe is smaller than the window: nobody reads it.
    let full = vec![0; WINDOW];
    let why = garbled(&[ready(), started[1].clone(), data(&full)], data(&full));
    assert!(why.contains("more output than it may"), "{why}");
}

#[test]
fn input_is_read_as_far_as_the_guest_takes_it() {
    let mut caller = Caller::new(false);
    let mut typed = caller.typed.try_clone().unwrap();
    let mut observer = ignore;
    {
        // Nothing before the shell runs.
        typed.write_all(b"early").unwrap();
        let (mut session, mut outbox) = (caller.session(&mut observer), Outbox::default());
        session.ready(&mut outbox);
        assert_eq!(outbox.pending(), 0);
    }
    let (mut session, mut outbox) = running(&caller, &mut observer);
    let before = outbox.pending();
    session.ready(&mut outbox);
    assert!(outbox.pending() > before);
    // Once nobody reads, nobody is waited for.
    let closed = StreamFrame::Closed(Stream::Input).to_frame();
    assert_eq!(session.frame(closed, &mut outbox), Flow::Continue);
    assert!(
        session
            .interests()
            .iter()
            .all(|it| it.fd.as_raw_fd() != caller.input.as_raw_fd())
    );
    drop(session);
    caller.typed.write_all(b"x").unwrap();
}

#[test]
fn a_reader_that_is_gone_is_told_the_guest_or_is_the_end_of_a_terminal() {
    for at_terminal in [false, true] {
        let mut caller = Caller::new(at_terminal);
        drop(std::mem::replace(&mut caller.seen, pipe().unwrap().0));
        let mut observer = ignore;
        let (mut session, mut outbox) = running(&caller, &mut observer);
        let before = outbox.pending();
        let flow = session.frame(data(b"x"), &mut outbox);
        if at_terminal {
            assert_eq!((flow, &session.end), (Flow::Stop, &Some(ShellEnd::HungUp)));
        } else {
            assert_eq!((flow, &session.end), (Flow::Continue, &None));
            assert!(outbox.pending() > before);
            // What was under way is dropped.
            assert_eq!(session.frame(data(b"x"), &mut outbox), Flow::Continue);
        }
    }
}

#[test]
fn the_escape_and_a_terminal_that_hangs_up_end_it() {
    for (typed, end) in [
        (&b"\x1d\x1d\x1d"[..], ShellEnd::Escaped),
        (b"", ShellEnd::HungUp),
    ] {
        let mut caller = Caller::new(true);
        let mut keys = std::mem::replace(&mut caller.typed, pipe().unwrap().1);
        keys.write_all(typed).unwrap();
        drop(keys);
        let mut observer = ignore;
        let (mut session, mut outbox) = running(&caller, &mut observer);
        assert_eq!(session.ready(&mut outbox), Flow::Stop);
        assert_eq!(session.end, Some(end));
    }
}

#[test]
fn signals_and_sizes_wait_for_the_shell() {
    let caller = Caller::new(true);
    let mut observer = ignore;
    caller.control.signal(2);
    let (session, mut outbox) = (caller.session(&mut observer), Outbox::default());
    assert!(session.interests().is_empty());
    drop(session);
    let (mut session, mut started) = running(&caller, &mut observer);
    let sent = started.pending();
    caller.control.resize(TerminalSize {
        rows: 1,
        columns: 1,
    });
    session.pass_control(&mut started);
    assert!(started.pending() > sent);
    session.pass_control(&mut outbox);
    assert_eq!(outbox.pending(), 0, "it was passed on once");
}

proptest! {
    #[test]
    fn any_frame_is_heard_or_ends_it(
        frames in prop::collection::vec((0_u8..4, prop::collection::vec(any::<u8>(), 0..12)), 0..8),
    ) {
        let caller = Caller::new(false);
        let mut observer = ignore;
        let (mut session, mut outbox) = running(&caller, &mut observer);
        for (tag, payload) in frames {
            if session.frame(Frame { tag, payload }, &mut outbox) == Flow::Stop {
                break;
            }
        }
    }
}
