//! A look from outside at work that cannot look up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look.
const PERIOD: Duration = Duration::from_millis(100);

/// Does `work`, which should end soon once its argument is true: that happens at `deadline`. Calls `tick` now and then
/// meanwhile. Whether the deadline came is returned with what came of the work.
pub(super) fn watched<T>(
    deadline: Instant,
    tick: impl Fn() + Send + Sync,
    work: impl FnOnce(&AtomicBool) -> T,
) -> (T, bool) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, watcher) = channel::<()>();
        let (stop, tick) = (&stop, &tick);
        scope.spawn(move || {
            while watcher.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                tick();
                if Instant::now() >= deadline {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        let done = work(stop);
        drop(over);
        (done, stop.load(Ordering::Relaxed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_to_stop() {
        let soon = Instant::now() + Duration::from_millis(10);
        let ((), late) = watched(
            soon,
            || (),
            |stop| {
                while !stop.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            },
        );
        assert!(late);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(watched(later, || (), |_| 7), (7, false));
    }
}
