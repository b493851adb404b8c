//! Ending a run from another thread: what a [`CancelToken`] means to what waits.

use std::time::{Duration, Instant};

use ktstr_core::host::LockError;
use ktstr_vmm::CancelToken;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::result::RunError;

/// How long a wait for a lock lasts before the token is looked at again.
const STEP: Duration = Duration::from_millis(200);

/// An error where `cancel` was cancelled.
pub(super) fn check(cancel: &CancelToken) -> Result<(), RunError> {
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    Ok(())
}

/// Waits up to `wait` for a lock that `acquire` waits for as long as it is told, or until `cancel` is cancelled.
///
/// `waiting` is called once, where somebody else has the lock at first.
pub(super) fn wait_for_lock<T>(
    cancel: &CancelToken,
    wait: Duration,
    waiting: &mut dyn FnMut(),
    mut acquire: impl FnMut(Duration) -> Result<T, LockError>,
) -> Result<Result<T, LockError>, RunError> {
    let begin = Instant::now();
    let mut step = Duration::ZERO;
    loop {
        check(cancel)?;
        let left = wait.saturating_sub(begin.elapsed());
        let mut result = acquire(left.min(step));
        if let Err(LockError::Busy { waited, .. }) = &mut result {
            *waited = begin.elapsed();
            if *waited < wait {
                if step.is_zero() {
                    waiting();
                    step = STEP;
                }
                continue;
            }
        }
        return Ok(result);
    }
}

/// Waits until one of both is cancelled; tells whether it was `cancel`.
pub(super) fn comes_first(cancel: &CancelToken, over: &CancelToken) -> bool {
    loop {
        let mut fds = [cancel, over].map(|token| PollFd::new(token, PollFlags::IN));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            _ => return cancel.is_cancelled() && !over.is_cancelled(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn busy(waited: Duration) -> LockError {
        LockError::Busy {
            what: "the thing".to_owned(),
            path: "/lock".into(),
            waited,
        }
    }

    #[test]
    fn a_wait_for_a_lock_is_as_long_as_it_says_and_no_longer_than_the_token() {
        let token = CancelToken::new().unwrap();
        let wait = Duration::from_millis(30);
        let tried = |step: Duration| {
            thread::sleep(step);
            Err::<(), _>(busy(step))
        };
        match wait_for_lock(&token, wait, &mut || {}, tried) {
            Ok(Err(LockError::Busy { waited, .. })) => assert!(waited >= wait, "{waited:?}"),
            other => panic!("{other:?}"),
        }
        let mut tell = || panic!("nobody waits for what is free");
        let free = wait_for_lock(&token, wait, &mut tell, |_| Ok(7));
        assert!(matches!(free, Ok(Ok(7))));
        let (waiting, seen) = mpsc::channel();
        thread::scope(|scope| {
            let token = &token;
            scope.spawn(move || {
                seen.recv().unwrap();
                token.cancel();
            });
            // Its end is the token's: nobody waits that long.
            let mut told = 0;
            let mut tell = || {
                told += 1;
                waiting.send(()).unwrap();
            };
            let ended = wait_for_lock(token, Duration::MAX, &mut tell, |_| {
                Err::<(), _>(busy(Duration::ZERO))
            });
            assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
            assert_eq!(told, 1);
        });
    }

    #[test]
    fn whichever_comes_first_is_told() {
        let tokens = || (CancelToken::new().unwrap(), CancelToken::new().unwrap());
        let (cancel, over) = tokens();
        cancel.cancel();
        assert!(comes_first(&cancel, &over));
        let (cancel, over) = tokens();
        over.cancel();
        assert!(!comes_first(&cancel, &over));
    }
}
