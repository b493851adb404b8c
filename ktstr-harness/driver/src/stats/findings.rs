//! What a person looks for beside verdicts: exits of schedulers, restarts, faults of the kernel, retries, skips.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ktstr_core::Outcome;
use serde::Serialize;

use super::facts::Facts;

/// Exits of a scheduler of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// The kernel's name for the kind, such as `SCX_EXIT_ERROR_STALL`.
    pub kind: String,
    /// What the kernel prints for it.
    pub reason: String,
    /// The scheduler.
    pub scheduler: String,
    /// Cases in which it was ended so.
    pub cases: usize,
    /// Those of them that passed: the test expects it.
    pub in_passed: usize,
    /// The first of these cases, with failures before passes.
    pub example: String,
    /// What exactly was wrong there; empty if the kernel does not say.
    pub message: String,
}

/// A case whose scheduler was started again by its program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restarted {
    /// The case.
    pub case: String,
    /// The scheduler.
    pub scheduler: String,
    /// How often.
    pub restarts: u64,
}

/// A line in which kernels reported a fault of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelFault {
    /// The line, with `N` for the numbers of CPU and process; `taint W` for a taint flag that was set during a test.
    pub line: String,
    /// Cases in which it was seen.
    pub cases: usize,
    /// Those of them whose test allows it.
    pub allowed: usize,
    /// Those of them in which it came before the test began.
    pub at_boot: usize,
    /// The first of these cases.
    pub example: String,
}

/// A case that ended in several ways: on a retry, or in iterations of a stress run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The case.
    pub case: String,
    /// How it counts.
    pub outcome: Outcome,
    /// Attempts and iterations that have a record.
    pub attempts: usize,
    /// Those of them that failed or were inconclusive.
    pub failed: usize,
    /// What decided the first of those.
    pub why: Vec<String>,
}

/// A reason for skips.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkipReason {
    /// The reason.
    pub why: String,
    /// Cases that were skipped for it.
    pub cases: usize,
    /// The first of them.
    pub example: String,
}

/// Exits by kind and scheduler, the most frequent first.
pub(super) fn exits(cases: &[Facts]) -> Vec<Exit> {
    let mut kinds: BTreeMap<(&str, &str), Exit> = BTreeMap::new();
    for facts in cases {
        let Some(exit) = &facts.exit else { continue };
        let passed = facts.outcome() == Outcome::Pass;
        let found = kinds
            .entry((&exit.kind, &facts.scheduler))
            .or_insert_with(|| Exit {
                kind: exit.kind.clone(),
                reason: exit.reason.clone(),
                scheduler: facts.scheduler.clone(),
                cases: 0,
                in_passed: 0,
                example: facts.case.clone(),
                message: exit.message.clone(),
            });
        if !passed && found.in_passed == found.cases {
            found.example.clone_from(&facts.case);
            found.message.clone_from(&exit.message);
        }
        found.cases += 1;
        found.in_passed += usize::from(passed);
    }
    let mut kinds: Vec<Exit> = kinds.into_values().collect();
    kinds.sort_by_key(|exit| Reverse((exit.cases - exit.in_passed, exit.cases)));
    kinds
}

/// Cases with restarts, the most first.
pub(super) fn restarts(cases: &[Facts]) -> Vec<Restarted> {
    let with = cases.iter().filter(|facts| facts.restarts > 0);
    let mut restarted: Vec<Restarted> = with
        .map(|facts| Restarted {
            case: facts.case.clone(),
            scheduler: facts.scheduler.clone(),
            restarts: facts.restarts,
        })
        .collect();
    restarted.sort_by_key(|restarted| Reverse(restarted.restarts));
    restarted
}

/// Faults of kernels by line; those that no test allows first, then the most frequent.
pub(super) fn kernel_faults(cases: &[Facts]) -> Vec<KernelFault> {
    let mut lines: BTreeMap<&str, KernelFault> = BTreeMap::new();
    for facts in cases {
        // A line may come many times in one case.
        let mut own: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for fault in &facts.faults {
            let (allowed, at_boot) = own.entry(&fault.line).or_insert((true, true));
            *allowed &= fault.allowed;
            *at_boot &= fault.at_boot;
        }
        for (line, (allowed, at_boot)) in own {
            let found = lines.entry(line).or_insert_with(|| KernelFault {
                line: line.to_owned(),
                cases: 0,
                allowed: 0,
                at_boot: 0,
                example: facts.case.clone(),
            });
            found.cases += 1;
            found.allowed += usize::from(allowed);
            found.at_boot += usize::from(at_boot);
        }
    }
    let mut lines: Vec<KernelFault> = lines.into_values().collect();
    lines.sort_by_key(|fault| Reverse((fault.cases - fault.allowed, fault.cases)));
    lines
}

/// The cases with several records that did not all end alike. `all` has every record, `cases` those that count.
pub(super) fn retries(all: &[Facts], cases: &[Facts]) -> Vec<Retried> {
    let mut records: BTreeMap<&str, Vec<&Facts>> = BTreeMap::new();
    for facts in all {
        records.entry(&facts.standing.stem).or_default().push(facts);
    }
    let is_bad = |facts: &&&Facts| matches!(facts.outcome(), Outcome::Fail | Outcome::Inconclusive);
    let mut retried = Vec::new();
    for counts in cases {
        let Some(records) = records.get_mut(counts.standing.stem.as_str()) else {
            continue;
        };
        records.sort_by_key(|facts| (facts.standing.stress, facts.standing.attempt));
        let failed = records.iter().filter(is_bad).count();
        if failed == 0 || failed == records.len() {
            continue;
        }
        let first = records.iter().find(is_bad);
        retried.push(Retried {
            case: counts.case.clone(),
            outcome: counts.outcome(),
            attempts: records.len(),
            failed,
            why: first.map(|facts| facts.why.clone()).unwrap_or_default(),
        });
    }
    retried
}

/// Why cases were skipped, the most frequent reason first.
pub(super) fn skips(cases: &[Facts]) -> Vec<SkipReason> {
    let mut reasons: BTreeMap<String, SkipReason> = BTreeMap::new();
    for facts in cases
        .iter()
        .filter(|facts| facts.outcome() == Outcome::Skip)
    {
        let why = facts.why.join("; ");
        let reason = reasons.entry(why.clone()).or_insert_with(|| SkipReason {
            why,
            cases: 0,
            example: facts.case.clone(),
        });
        reason.cases += 1;
    }
    let mut reasons: Vec<SkipReason> = reasons.into_values().collect();
    reasons.sort_by_key(|reason| Reverse(reason.cases));
    reasons
}
