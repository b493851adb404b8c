//! The thread that moves bytes between queues and sockets, so that vCPUs never do.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use super::device::{Core, Flush};
use super::interrupt::Interrupt;

/// How long a drain may take in total.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long a drain waits for a host that reads nothing.
const DRAIN_STALL: Duration = Duration::from_millis(500);

/// Maximum number of turns of a stop: more than fill any socket.
const STOP_TURNS: u32 = 64;

/// [`Shared::order`]: continue.
const RUN: u8 = 0;
/// Move what the guest has sent, wait for the host, and end.
const DRAIN: u8 = 1;
/// Move what the host takes without waiting, and end.
const STOP: u8 = 2;

/// Tokens of epoll events: queues by number, sockets from here on, and the wake-up.
const SOCKETS: u64 = 1 << 32;
const WAKE: u64 = u64::MAX;

/// State that the I/O thread shares with the vCPUs and the machine.
#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) notify: Vec<EventFd>,
    wake: EventFd,
    order: AtomicU8,
    /// Readable once the thread has ended.
    pub(super) ended: OwnedFd,
}

impl Shared {
    pub(super) fn new(
        core: Core,
        interrupt: Arc<Interrupt>,
        notify: Vec<EventFd>,
        wake: EventFd,
        ended: OwnedFd,
    ) -> Self {
        Self {
            core: Mutex::new(core),
            interrupt,
            notify,
            wake,
            order: AtomicU8::new(RUN),
            ended,
        }
    }

    /// Locks the device. The lock is held for one turn at most.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread to handle everything.
    pub(super) fn wake(&self) {
        // It only fails if the counter is full, and then the thread wakes up as well.
        let _ = self.wake.write(1);
    }

    /// Tells the thread to end, after waiting for the host or without; the latter overrides the former.
    pub(super) fn end(&self, wait_for_host: bool) {
        let order = if wait_for_host { DRAIN } else { STOP };
        self.order.fetch_max(order, Ordering::SeqCst);
        self.wake();
    }
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    epoll: Epoll,
    sockets: Vec<Socket>,
}

#[derive(Debug)]
struct Socket {
    fd: Arc<OwnedFd>,
    /// The events that epoll watches it for. An empty set removes it from epoll, so that a hang-up does not spin.
    watched: EventSet,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, sockets: Vec<Arc<OwnedFd>>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let watch = |event: &EventFd, data| {
            let interest = EpollEvent::new(EventSet::IN, data);
            epoll.ctl(ControlOperation::Add, event.as_raw_fd(), interest)
        };
        for (index, event) in (0..).zip(&shared.notify) {
            watch(event, index)?;
        }
        watch(&shared.wake, WAKE)?;
        let socket = |fd| Socket {
            fd,
            watched: EventSet::empty(),
        };
        Ok(Self {
            epoll,
            sockets: sockets.into_iter().map(socket).collect(),
            shared,
        })
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self) {
        // Also after a panic, so that nobody waits for it forever.
        let _ended = Ended(Arc::clone(&self.shared));
        // Without epoll it can still move what is already queued.
        let _ = self.serve();
        self.finish();
    }

    fn order(&self) -> u8 {
        self.shared.order.load(Ordering::SeqCst)
    }

    fn serve(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        while self.order() == RUN {
            let mut core = shared.core();
            let again = core.step();
            self.watch(&mut core)?;
            drop(core);
            self.wait(if again { Some(Duration::ZERO) } else { None })?;
        }
        Ok(())
    }

    /// Moves what the guest sent before its end.
    fn finish(&mut self) {
        let shared = Arc::clone(&self.shared);
        let start = Instant::now();
        for turn in 0.. {
            let left = DRAIN_LIMIT.saturating_sub(start.elapsed());
            let patient = self.order() == DRAIN && !left.is_zero();
            if !patient && turn >= STOP_TURNS {
                return;
            }
            let mut core = shared.core();
            let flush = core.flush();
            let watched = self.watch(&mut core);
            drop(core);
            match flush {
                Flush::Done => return,
                Flush::Again => {}
                Flush::Blocked => {
                    let wait = |()| self.wait(Some(DRAIN_STALL.min(left)));
                    // Nothing happened: the host does not read.
                    if !patient || !watched.and_then(wait).unwrap_or(false) {
                        return;
                    }
                }
            }
        }
    }

    /// Updates the events that epoll watches for each port.
    fn watch(&mut self, core: &mut Core) -> io::Result<()> {
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            let wanted = core.wants(index);
            let operation = match (socket.watched.is_empty(), wanted.is_empty()) {
                _ if wanted == socket.watched => continue,
                (true, _) => ControlOperation::Add,
                (false, false) => ControlOperation::Modify,
                (false, true) => ControlOperation::Delete,
            };
            let interest = EpollEvent::new(wanted, SOCKETS + index as u64);
            self.epoll.ctl(operation, socket.fd.as_raw_fd(), interest)?;
            socket.watched = wanted;
        }
        Ok(())
    }

    /// Waits for events and records them; returns false on a timeout.
    fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let mut events = [EpollEvent::default(); 32];
        let limit = limit.map_or(-1, |limit| limit.as_millis() as i32);
        let count = match self.epoll.wait(limit, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        for event in &events[..count] {
            // The read fails if the eventfd is no longer readable, which is fine.
            match event.data() {
                WAKE => drop(self.shared.wake.read()),
                // The next turn reads and writes, and notices a hang-up as well.
                SOCKETS.. => {}
                queue => drop(self.shared.notify[queue as usize].read()),
            }
        }
        Ok(count > 0)
    }
}

/// Reports the end of the thread when dropped.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        // The counter is zero, so that it cannot be full.
        let _ = rustix::io::write(&self.0.ended, &1u64.to_ne_bytes());
    }
}
