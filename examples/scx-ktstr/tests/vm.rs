//! The scheduler in machines: that it schedules, and that each of its faults is one.

// Tests have one signature.
#![allow(clippy::unnecessary_wraps)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_harness::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

ktstr_harness::main!();

/// Registers functions as tests in machines that have the program.
///
/// `#[ktstr_test]` takes literals for `extra_include_files`, and cargo alone knows where it put the program.
macro_rules! with_program {
    ($($name:ident: $cpus:literal CPUs, $seconds:literal s;)*) => {$(
        const _: () = {
            const CASE: ktstr_harness::TestCase = ktstr_harness::TestCase {
                topology: Topology::constant(1, 1, $cpus, 1),
                duration_s: $seconds,
                extra_include_files: &[env!("CARGO_BIN_EXE_scx-ktstr")],
                ..ktstr_harness::TestCase::new(
                    stringify!($name),
                    ktstr_harness::test::Location { file: file!(), line: line!() },
                    |ctx| if cfg!(bpf_left_out) {
                        Ok(AssertResult::skip("scx-ktstr was built without clang, so without its scheduler"))
                    } else {
                        $name(ctx)
                    },
                )
            };
            ktstr_harness::private::inventory::submit! {
                ktstr_harness::registry::Registered(CASE)
            }
        };
    )*};
}

// Seconds are those of scenarios; without one they only set the limit of the body.
with_program! {
    schedules_and_stops_when_told: 2 CPUs, 2 s;
    weights_are_shares: 1 CPUs, 4 s;
    a_stall_is_ejected: 2 CPUs, 4 s;
    a_wrong_cpu_is_ejected: 2 CPUs, 1 s;
    a_cpu_that_is_not_there_is_ejected: 1 CPUs, 1 s;
    an_error_is_ejected: 2 CPUs, 2 s;
    burning_slows_nobody_to_death: 2 CPUs, 1 s;
    the_starved_are_not_forgotten: 2 CPUs, 6 s;
    the_rejected_never_attaches: 2 CPUs, 20 s;
    the_long_way_is_verified: 2 CPUs, 20 s;
    may_never_attach: 2 CPUs, 20 s;
    ends_that_nobody_asked_for: 2 CPUs, 20 s;
    more_output_than_anybody_reads: 2 CPUs, 20 s;
}

/// Against hanging.
const PATIENCE: Duration = Duration::from_secs(25);

fn schedules_and_stops_when_told(ctx: &Ctx) -> Result<AssertResult> {
    let scheduler = Scheduler::enabled(ctx, &["--slice-us", "5000", "--timeout-ms", "20000"]);
    let ops = fs::read_to_string("/sys/kernel/sched_ext/root/ops")?;
    assert_eq!(ops.trim(), "ktstr");
    let result = execute_defs(ctx, &[ctx.cgroup_def("left"), ctx.cgroup_def("right")])?;
    for group in &result.cgroups {
        assert!(group.iterations > 0, "{group:?}");
    }
    assert_eq!(state(), "enabled");
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "scx-ktstr: attached, with slices of 5000 us",
            "scx-ktstr: exit kind 64 (unregistered from user space), code 0, message \"\"",
        ]
    );
    assert_eq!(state(), "disabled");
    Ok(result)
}

/// On one CPU, where the queue decides.
fn weights_are_shares(ctx: &Ctx) -> Result<AssertResult> {
    let scheduler = Scheduler::enabled(ctx, &["--slice-us", "2000"]);
    let group = |name, nice| ctx.cgroup_def(name).workers(1).nice(nice);
    let result = execute_defs(ctx, &[group("much", 0), group("little", 5)])?;
    let [much, little] = [&result.cgroups[0], &result.cgroups[1]].map(|group| group.cpu_time_s);
    // Weights 1024 and 335 of the kernel's sched_prio_to_weight make three to one, and none makes one to one. A host that
    // is busy holds the machine up now and then, at the cost of whoever runs: half a second of that may be uneven.
    let ratio = much / little;
    assert!((1.5..8.0).contains(&ratio), "{much} s, {little} s");
    assert_eq!(scheduler.stop().0.code(), Some(0));
    Ok(result)
}

