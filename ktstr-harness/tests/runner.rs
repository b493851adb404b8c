//! The runner as a program embeds it: without environment variables, watched, cancelled.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use ktstr_core::host::{Host, HostCpus, Reservation};
use ktstr_core::{KernelLabel, Outcome};
use ktstr_harness::cases::{Case, NamedKernel};
use ktstr_harness::runner::{FailureArtifacts, RunEvent, RunObserver, Runner, Settings};
use ktstr_harness::test::Location;
use ktstr_harness::{AssertResult, TestCase};
use ktstr_vmm::{Backend, CancelToken};

#[path = "support/case.rs"]
mod case;
#[path = "../../ktstr-vmm/tests/support/processes.rs"]
mod processes;

/// Machines are told by their parent, which is this process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A test of the example `misbehave`, which is the guest; its body is there.
const fn of_example(name: &'static str) -> TestCase {
    let location = Location {
        file: file!(),
        line: line!(),
    };
    TestCase::new(name, location, |_| Ok(AssertResult::pass()))
}

static PASSES: TestCase = of_example("passes");
static NEVER_RETURNS: TestCase = of_example("never_returns");
static RETURNS_AN_ERROR: TestCase = of_example("returns_an_error");
static WANTS_CPUS: TestCase = TestCase {
    performance_mode: true,
    ..of_example("wants_cpus_of_its_own")
};

/// Emulated machines whose host CPUs are reserved in `lock_dir`.
fn settings(lock_dir: &Path) -> Settings {
    Settings {
        lock_dir: lock_dir.to_owned(),
        backend: Some(Backend::Qemu),
        ..Settings::new(Host::of_this_process(), case::example("misbehave"), "/")
    }
}

fn kernel() -> Option<NamedKernel> {
    let image: PathBuf = std::path::absolute(case::kernel()?).unwrap();
    let label = KernelLabel::from_path(&image, false);
    Some(NamedKernel { label, image })
}

/// What an observer was told, without what depends on the kernel and on time.
#[derive(Default)]
struct Seen {
    steps: Vec<&'static str>,
    console: usize,
    output: String,
}

impl RunObserver for Seen {
    fn event(&mut self, event: RunEvent<'_>) {
        self.steps.push(match event {
            RunEvent::WaitingForHostCpus => "waiting",
            RunEvent::MachineStarting { backend, .. } => {
                assert_eq!(backend, Backend::Qemu);
                "starting"
            }
            RunEvent::GuestReady { kernel_release } => {
                assert!(!kernel_release.is_empty());
                "ready"
            }
            RunEvent::BodyStarted => "body",
            RunEvent::Reported => "reported",
            RunEvent::Console(bytes) => {
                self.console += bytes.len();
                return;
            }
            RunEvent::BodyOutput(text) => {
                self.output.push_str(text);
                return;
            }
            RunEvent::Note(_) => return,
            _ => "other",
        });
    }
}

#[test]
fn an_observer_is_told_every_step_in_order() {
    let _alone = ALONE.lock();
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().unwrap();
    let runner = Runner::new(Settings {
        // A kernel that is not asked to says nothing but errors.
        verbose: true,
        ..settings(dir.path())
    });
    let case = Case::base(&PASSES, Some(kernel.clone()));
    let mut seen = Seen::default();
    let result = runner.run_case(&case, &mut seen, &CancelToken::new().unwrap());
    let verdict = &result.sidecar.verdict;
    assert_eq!(verdict.outcome(), Outcome::Pass, "{verdict:?}");
    assert!(!result.cancelled);
    assert_eq!(seen.steps, ["starting", "ready", "body", "reported"]);
    assert!(seen.output.contains("the body runs on 2 CPUs"));
    assert!(seen.console > 0);
    assert_eq!(result.sidecar.kernel_label, Some(kernel.label));
    assert_eq!(result.sidecar.case, "ktstr/passes");
}

