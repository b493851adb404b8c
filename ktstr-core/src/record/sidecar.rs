//! The record of a test variant.

mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub use read::SidecarError;

use super::cgroup_stats::CgroupStats;
use super::program::{MetricDefinition, ProgramRun};
use super::sampled::{Reading, Sampled};
use super::setup::{KernelBuild, Limit, MachineSetup, SchedulerBuild};
use super::traced::Traced;
use super::verifier::VerifierStats;
use crate::host::HostContext;
use crate::{KernelLabel, KernelWarning, Taint, Topology, Verdict};

/// The record of one run of a test variant: `{test}-{variant hash}.ktstr.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Version of this layout, [`Sidecar::SCHEMA`].
    pub schema: u32,
    /// Name of the test function.
    pub test: String,
    /// Full name of the test case, such as `gauntlet/steady/8cpu-2llc-smt`.
    pub case: String,
    /// The run that it belongs to; empty in records of earlier versions.
    #[serde(default)]
    pub epoch: String,
    /// Cargo package of the test target that holds the test.
    #[serde(default)]
    pub package: Option<String>,
    /// The crate name of that test target: underscores for hyphens.
    #[serde(default)]
    pub target: Option<String>,
    /// Source file of that test target.
    #[serde(default)]
    pub source: Option<String>,
    /// Nextest's id of that test target; absent if nextest did not run the test.
    #[serde(default)]
    pub binary_id: Option<String>,
    /// Number of the attempt, from 1; greater than 1 if nextest retried the test.
    #[serde(default = "first")]
    pub attempt: u32,
    /// Number of the iteration of a stress run, from 1; absent in other runs.
    #[serde(default)]
    pub stress: Option<u32>,
    /// `base`, or the name of the gauntlet preset.
    pub variant: String,
    /// Shape of the machine; absent for a test that ran on the host.
    pub topology: Option<Topology>,
    /// Scheduler under test; `eevdf` is the kernel's own.
    pub scheduler: String,
    /// Version of the kernel under test; absent for a test that ran on the host.
    pub kernel_version: Option<String>,
    /// Label of the kernel under test.
    pub kernel_label: Option<KernelLabel>,
    /// The build of the kernel; absent if it is not one of the kernel cache, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_build: Option<KernelBuild>,
    /// The build of the scheduler; absent for the kernel's default scheduler, where the run ended before there was a
    /// program, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_build: Option<SchedulerBuild>,
    /// The machine; absent if none ran, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineSetup>,
    /// The checks that the test was judged by, by name; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, Limit>,
    /// The backend of the machine, such as `qemu`; absent if none ran.
    pub backend: Option<String>,
    /// Whether the machine ran in performance mode; absent if none ran.
    #[serde(default)]
    pub performance_mode: Option<bool>,
    /// Whether the test is declared with `performance_mode`; absent in records of earlier versions and of verifier cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance_mode_declared: Option<bool>,
    /// The result, with every finding.
    pub verdict: Verdict,
    /// Statistics of the workers of each cgroup.
    pub cgroups: Vec<CgroupStats>,
    /// Values by the names of their [metrics](crate::Metric).
    pub metrics: BTreeMap<String, f64>,
    /// What the metrics are that programs of the test measure; the others are ktstr's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric_definitions: Vec<MetricDefinition>,
    /// The programs that the test ran, in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramRun>,
    /// Samples of the kernel's scheduling; absent if no machine ran, or if it did not reach the end of the test.
    #[serde(default)]
    pub sampled: Option<Sampled>,
    /// What a trace of the scheduler showed, or why there is none; absent if no check asked for a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traced: Option<Reading<Traced>>,
    /// Statistics of the BPF verifier; only in records of verifier-sweep cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierStats>,
    /// Lines in which the kernel reported faults of its own, including those of its boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_warnings: Vec<KernelWarning>,
    /// The kernel's taint flags; absent if no machine ran, or if it did not reach the end of the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<Taint>,
    /// Number of kernel messages that were overwritten before they could be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kernel_messages_lost: u64,
    /// How often the kernel ejected the scheduler and its program restarted it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scheduler_restarts: u64,
    /// Why the kernel ended the scheduler; absent if it did not, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_exit: Option<SchedulerExit>,
    /// How long each phase took.
    pub timings: Timings,
    /// The result of the second run of a test whose scheduler died: `reproduced`, `not reproduced: …` or
    /// `could not run: …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_repro: Option<String>,
    /// The host of the run.
    pub host: HostContext,
    /// Commit of the project under test.
    pub project_commit: Option<String>,
    /// Who asked for the run.
    pub run_source: RunSource,
    /// Time at which the test process started, RFC 3339 in UTC.
    pub started: String,
    /// Time at which this record was written, RFC 3339 in UTC.
    pub finished: String,
}

/// The attempt in records that lack the field.
const fn first() -> u32 {
    1
}

// Serde passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// A CI system (`KTSTR_CI`).
    Ci,
    /// A person.
    Local,
}

/// Why the kernel ended a scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerExit {
    /// The kernel's name for the kind of exit, such as `SCX_EXIT_ERROR_STALL`.
    pub kind: String,
    /// What the kernel prints for that kind, such as `runnable task stall`.
    pub reason: String,
    /// What exactly was wrong; empty if the kernel does not say.
    pub message: String,
}