fn a_stall_is_ejected(ctx: &Ctx) -> Result<AssertResult> {
    ejected(
        ctx,
        &["--stall-after", "300", "--timeout-ms", "1000"],
        "kind 1026 (runnable task stall)",
        "failed to run for",
    )
}

fn a_wrong_cpu_is_ejected(ctx: &Ctx) -> Result<AssertResult> {
    ejected(
        ctx,
        &["--wrong-cpu"],
        "kind 1024 (runtime error)",
        "not allowed for",
    )
}

/// Where all tasks may use all CPUs, as on one, the wrong CPU is none of the machine's.
fn a_cpu_that_is_not_there_is_ejected(ctx: &Ctx) -> Result<AssertResult> {
    ejected(
        ctx,
        &["--wrong-cpu"],
        "kind 1024 (runtime error)",
        "invalid CPU",
    )
}

fn an_error_is_ejected(ctx: &Ctx) -> Result<AssertResult> {
    let tracing = Path::new("/sys/kernel/tracing");
    fs::write(tracing.join("events/sched_ext/sched_ext_dump/enable"), "1")?;
    let result = ejected(
        ctx,
        &["--error-after", "20"],
        "kind 1025 (scx_bpf_error)",
        "scx-ktstr: asked to fail after 20 insertions",
    )?;
    // The kernel's dump has the scheduler's own line.
    let dump = fs::read_to_string(tracing.join("trace"))?;
    assert!(dump.contains(" insertions, "), "{dump}");
    Ok(result)
}

fn burning_slows_nobody_to_death(ctx: &Ctx) -> Result<AssertResult> {
    const BURN_US: u64 = 200;
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1")?;
    let scheduler = Scheduler::enabled(ctx, &["--burn-us", &BURN_US.to_string()]);
    let result = execute_defs(ctx, &[ctx.cgroup_def("all").workers(4)])?;
    assert!(result.cgroups[0].iterations > 0);
    // One of the programs, that runs often, takes as long as it was told to. It runs for whoever wakes up, us too.
    within_reason("fifty insertions that take their time", || {
        let runs = scheduler.program_numbers("run_cnt:");
        let times = scheduler.program_numbers("run_time_ns:");
        let burns = |(&count, &ns): (&u64, &u64)| count > 50 && ns / count > BURN_US * 900;
        runs.iter().zip(&times).any(burns).then_some(())
    });
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    Ok(result)
}

fn the_starved_are_not_forgotten(ctx: &Ctx) -> Result<AssertResult> {
    let args = ["--starve", "starved", "--timeout-ms", "20000"];
    let scheduler = Scheduler::enabled(ctx, &args);
    let result = execute_defs(ctx, &[ctx.cgroup_def("starved"), ctx.cgroup_def("fed")])?;
    let [starved, fed] = [&result.cgroups[0], &result.cgroups[1]];
    assert!(
        starved.cpu_time_s < fed.cpu_time_s / 3.0,
        "{starved:?} {fed:?}"
    );
    // Its turns are four seconds apart.
    assert!(starved.max_gap_ms > 2000.0, "{starved:?}");
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    Ok(result)
}

fn the_rejected_never_attaches(ctx: &Ctx) -> Result<AssertResult> {
    let (status, said) = Scheduler::start(ctx, &["--fail-verify"]).wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("invalid mem access 'scalar'"), "{said}");
    assert!(
        said.contains("scx-ktstr: loading the BPF object: "),
        "{said}"
    );
    assert_eq!(state(), "disabled");
    Ok(AssertResult::pass())
}

fn the_long_way_is_verified(ctx: &Ctx) -> Result<AssertResult> {
    let scheduler = Scheduler::enabled(ctx, &["--verifier-loop"]);
    let walked = scheduler.program_numbers("verified_insns:");
    assert!(walked.iter().any(|&count| count > 20_000), "{walked:?}");
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    Ok(AssertResult::pass())
}

