//! A test process whose nextest was killed must not keep a machine running.

use std::os::unix::process::parent_id;
use std::thread;
use std::time::Duration;

/// How long an orphan may live.
const POLL: Duration = Duration::from_millis(250);

/// Ends this process (and with it its machine) once the process that started it is gone, if that was
/// nextest.
///
/// `PR_SET_PDEATHSIG` would not do: it follows the *thread* that forked, and nextest's may end early.
pub(super) fn end_with_nextest() {
    if std::env::var_os("NEXTEST").is_none() {
        return;
    }
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(POLL);
        }
        std::process::exit(i32::from(ktstr_core::EXIT_FAIL));
    });
}