#[test]
fn what_a_failure_leaves_is_read_back() {
    let _alone = ALONE.lock();
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().unwrap();
    let runner = Runner::new(settings(dir.path()));
    let case = Case::base(&RETURNS_AN_ERROR, Some(kernel));
    let ignore = &mut |_: RunEvent<'_>| {};
    let result = runner.run_case(&case, ignore, &CancelToken::new().unwrap());
    assert_eq!(result.sidecar.verdict.outcome(), Outcome::Fail);
    assert!(!result.artifacts.kernel_log.is_empty());
    let run = ktstr_core::record::RunDir::new(dir.path().join("run"), "1".to_owned());
    let record = run.write(&result.sidecar, Some(&result.artifacts)).unwrap();
    let name = record.file_name().unwrap().to_str().unwrap();
    let dump = name.replace(".ktstr.json", ".failure-dump.json");
    let read = FailureArtifacts::read(&record.with_file_name(dump)).unwrap();
    assert_eq!(read, result.artifacts);
}

#[test]
fn a_cancelled_run_ends_at_once_and_leaves_nothing() {
    let _alone = ALONE.lock();
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().unwrap();
    let runner = Runner::new(settings(dir.path()));
    let case = Case::base(&NEVER_RETURNS, Some(kernel));
    let token = CancelToken::new().unwrap();
    let (started, is_started) = std::sync::mpsc::channel();
    let me = std::process::id();
    let machines = || {
        processes::children(me)
            .into_iter()
            .filter(|pid| processes::is_qemu(*pid))
    };
    let mut reported = false;
    let result = thread::scope(|scope| {
        let (machines, token) = (&machines, &token);
        scope.spawn(move || {
            is_started.recv().unwrap();
            assert_eq!(machines().count(), 1);
            token.cancel();
        });
        let mut observer = |event: RunEvent<'_>| match event {
            RunEvent::BodyStarted => started.send(()).unwrap(),
            RunEvent::Reported => reported = true,
            _ => {}
        };
        runner.run_case(&case, &mut observer, token)
    });
    // Its body would have been ended after its limit, and that reported.
    assert!(result.cancelled && !reported);
    let sidecar = &result.sidecar;
    assert_eq!(sidecar.verdict.outcome(), Outcome::Inconclusive);
    assert_eq!(
        sidecar.verdict.details()[0].to_string(),
        "cancelled: the run was cancelled before it ended"
    );
    assert!(sidecar.timings.boot_s.is_some() && sidecar.timings.scenario_s.is_none());
    assert_eq!(machines().count(), 0);
    let places = HostCpus::read(Path::new("/")).unwrap().allowed.len();
    let free: Vec<_> = (0..places)
        .map(|_| Reservation::emulator(dir.path(), places, Duration::ZERO))
        .collect();
    assert!(free.iter().all(Result::is_ok), "{free:?}");
    // A run that waits for host CPUs, and one that has not begun.
    let waiting = CancelToken::new().unwrap();
    let (waits, it_waits) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let waiting = &waiting;
        scope.spawn(move || {
            it_waits.recv().unwrap();
            waiting.cancel();
        });
        let mut seen = Seen::default();
        let mut observer = |event: RunEvent<'_>| {
            if event == RunEvent::WaitingForHostCpus {
                waits.send(()).unwrap();
            }
            seen.event(event);
        };
        let result = runner.run_case(&case, &mut observer, waiting);
        assert!(result.cancelled);
        assert_eq!(seen.steps, ["waiting"]);
    });
    let mut seen = Seen::default();
    let result = runner.run_case(&case, &mut seen, &token);
    assert!(result.cancelled && seen.steps.is_empty());
    assert_eq!(result.sidecar.kernel_version, None);
}

#[test]
fn skips_are_failures_where_the_settings_say_so() {
    let _alone = ALONE.lock();
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().unwrap();
    let case = Case::base(&WANTS_CPUS, Some(kernel));
    for (no_skip_mode, outcome) in [(false, Outcome::Skip), (true, Outcome::Fail)] {
        let runner = Runner::new(Settings {
            no_skip_mode,
            ..settings(dir.path())
        });
        let ignore = &mut |_: RunEvent<'_>| {};
        let result = runner.run_case(&case, ignore, &CancelToken::new().unwrap());
        let verdict = result.sidecar.verdict;
        assert_eq!(verdict.outcome(), outcome, "{verdict:?}");
        assert!(
            verdict.details()[0]
                .message
                .contains("performance mode needs KVM")
        );
    }
}