/// How long each phase of a run took, in seconds of host time; absent if the phase was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Waiting for host CPUs.
    pub wait_s: Option<f64>,
    /// From starting the machine until the guest was ready.
    pub boot_s: Option<f64>,
    /// From there until the guest reported.
    pub scenario_s: Option<f64>,
    /// From the report until the machine was gone.
    pub teardown_s: Option<f64>,
}

impl Sidecar {
    /// The layout this version writes and reads.
    pub const SCHEMA: u32 = 1;

    /// Suffix of the file name of every sidecar.
    pub const SUFFIX: &'static str = ".ktstr.json";

    /// Suffix of the file with the further evidence of a failed variant.
    pub const FAILURE_DUMP_SUFFIX: &'static str = ".failure-dump.json";

    /// Maximum length of a test's name in file names, which are limited to 255 bytes.
    const STEM_TEST_BYTES: usize = 120;

    /// A record of the base variant that only has a verdict: no machine, no measurements, no times.
    pub fn new(test: &str, case: &str, verdict: Verdict) -> Self {
        Self {
            schema: Self::SCHEMA,
            test: test.to_owned(),
            case: case.to_owned(),
            epoch: String::new(),
            package: None,
            target: None,
            source: None,
            binary_id: None,
            attempt: first(),
            stress: None,
            variant: "base".to_owned(),
            topology: None,
            scheduler: "eevdf".to_owned(),
            kernel_version: None,
            kernel_label: None,
            kernel_build: None,
            scheduler_build: None,
            machine: None,
            thresholds: BTreeMap::new(),
            backend: None,
            performance_mode: None,
            performance_mode_declared: None,
            verdict,
            cgroups: Vec::new(),
            metrics: BTreeMap::new(),
            metric_definitions: Vec::new(),
            programs: Vec::new(),
            sampled: None,
            traced: None,
            verifier: None,
            kernel_warnings: Vec::new(),
            taint: None,
            kernel_messages_lost: 0,
            scheduler_restarts: 0,
            scheduler_exit: None,
            timings: Timings::default(),
            auto_repro: None,
            host: HostContext::default(),
            project_commit: None,
            run_source: RunSource::Local,
            started: String::new(),
            finished: String::new(),
        }
    }

    /// `{test}-{16 hex digits}`: the prefix of the file names of this variant.
    ///
    /// The hash covers what identifies a variant: test target, case, topology, scheduler and kernel. It is the same in
    /// every run. In the test's name, `/` and control characters become `_`, and a name that is too long is cut.
    pub fn stem(&self) -> String {
        let kernel = self.kernel_label.as_ref().map_or("", KernelLabel::as_str);
        let topology = self.topology.map(|t| t.to_string()).unwrap_or_default();
        let [package, target, source] = [&self.package, &self.target, &self.source]
            .map(|part| part.as_deref().unwrap_or_default());
        let variant = [
            package,
            target,
            source,
            &self.case,
            &topology,
            &self.scheduler,
            kernel,
        ];
        let hash = xxh3_64(variant.join("\0").as_bytes());
        let mut test = String::new();
        for c in self.test.chars() {
            if test.len() + c.len_utf8() > Self::STEM_TEST_BYTES {
                break;
            }
            test.push(if c == '/' || c.is_control() { '_' } else { c });
        }
        format!("{test}-{hash:016x}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    pub(crate) fn example(test: &str) -> Sidecar {
        Sidecar {
            topology: Some(Topology::constant(1, 2, 2, 1)),
            kernel_version: Some("6.12.1".to_owned()),
            kernel_label: Some(KernelLabel::from_version("6.12.1")),
            backend: Some("qemu".to_owned()),
            cgroups: vec![CgroupStats {
                name: "a".to_owned(),
                ..CgroupStats::default()
            }],
            metrics: BTreeMap::from([("max_gap_ms".to_owned(), 3.5)]),
            started: "2026-01-01T00:00:00Z".to_owned(),
            finished: "2026-01-01T00:00:09Z".to_owned(),
            ..Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass())
        }
    }

    #[test]
    fn round_trips_and_tells_variants_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let one = example("steady");
        fs::write(&path, serde_json::to_vec(&one).unwrap()).unwrap();
        assert_eq!(Sidecar::read(&path).unwrap(), one);
        let other = Sidecar {
            topology: Some(Topology::constant(1, 1, 2, 1)),
            ..one.clone()
        };
        assert_ne!(one.stem(), other.stem());
        assert_eq!(one.stem().len(), "steady-".len() + 16);
    }

    #[test]
    fn tests_of_one_name_in_two_targets_are_told_apart() {
        let of = |package: &str, target: &str, source: &str| {
            let part = |text: &str| Some(text.to_owned());
            Sidecar {
                package: part(package),
                target: part(target),
                source: part(source),
                ..example("steady")
            }
            .stem()
        };
        let stems: std::collections::BTreeSet<_> = [
            example("steady").stem(),
            of("user", "user", "tests/user.rs"),
            // The package's own unit tests.
            of("user", "user", "src/lib.rs"),
            of("user", "more", "tests/more.rs"),
            of("other", "user", "tests/user.rs"),
        ]
        .into();
        assert_eq!(stems.len(), 5);
    }

    #[test]
    fn any_name_makes_a_file_name() {
        let long = "\u{e4}".repeat(300);
        for test in ["a/../b\n", long.as_str()] {
            let stem = example(test).stem();
            assert!(!stem.contains(['/', '\n']) && stem.len() < 140, "{stem}");
        }
    }
}
