//! Ending a run from another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ktstr_core::host::LockError;

use super::result::RunError;

/// How long a wait for a lock lasts before the token is looked at again.
const STEP: Duration = Duration::from_millis(200);

/// Ends the runs that it was given to: clones of it are the same token.
///
/// [`CancelToken::cancel`] returns at once. The run then ends its machine, gives its host CPUs back and returns a
/// result whose [`cancelled`](super::CaseResult::cancelled) is set. A token stays cancelled.
///
/// ```
/// use ktstr_harness::runner::CancelToken;
///
/// let token = CancelToken::new();
/// let for_the_signal_thread = token.clone();
/// for_the_signal_thread.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    hooks: Mutex<Hooks>,
}

/// What wakes those who wait.
#[derive(Default)]
struct Hooks {
    next: u64,
    by_id: BTreeMap<u64, Box<dyn Fn() + Send>>,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every run that has this token, and those that will be given it.
    ///
    /// It takes a lock, so a signal handler must not call it; a thread that waits for signals may.
    pub fn cancel(&self) {
        let hooks = self.hooks();
        self.0.cancelled.store(true, Ordering::SeqCst);
        for hook in hooks.by_id.values() {
            hook();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// An error where it was cancelled.
    pub(super) fn check(&self) -> Result<(), RunError> {
        if self.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        Ok(())
    }

    /// Calls `hook` when the token is cancelled, at once where it was, and never after what is returned was dropped.
    ///
    /// `hook` must return at once and must not touch the token.
    pub(super) fn on_cancel(&self, hook: impl Fn() + Send + 'static) -> OnCancel {
        let mut hooks = self.hooks();
        if self.is_cancelled() {
            hook();
        }
        let id = hooks.next;
        hooks.next += 1;
        hooks.by_id.insert(id, Box::new(hook));
        drop(hooks);
        OnCancel {
            token: self.clone(),
            id,
        }
    }

    /// Waits up to `wait` for a lock that `acquire` waits for as long as it is told.
    pub(super) fn wait_for_lock<T>(
        &self,
        wait: Duration,
        mut acquire: impl FnMut(Duration) -> Result<T, LockError>,
    ) -> Result<Result<T, LockError>, RunError> {
        let begin = Instant::now();
        loop {
            self.check()?;
            let left = wait.saturating_sub(begin.elapsed());
            let mut result = acquire(left.min(STEP));
            if let Err(LockError::Busy { waited, .. }) = &mut result {
                *waited = begin.elapsed();
                if *waited < wait {
                    continue;
                }
            }
            return Ok(result);
        }
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// A hook of a token's; dropping it removes the hook.
#[derive(Debug)]
pub(super) struct OnCancel {
    token: CancelToken,
    id: u64,
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        self.token.hooks().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + 'static) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        (calls, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn hooks_are_called_once_and_only_while_they_are_there() {
        let token = CancelToken::new();
        let (calls, hook) = counter();
        let (dropped, gone) = counter();
        let _kept = token.on_cancel(hook);
        drop(token.on_cancel(gone));
        token.clone().cancel();
        assert!(token.is_cancelled());
        let count = |calls: &AtomicUsize| calls.load(Ordering::SeqCst);
        assert_eq!((count(&calls), count(&dropped)), (1, 0));
        let (late, hook) = counter();
        let _late = token.on_cancel(hook);
        assert_eq!(count(&late), 1, "a token stays cancelled");
    }

    fn busy(waited: Duration) -> LockError {
        LockError::Busy {
            what: "the thing".to_owned(),
            path: "/lock".into(),
            waited,
        }
    }

    #[test]
    fn a_wait_for_a_lock_is_as_long_as_it_says_and_no_longer_than_the_token() {
        let token = CancelToken::new();
        let wait = Duration::from_millis(30);
        let tried = |step: Duration| {
            thread::sleep(step);
            Err::<(), _>(busy(step))
        };
        match token.wait_for_lock(wait, tried) {
            Ok(Err(LockError::Busy { waited, .. })) => assert!(waited >= wait, "{waited:?}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(token.wait_for_lock(wait, |_| Ok(7)), Ok(Ok(7))));
        let (waiting, seen) = mpsc::channel();
        thread::scope(|scope| {
            let token = &token;
            scope.spawn(move || {
                seen.recv().unwrap();
                token.cancel();
            });
            // Its end is the token's: nobody waits that long.
            let ended = token.wait_for_lock(Duration::MAX, |_| {
                let _ = waiting.send(());
                Err::<(), _>(busy(Duration::ZERO))
            });
            assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        });
    }
}
