//! What a person types, and how it ends.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;

use super::terminal::Terminal;
use super::{LIMIT, is_gone, shell, wait_until, wait_until_gone};

fn start() -> Terminal {
    let mut terminal = Terminal::start(&shell());
    terminal.expect("Ctrl-] three times ends the machine");
    terminal.expect_prompt();
    terminal
}

#[test]
fn a_shell_is_as_good_as_one_on_the_host() {
    let mut terminal = start();
    terminal.type_in("stty size; echo $TERM:$HOME\r");
    terminal.expect("50 120\r\n");
    terminal.expect("xterm:/root\r\n");
    terminal.resize(33, 99);
    // The guest learns of it at some moment.
    terminal.type_in("until [ \"$(stty size)\" = '33 99' ]; do :; done; echo re''sized\r");
    terminal.expect("resized\r\n");

    // Ctrl-C ends what runs, not the shell.
    // It is said by what is in the foreground: a key that is typed earlier is bash's, which waits for the other then.
    terminal.type_in("sh -c 'echo slee\"\"ping; exec sleep 1000'; echo status $?\r");
    terminal.expect("sleeping\r\n");
    terminal.type_in("\x03");
    terminal.type_in("echo still he''re\r");
    terminal.expect("still here\r\n");

    // A job is suspended, resumed and ended. It says itself when it was resumed: the terminal is its own by then. It starts
    // nothing: sh waits for whatever it starts to be another program by now (vfork), and cannot be suspended if that one
    // is suspended before, here as on any host.
    let job = r#"trap "echo resu""med" CONT; echo be""gun; while :; do :; done"#;
    terminal.type_in(&format!("sh -c '{job}'\r"));
    terminal.expect("begun\r\n");
    terminal.type_in("\x1a");
    terminal.expect("Stopped");
    terminal.expect("# ");
    terminal.type_in("fg\r");
    terminal.expect("resumed\r\n");
    terminal.type_in("\x03");
    terminal.type_in("jobs; echo no m''ore\r");
    terminal.expect("no more\r\n");

    // While output floods, too.
    terminal.type_in("yes flood\r");
    terminal.expect(&"flood\r\n".repeat(1000));
    terminal.type_in("\x03");
    terminal.type_in("echo out of the fl''ood\r");
    terminal.expect("out of the flood\r\n");

    // The escape typed twice is for the guest.
    terminal.type_in("\x1d\x1d\x15echo f''iles $(ls -d /proc/1 /sys/kernel/debug /dev/pts/0)\r");
    terminal.expect("files /dev/pts/0 /proc/1 /sys/kernel/debug\r\n");
    terminal.type_in("echo x > /tmp/a && cat /tmp/a /sys/fs/cgroup/cgroup.controllers\r");
    terminal.expect("cpu");
    terminal.type_in("exit 7\r");
    let (status, _) = terminal.end();
    assert_eq!(status.code(), Some(7));
}

#[test]
fn the_escape_and_the_end_of_the_guest_leave_a_sane_terminal() {
    let mut terminal = start();
    terminal.type_in("\x1d\x1d\x1d");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(125));
    assert!(shown.contains("the machine was ended"), "{shown}");

    let mut terminal = start();
    terminal.type_in("echo c > /proc/sysrq-trigger\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(125));
    assert!(
        shown.contains("error: the guest's kernel panicked: sysrq triggered crash"),
        "{shown}"
    );
}

#[test]
fn a_client_that_is_killed_leaves_a_sane_terminal_and_no_machine() {
    for (signal, code) in [(Signal::TERM, Some(143)), (Signal::KILL, None)] {
        let terminal = start();
        let client = Pid::from_raw(terminal.pid().cast_signed()).unwrap();
        kill_process(client, signal).unwrap();
        let (status, _) = terminal.end();
        assert_eq!(status.code(), code, "{status:?}");
        if code.is_none() {
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        }
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_machine() {
    let (mut client, processes) = start().hang_up();
    let mut status = None;
    wait_until(&format!("nothing ends within {LIMIT:?}"), || {
        status = client.try_wait().unwrap();
        status.is_some()
    });
    assert!(is_gone(client.id()));
    wait_until_gone(&processes);
}
