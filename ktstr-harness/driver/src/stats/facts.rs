//! What the analysis keeps of a record: a few hundred bytes of some ten thousand.

use std::collections::BTreeMap;

use ktstr_core::record::{MetricDefinition, Record, SchedulerExit, Sidecar, Standing, Timings};
use ktstr_core::{CaseName, Outcome, Topology};

/// Findings of one record that are kept: the first ones.
const MOST_REASONS: usize = 3;

/// Bytes of one finding that are kept.
const MOST_BYTES: usize = 400;

/// What the analysis needs of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    /// The test: its function, or `verifier/{scheduler}` for the cells of a scheduler.
    pub(super) test: String,
    /// The test target, to tell functions of one name apart.
    pub(super) target: Option<String>,
    pub(super) case: String,
    pub(super) path: String,
    pub(super) started: String,
    /// `base`, or the preset.
    pub(super) variant: String,
    pub(super) is_gauntlet: bool,
    pub(super) topology: Option<String>,
    /// CPUs of the machine; 0 without one.
    pub(super) cpus: u32,
    pub(super) scheduler: String,
    pub(super) kernel: Option<String>,
    pub(super) commit: Option<String>,
    /// What decided its outcome.
    pub(super) why: Vec<String>,
    pub(super) metrics: BTreeMap<String, f64>,
    /// Those that programs of the test measure.
    pub(super) definitions: Vec<MetricDefinition>,
    pub(super) timings: Timings,
    pub(super) exit: Option<SchedulerExit>,
    pub(super) restarts: u64,
    pub(super) faults: Vec<Fault>,
    /// Verified instructions by program.
    pub(super) programs: BTreeMap<String, u64>,
}

/// A line of the kernel against itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) line: String,
    pub(super) allowed: bool,
    pub(super) at_boot: bool,
}

