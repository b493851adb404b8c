//! A watch at work: reads the buffers of all CPUs, and judges what is in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;
use rustix::event::epoll;
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::decode::Decoder;
use super::error::TraceError;
use super::event::{Event, What};
use super::facts::{self, Proc};
use super::function::Function;
use super::machine::Machine;
use super::page::PageLayout;
use super::report::Report;
use super::rule::{Rule, Rules};
use super::stream::{Item, Streams};
use super::tracefs::Instance;

/// Instances have this, an id of the process and a number as their names.
pub(super) const INSTANCE: &str = "ktstr-watch-";

/// Bounds on the time between two looks where no buffer fills up: the age of what is read of tasks that wait.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// A look takes at most one part in this many of the machine's CPU time until the next one, within these bounds.
const COST_PARTS: u32 = 200;

/// Records that are newer are left for the next look: one that is being written may have an earlier time.
const MARGIN: Duration = Duration::from_millis(1);

/// What is watched.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(super) functions: Vec<Function>,
    pub(super) rules: Vec<Rule>,
    pub(super) migrations: bool,
}

/// A watch that has begun.
pub(crate) struct Session {
    /// Before the instance, which cannot be removed as long as they are open.
    ready: OwnedFd,
    buffers: Vec<(u32, File)>,
    instance: Instance,
    layout: PageLayout,
    decoder: Decoder,
    streams: Streams,
    judge: Judge,
    page: Vec<u8>,
    due: Instant,
    began: Duration,
    cost: Duration,
    setup: Duration,
    looks: u64,
    problem: Option<TraceError>,
    /// Most of a CPU's buffer that was found full, in percent.
    fullest: u32,
}

/// What comes of the events.
struct Judge {
    machine: Machine<Proc>,
    rules: Rules,
    counts: Counts,
}

/// How many events there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub events: u64,
    /// `sched_switch`.
    pub switches: u64,
    /// `sched_wakeup` and `sched_wakeup_new`.
    pub wakeups: u64,
    /// `sched_migrate_task`, where it is watched.
    pub migrations: u64,
    /// Calls of the watched functions.
    pub calls: u64,
    /// Events that the kernel had no room for.
    pub lost: u64,
}