fn may_never_attach(ctx: &Ctx) -> Result<AssertResult> {
    let mut scheduler = Scheduler::start(ctx, &["--never-attach"]);
    scheduler.await_line("scx-ktstr: loaded, and not going to attach");
    assert_eq!(state(), "disabled");
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0), "{said}");

    let (status, said) = Scheduler::start(ctx, &["--exit-early", "42"]).wait();
    assert_eq!(status.code(), Some(42), "{said}");
    assert_eq!(state(), "disabled");
    Ok(AssertResult::pass())
}

fn ends_that_nobody_asked_for(ctx: &Ctx) -> Result<AssertResult> {
    let mut scheduler = Scheduler::enabled(ctx, &["--ignore-sigterm", "--fork"]);
    let heir = scheduler.await_line("scx-ktstr: left a child behind: ");
    let heir = heir
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    let process = Pid::from_child(&scheduler.child);
    scheduler.signal(Signal::TERM);
    within_reason("SIGTERM to arrive", || {
        (!has_signal(process, "ShdPnd:", Signal::TERM)).then_some(())
    });
    // It looks fifty times a second whether it is to stop, and sleeps in between.
    let sleeps =
        || status_of(process, "voluntary_ctxt_switches:").and_then(|n| n.parse::<u64>().ok());
    let before = sleeps().expect("it runs");
    within_reason("it to look whether it is to stop", || {
        let ended = scheduler.child.try_wait().expect("it is a child");
        assert_eq!(ended, None, "SIGTERM ended it");
        (sleeps()? > before + 50).then_some(())
    });
    assert_eq!(state(), "enabled");
    scheduler.signal(Signal::KILL);
    let (status, _) = scheduler.wait();
    assert_eq!(status.code(), None);
    // The kernel takes out of force whose program is gone.
    await_state("disabled");
    within_reason("the child to be ready for SIGTERM", || {
        has_signal(heir, "SigCgt:", Signal::TERM).then_some(())
    });
    kill_process(heir, Signal::TERM)?;
    within_reason("the child to sleep on", || {
        let state = status_of(heir, "State:").expect("SIGTERM ended it");
        let waits = has_signal(heir, "ShdPnd:", Signal::TERM);
        (!waits && state.starts_with('S')).then_some(())
    });
    assert_eq!(status_of(heir, "Name:").as_deref(), Some("scx-ktstr"));
    assert!(has_signal(heir, "SigCgt:", Signal::TERM));
    kill_process(heir, Signal::KILL)?;
    Ok(AssertResult::pass())
}

fn more_output_than_anybody_reads(ctx: &Ctx) -> Result<AssertResult> {
    let scheduler = Scheduler::enabled(ctx, &["--flood-mib", "3"]);
    // In order: it is told to stop before it is done, and then looks.
    let (status, said) = scheduler.stop();
    assert_eq!(status.code(), Some(0));
    assert!(said.len() > 3 << 20, "{} bytes", said.len());
    assert!(
        said.lines()
            .last()
            .is_some_and(|line| line.starts_with("scx-ktstr: exit kind 64"))
    );
    Ok(AssertResult::pass())
}

/// The kernel ejects a scheduler with `args` for `reason`; its message has `message`.
fn ejected(ctx: &Ctx, args: &[&str], reason: &str, message: &str) -> Result<AssertResult> {
    let scheduler = Scheduler::start(ctx, args);
    // Confined workers of one CPU each, and more than there are CPUs.
    let group = |name, cpu| {
        let cpus = CpusetSpec::Exact([cpu].into_iter().collect());
        ctx.cgroup_def(name).cpuset(cpus)
    };
    let result = execute_defs(
        ctx,
        &[group("left", 0), group("right", ctx.topology().cpus() - 1)],
    )?;
    let (status, said) = scheduler.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    let exit = said
        .lines()
        .find_map(|line| line.strip_prefix("scx-ktstr: exit "));
    let exit = exit.unwrap_or_else(|| panic!("no exit line in {said}"));
    assert!(exit.starts_with(reason) && exit.contains(message), "{exit}");
    assert_eq!(state(), "disabled");
    let log = kernel_log()?;
    let ended = log
        .iter()
        .find(|line| line.contains("BPF scheduler \"ktstr\" disabled"));
    assert!(ended.is_some(), "{log:#?}");
    assert!(log.iter().any(|line| line.contains(message)), "{log:#?}");
    // Back under the kernel's own scheduler, work was done.
    for group in &result.cgroups {
        assert!(group.iterations > 0, "{group:?}");
    }
    Ok(result)
}

