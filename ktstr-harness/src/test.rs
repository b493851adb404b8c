//! A declared test, as data.

use std::fmt;
use std::time::Duration;

use ktstr_core::{Constraints, Topology};

use crate::map_write::MapWrite;
use crate::runner::PostVm;
use crate::{AssertResult, Checks, Ctx, Payload, Result, Scheduler};

/// A test function.
pub type Body = fn(&Ctx) -> Result<AssertResult>;

/// A test as `#[ktstr_test]` declares it.
#[derive(Clone, Copy)]
pub struct TestCase {
    /// Name of the function.
    pub name: &'static str,
    /// Path of the module that it is in, from the crate's name on (`module_path!`); empty where nobody says.
    pub module: &'static str,
    /// Where it is declared.
    pub location: Location,
    /// The function.
    pub body: Body,
    /// What the guest is scheduled by.
    pub scheduler: &'static Scheduler,
    /// Arguments of the scheduler's program, behind its own.
    pub extra_sched_args: &'static [&'static str],
    /// Content of the file that the scheduler is declared to take ([`Scheduler::config_file_def`]).
    pub config: Option<&'static str>,
    /// Time after which sched_ext ejects a scheduler that leaves a task waiting, in seconds; the scheduler's
    /// own where nothing is said.
    pub watchdog_timeout_s: Option<u32>,
    /// The scheduler must be ejected with an error that contains this; anything else is a failure.
    pub expect_scx_bpf_error_contains: Option<&'static str>,
    /// Shape of the machine of the base variant.
    pub topology: Topology,
    /// Gauntlet presets that the test accepts.
    pub constraints: Constraints,
    /// Guest memory in MiB, a lower bound.
    pub memory_mib: u32,
    /// How long the scenario runs, in seconds.
    pub duration_s: u32,
    /// What the run is judged by.
    pub checks: Checks,
    /// The test must fail: a failure passes and a clean pass fails.
    pub expect_err: bool,
    /// An inconclusive ending passes.
    pub allow_inconclusive: bool,
    /// Reports of the kernel against itself, such as `WARNING: CPU: …`, that do not fail the test: those whose line
    /// contains one of these.
    pub allow_kernel_warnings: &'static [&'static str],
    /// The kernel may end the scheduler because of CPU hotplug, where its program starts it again.
    pub allow_restarts: bool,
    /// Whether it is run again, watched, when its scheduler dies; see [`crate::runner::AutoRepro`].
    pub auto_repro: bool,
    /// The machine gets host CPUs of its own, where the host can give them, and the test is skipped elsewhere.
    pub performance_mode: bool,
    /// The test says that it needs no performance mode; it cannot ask for both.
    pub no_perf_mode: bool,
    /// How many host CPUs the machine may use outside performance mode; one more than its own, or what there is,
    /// where nothing is said.
    pub cpu_budget: Option<u32>,
    /// Whether the guest kernel places itself at random.
    pub kaslr: bool,
    /// The body runs on the host, without a machine.
    pub host_only: bool,
    /// Runs only when ignored tests are asked for.
    pub ignore: bool,
    /// Host files that the guest finds below `/include-files/`.
    pub extra_include_files: &'static [&'static str],
    /// The program that the test is about.
    pub payload: Option<&'static Payload>,
    /// Programs that run beside it.
    pub workloads: &'static [&'static Payload],
    /// What is written into the scheduler's maps while the test runs.
    pub bpf_map_write: &'static [MapWrite],
    /// Called on the host when the machine is gone.
    pub post_vm: Option<PostVm>,
    /// The machine must be gone so many milliseconds after its guest has reported.
    pub cleanup_budget_ms: Option<u32>,
}

/// A place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// File, as the compiler was given it.
    pub file: &'static str,
    /// Line of the attribute.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for TestCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCase")
            .field("name", &self.name)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl TestCase {
    /// A test that says nothing but its name: one LLC of two cores, twelve seconds, no checks.
    ///
    /// `#[ktstr_test]` starts from this value and sets what the attribute names.
    #[must_use]
    pub const fn new(name: &'static str, location: Location, body: Body) -> Self {
        Self {
            name,
            module: "",
            location,
            body,
            scheduler: &Scheduler::EEVDF,
            extra_sched_args: &[],
            config: None,
            watchdog_timeout_s: None,
            expect_scx_bpf_error_contains: None,
            topology: Scheduler::EEVDF.base_topology(),
            constraints: Scheduler::EEVDF.base_constraints(),
            memory_mib: 256,
            duration_s: 12,
            checks: Checks::NONE,
            expect_err: false,
            allow_inconclusive: false,
            allow_kernel_warnings: &[],
            allow_restarts: false,
            auto_repro: true,
            performance_mode: false,
            no_perf_mode: false,
            cpu_budget: None,
            kaslr: true,
            host_only: false,
            ignore: false,
            extra_include_files: &[],
            payload: None,
            workloads: &[],
            bpf_map_write: &[],
            post_vm: None,
            cleanup_budget_ms: None,
        }
    }

    /// The programs that it runs: `payload` and `workloads`.
    pub fn programs(&self) -> impl Iterator<Item = &'static Payload> + use<> {
        self.payload
            .into_iter()
            .chain(self.workloads.iter().copied())
    }

    /// How long the scenario runs.
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_s as u64)
    }

    /// How long the body may take in all, set-up and judging included, before the guest ends it.
    pub const fn body_limit(&self) -> Duration {
        Duration::from_secs(2 * self.duration_s as u64 + 15)
    }

    /// Whether the test runs only when ignored tests are asked for: declared so, or a `demo_*` test.
    pub fn is_ignored(&self) -> bool {
        self.ignore || self.name.starts_with("demo_")
    }
}