impl Session {
    /// Starts to watch the CPUs `cpus`. The calling thread visits each of them once, so that it is known what runs there.
    pub(crate) fn start(
        tracing: &Path,
        cgroups: &Path,
        plan: Plan,
        cpus: &[u32],
    ) -> Result<Self, TraceError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let before = cpu_time();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{INSTANCE}{}-{number}", std::process::id());
        let present = cpu_list("present").unwrap_or_else(|| cpus.to_vec());
        let online = cpu_list("online").unwrap_or_else(|| cpus.to_vec());
        let mut instance = Instance::create(tracing, &name, present.len())?;
        let layout = instance.page_layout()?;
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC);
        let ready = ready.map_err(|errno| TraceError::Thread(errno.into()))?;
        let mut buffers = Vec::with_capacity(present.len());
        for cpu in &present {
            let buffer = instance.open(*cpu)?;
            // One that cannot be waited for is read at intervals.
            let data = epoll::EventData::new_u64(u64::from(*cpu));
            let _ = epoll::add(&ready, &buffer, data, epoll::EventFlags::IN);
            buffers.push((*cpu, buffer));
        }
        let began = facts::now();
        let decoder = instance.enable(&plan.functions, plan.migrations)?;
        let offline: Vec<u32> = cpus
            .iter()
            .copied()
            .filter(|cpu| !online.contains(cpu))
            .collect();
        let proc = Proc {
            cgroups: cgroups.to_owned(),
        };
        let observer = rustix::thread::gettid().as_raw_nonzero().get();
        let mut machine = Machine::new(proc, observer, cpus, &offline);
        visit(&online);
        machine.blind_until(facts::now());
        Ok(Self {
            ready,
            buffers,
            instance,
            layout,
            decoder,
            streams: Streams::new(layout, &present),
            judge: Judge {
                machine,
                rules: Rules::new(plan.rules),
                counts: Counts::default(),
            },
            page: vec![0; layout.size],
            due: Instant::now() + INTERVAL.0,
            began,
            cost: Duration::ZERO,
            setup: cpu_time().saturating_sub(before),
            looks: 0,
            problem: None,
            fullest: 0,
        })
    }

    /// Readable when a buffer is a quarter full: then [`Session::pass`] is due.
    pub(crate) fn ready(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// How long until the next look is due even if no buffer fills up.
    pub(crate) fn due_in(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Whether a look is due.
    pub(crate) fn is_due(&self) -> bool {
        self.due_in().is_zero() || is_readable(self.ready())
    }

    /// Reads what there is, and judges it.
    pub(crate) fn pass(&mut self) {
        let before = cpu_time();
        if self.problem.is_none() {
            self.problem = self.try_pass(MARGIN).err();
        }
        let cost = cpu_time().saturating_sub(before);
        self.cost += cost;
        let cpus = u32::try_from(self.buffers.len()).unwrap_or(1).max(1);
        let wait = cost.saturating_mul(COST_PARTS) / cpus;
        self.due = Instant::now() + wait.clamp(INTERVAL.0, INTERVAL.1);
    }

    fn try_pass(&mut self, margin: Duration) -> Result<(), TraceError> {
        self.looks += 1;
        let now = facts::now();
        let mut end = now.saturating_sub(margin);
        // Whatever comes meanwhile, this ends.
        let most = 2 * (self.instance.buffer_kib as usize * 1024 / self.layout.size).max(1);
        for index in 0..self.buffers.len() {
            let mut pages = 0;
            while let Some(length) = self.read_page(index)? {
                self.streams.push(index, &self.page[..length])?;
                pages += 1;
                let newest = page_time(&self.page);
                if newest > now {
                    break;
                }
                if pages >= most {
                    // What it had before `now` is not all read.
                    end = end.min(newest);
                    break;
                }
            }
            self.fullest = self.fullest.max((200 * pages / most) as u32);
        }
        let judge = &mut self.judge;
        self.streams
            .drain(end, &self.decoder, &mut |item| judge.take(item))?;
        judge.machine.pass(end);
        Ok(())
    }

    /// Reads one page of the buffer in place `index`; `None` when there is none.
    fn read_page(&mut self, index: usize) -> Result<Option<usize>, TraceError> {
        let (cpu, buffer) = &mut self.buffers[index];
        loop {
            match buffer.read(&mut self.page) {
                Ok(0) => return Ok(None),
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A CPU that was never online has no buffer.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENODEV) =>
                {
                    return Ok(None);
                }
                Err(error) => {
                    let path = format!("per_cpu/cpu{cpu}/trace_pipe_raw");
                    return Err(TraceError::file(
                        Path::new(&path),
                        error,
                        "the trace cannot be read",
                    ));
                }
            }
        }
    }

    /// Stops watching; the error is that of the first look that failed.
    pub(crate) fn finish(mut self) -> Result<Report, TraceError> {
        let before = cpu_time();
        let now = facts::now();
        self.instance.stop();
        if self.problem.is_none() {
            self.problem = self.try_pass(Duration::ZERO).err();
        }
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let dropped = self
            .buffers
            .iter()
            .map(|(cpu, _)| self.instance.dropped(*cpu));
        self.judge.counts.lost += dropped.sum::<u64>();
        self.cost += cpu_time().saturating_sub(before);
        let Judge {
            mut machine,
            rules,
            counts,
        } = self.judge;
        let wasted = machine.finish(now);
        let (overflowed, tasks_read) = (machine.overflowed, machine.reads);
        let rules = rules.finish(now);
        let mut by_cpu = std::mem::take(&mut machine.latencies);
        Ok(Report {
            began: self.began,
            wall: now.saturating_sub(self.began),
            cpus: self.buffers.len(),
            cpu_time: self.cost,
            setup_cpu_time: self.setup,
            buffer_kib: self.instance.buffer_kib,
            fullest_pct: self.fullest,
            counts,
            overflowed,
            looks: self.looks,
            tasks_read,
            wasted,
            by_cpu: std::mem::take(&mut by_cpu.by_cpu),
            by_task: by_cpu.into_tasks(),
            rules,
            limits: crate::Checks::NONE,
        })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Judge {
    fn take(&mut self, item: Item) {
        match item {
            Item::Event(event) => self.event(&event),
            Item::Lost {
                cpu,
                from,
                to,
                count,
            } => {
                self.counts.lost += count;
                self.machine.lost(cpu, from, to);
                self.rules.lost();
            }
        }
    }

    fn event(&mut self, event: &Event) {
        self.counts.events += 1;
        match event.what {
            What::Switch { .. } => self.counts.switches += 1,
            What::Wakeup { .. } => self.counts.wakeups += 1,
            What::Migrate { .. } => self.counts.migrations += 1,
            What::Call(_) => self.counts.calls += 1,
            What::Hotplug { .. } | What::Affinity { .. } => {}
        }
        self.machine.take(event);
        self.rules.take(event);
    }
}

/// Whether a descriptor can be read now.
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        fd,
        rustix::event::PollFlags::IN,
    )];
    let at_once = rustix::event::Timespec::default();
    rustix::event::poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// The time that a page begins with.
fn page_time(page: &[u8]) -> Duration {
    let time = page.get(..8).and_then(|bytes| bytes.try_into().ok());
    Duration::from_nanos(time.map_or(0, u64::from_le_bytes))
}

/// The list of CPUs in that file of `/sys/devices/system/cpu`.
fn cpu_list(file: &str) -> Option<Vec<u32>> {
    let text = fs::read_to_string(format!("/sys/devices/system/cpu/{file}")).ok()?;
    let cpus: CpuSet = text.trim().parse().ok()?;
    Some(cpus.iter().collect())
}

/// Makes the calling thread run on each CPU in turn.
fn visit(cpus: &[u32]) {
    let Ok(before) = sched_getaffinity(None) else {
        return;
    };
    for cpu in cpus {
        let mut one = rustix::thread::CpuSet::new();
        if (*cpu as usize) < rustix::thread::CpuSet::MAX_CPU {
            one.set(*cpu as usize);
            // A cpuset may forbid it.
            let _ = sched_setaffinity(None, &one);
        }
    }
    let _ = sched_setaffinity(None, &before);
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