/// A running scheduler; dropping it kills it.
struct Scheduler {
    child: Child,
}

impl Scheduler {
    const OUTPUT: &str = "/tmp/scx-ktstr.out";

    fn start(ctx: &Ctx, args: &[&str]) -> Self {
        let output = File::create(Self::OUTPUT).expect("/tmp can be written");
        let child = Command::new(ctx.include_dir().join("scx-ktstr"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second descriptor"))
            .stderr(output)
            .spawn()
            .expect("the program can be started");
        Self { child }
    }

    /// One that is enabled.
    fn enabled(ctx: &Ctx, args: &[&str]) -> Self {
        let mut scheduler = Self::start(ctx, args);
        scheduler.await_line("scx-ktstr: attached");
        assert_eq!(state(), "enabled");
        scheduler
    }

    fn output() -> String {
        fs::read_to_string(Self::OUTPUT).expect("it was made")
    }

    /// The rest of a line that begins so.
    fn await_line(&mut self, start: &str) -> String {
        within_reason(start, || {
            let ended = self.child.try_wait().expect("it is a child");
            let output = Self::output();
            // A whole line: the writer may be in the midst of one.
            let mut lines = output
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let found = lines.find_map(|line| line.strip_prefix(start));
            assert!(
                found.is_some() || ended.is_none(),
                "{ended:?}, and no `{start}` in {output}"
            );
            found.map(str::to_owned)
        })
    }

    /// What `/proc/PID/fdinfo` says behind `label`, for each BPF program it has loaded.
    fn program_numbers(&self, label: &str) -> Vec<u64> {
        let fds = fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).expect("it runs");
        let infos = fds.filter_map(|fd| fs::read_to_string(fd.ok()?.path()).ok());
        let number = |info: String| {
            let value = info.lines().find_map(|line| line.strip_prefix(label))?;
            value.trim().parse().ok()
        };
        infos.filter_map(number).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped yet");
    }

    /// Its status and all it said, once it has ended by itself.
    fn wait(mut self) -> (ExitStatus, String) {
        let status = within_reason("the end of the program", || {
            self.child.try_wait().expect("it is a child")
        });
        (status, Self::output())
    }

    fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `/proc/PID/status` says behind `label`; nothing of a process that is gone.
fn status_of(process: Pid, label: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    Some(line.trim().to_owned())
}

/// Whether `signal` is in that set of the process: `SigCgt:` are those that it handles, `ShdPnd:` those on their way.
fn has_signal(process: Pid, set: &str, signal: Signal) -> bool {
    let set = status_of(process, set).and_then(|set| u64::from_str_radix(&set, 16).ok());
    set.is_some_and(|set| set & 1 << (signal.as_raw() - 1) != 0)
}

fn state() -> String {
    let state = fs::read_to_string(Path::new("/sys/kernel/sched_ext/state"));
    state.expect("a kernel with sched_ext").trim().to_owned()
}

fn await_state(wanted: &str) {
    within_reason(wanted, || (state() == wanted).then_some(()));
}

fn within_reason<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "in vain for `{what}`: {}",
            Scheduler::output()
        );
        sleep(Duration::from_millis(5));
    }
}

/// The kernel's messages: what comes behind the `;` of each record.
fn kernel_log() -> Result<Vec<String>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut kmsg = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open("/dev/kmsg")?;
    let mut messages = Vec::new();
    let mut record = vec![0; 8192];
    loop {
        match kmsg.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                messages.extend(text.split_once(';').map(|(_, message)| message.to_owned()));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
            // Overwritten before they were read: the next read goes on.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error.into()),
        }
    }
}