impl Facts {
    pub(super) fn of(record: &Record) -> Self {
        let Record { sidecar, path, .. } = record;
        let name = sidecar.case.parse::<CaseName>();
        let is_cell = sidecar.verifier.is_some() || matches!(name, Ok(CaseName::Verifier { .. }));
        let test = if is_cell {
            format!("{}/{}", CaseName::VERIFIER, sidecar.scheduler)
        } else {
            sidecar.test.clone()
        };
        Self {
            standing: Standing::of(record),
            test,
            target: sidecar.target.clone().filter(|_| !is_cell),
            case: sidecar.case.clone(),
            path: path.display().to_string(),
            started: sidecar.started.clone(),
            variant: sidecar.variant.clone(),
            is_gauntlet: matches!(name, Ok(CaseName::Gauntlet { .. })),
            topology: sidecar.topology.map(|topology| topology.to_string()),
            cpus: sidecar.topology.map_or(0, Topology::cpus),
            scheduler: sidecar.scheduler.clone(),
            kernel: kernel_of(sidecar),
            commit: sidecar.project_commit.clone(),
            why: why(sidecar),
            metrics: finite(&sidecar.metrics),
            definitions: sidecar.metric_definitions.clone(),
            timings: sidecar.timings,
            exit: exit(sidecar),
            restarts: sidecar.scheduler_restarts,
            faults: faults(sidecar),
            programs: programs(sidecar),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.standing.outcome
    }
}

/// The kernel's label, else its version.
pub(super) fn kernel_of(sidecar: &Sidecar) -> Option<String> {
    let label = sidecar.kernel_label.as_ref().map(ToString::to_string);
    label.or_else(|| sidecar.kernel_version.clone())
}

/// Verified instructions by program. The kernel keeps 15 bytes of a name: of two that it makes one, the larger counts.
pub(super) fn programs(sidecar: &Sidecar) -> BTreeMap<String, u64> {
    let mut programs = BTreeMap::new();
    for program in sidecar.verifier.iter().flat_map(|stats| &stats.programs) {
        if let Some(insns) = program.verified_insns {
            let most = programs.entry(program.name.clone()).or_insert(insns);
            *most = insns.max(*most);
        }
    }
    programs
}

/// What decided, without passes: why a skip was one, what failed.
fn why(sidecar: &Sidecar) -> Vec<String> {
    if sidecar.verdict.outcome() == Outcome::Pass {
        return Vec::new();
    }
    let decisive = sidecar.verdict.decisive().take(MOST_REASONS);
    let is_skip = sidecar.verdict.outcome() == Outcome::Skip;
    decisive
        .map(|detail| {
            shortened(&if is_skip {
                detail.message.clone()
            } else {
                detail.to_string()
            })
        })
        .collect()
}

fn shortened(text: &str) -> String {
    ktstr_core::text::cut(&ktstr_core::text::line(text), MOST_BYTES)
}

fn finite(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let finite = metrics.iter().filter(|(_, value)| value.is_finite());
    finite.map(|(name, value)| (name.clone(), *value)).collect()
}

/// The exit of its scheduler. Records of earlier versions have it in the words of a finding.
fn exit(sidecar: &Sidecar) -> Option<SchedulerExit> {
    if sidecar.scheduler_exit.is_some() {
        return sidecar.scheduler_exit.clone();
    }
    let told = |message: &str| {
        let from = &message[message.find("SCX_EXIT_")?..];
        let end = from.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        let (kind, rest) = from.split_at(end.unwrap_or(from.len()));
        let (reason, rest) = match rest.strip_prefix(" (").and_then(|it| it.split_once(')')) {
            Some((reason, rest)) => (reason, rest),
            None => ("", rest),
        };
        Some(SchedulerExit {
            kind: kind.to_owned(),
            reason: shortened(reason),
            message: shortened(rest.trim_start_matches([':', ' '])),
        })
    };
    sidecar
        .verdict
        .details()
        .iter()
        .find_map(|detail| told(&detail.message))
}

fn faults(sidecar: &Sidecar) -> Vec<Fault> {
    let mut faults: Vec<Fault> = sidecar
        .kernel_warnings
        .iter()
        .map(|warning| Fault {
            line: without_numbers(&shortened(&warning.line)),
            allowed: warning.allowed,
            at_boot: warning.at_boot,
        })
        .collect();
    let taint = sidecar
        .taint
        .as_ref()
        .filter(|taint| !taint.added.is_empty());
    faults.extend(taint.map(|taint| Fault {
        line: format!("taint {}", shortened(&taint.added)),
        allowed: false,
        at_boot: false,
    }));
    faults
}

/// The same line for the same place: which CPU and process it was does not matter.
fn without_numbers(line: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in line.split(' ') {
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_named = words
            .last()
            .is_some_and(|before| ["CPU:", "PID:"].contains(before));
        words.push(if is_number && is_named { "N" } else { word });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;

    use super::*;

    #[test]
    fn old_records_tell_the_exit_in_a_finding() {
        let told = |message: &str| {
            exit(&Sidecar::new(
                "a",
                "ktstr/a",
                Verdict::fail("scheduler", message),
            ))
        };
        let stall = told(
            "the kernel ejected it: SCX_EXIT_ERROR_STALL (runnable task stall): a[7] failed to run for 3s",
        )
        .unwrap();
        assert_eq!(stall.kind, "SCX_EXIT_ERROR_STALL");
        assert_eq!(stall.reason, "runnable task stall");
        assert_eq!(stall.message, "a[7] failed to run for 3s");
        assert_eq!(told("SCX_EXIT_ERROR").unwrap().kind, "SCX_EXIT_ERROR");
        assert_eq!(told("SCX_EXIT_UNREG (cut").unwrap().reason, "");
        assert_eq!(told("max_gap_ms: 3 > 2"), None);
    }

    #[test]
    fn a_warning_is_told_by_its_place() {
        let line = "WARNING: CPU: 12 PID: 77 at kernel/sched/ext.c:12 x+0x1/0x2";
        let expected = "WARNING: CPU: N PID: N at kernel/sched/ext.c:12 x+0x1/0x2";
        assert_eq!(without_numbers(line), expected);
        assert_eq!(without_numbers("12 CPU: x"), "12 CPU: x");
    }
}
