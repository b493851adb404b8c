//! Changes, and the exact answer to each.

use std::collections::BTreeSet;

use ktstr_driver::affected::{Rule, TestBinary, Tests};

use crate::monorepo::{Monorepo, sched};
use crate::{affected, histories, rows};

/// What a change is expected to affect.
pub(crate) enum Expected {
    Nothing,
    /// By a rule of one file.
    Everything(Rule),
    Schedulers(Vec<usize>),
}

/// A change: what it is, how it is made, and what it affects.
pub(crate) type Row = (&'static str, fn(&Monorepo), Expected);

pub(crate) fn only(n: usize) -> Expected {
    Expected::Schedulers(vec![n])
}

fn check(repo: &Monorepo, (name, change, expected): &Row, binaries: &[TestBinary]) {
    change(repo);
    let affected = affected(repo, binaries);
    let impact = &affected.impact;
    let told = || format!("{name}: {:?} {:?}", impact.uncertain, impact.files);
    let uses = binaries.iter().flat_map(|binary| &binary.schedulers);
    let everything: BTreeSet<String> = uses.filter_map(|it| it.package.clone()).collect();
    match expected {
        Expected::Nothing => {
            assert!(impact.is_nothing(), "{}", told());
            assert_eq!(affected.tests, Tests::None, "{name}");
            assert!(affected.schedulers.is_empty(), "{name}");
        }
        Expected::Everything(rule) => {
            let causes = impact.files.iter().flat_map(|file| &file.causes);
            let rules: Vec<Rule> = causes.map(|(rule, _)| *rule).collect();
            assert!(rules.contains(rule), "{}", told());
            assert!(impact.is_everything() && impact.uncertain.is_empty());
            assert_eq!(affected.schedulers, everything, "{name}");
            assert_eq!(affected.tests, Tests::All, "{name}");
        }
        Expected::Schedulers(expected) => {
            assert!(!impact.is_everything(), "{}", told());
            let expected: BTreeSet<String> = expected.iter().map(|n| sched(*n)).collect();
            assert_eq!(affected.schedulers, expected, "{}", told());
        }
    }
    let by_file: BTreeSet<String> = affected.by_file.iter().flatten().cloned().collect();
    assert_eq!(by_file, affected.schedulers, "{name}");
    assert_eq!(affected.by_file.len(), impact.files.len(), "{name}");
}

/// Makes each change, and takes it back.
fn check_all(rows: &[Row]) {
    let repo = Monorepo::new();
    let mut binaries = repo.binaries();
    // A scheduler that some of the changes add.
    let mut new = binaries[0].clone();
    "sched40::sched".clone_into(&mut new.id);
    new.schedulers[0].scheduler = sched(40);
    new.schedulers[0].package = Some(sched(40));
    new.schedulers[0].manifest_dir = Some(repo.path("scheds/sched40"));
    let old = binaries.len();
    for row in rows {
        binaries.truncate(old);
        // Where the package is not there, nobody names it.
        if row.0.starts_with("a new package") {
            binaries.push(new.clone());
        }
        check(&repo, row, &binaries);
        repo.restore();
    }
}

#[test]
fn what_is_shared_affects_all_that_use_it() {
    check_all(&rows::shared());
}

#[test]
fn sources_affect_what_is_made_from_them() {
    check_all(&rows::sources());
}

#[test]
fn documentation_affects_what_has_it_inside() {
    check_all(&rows::texts());
}

#[test]
fn changes_count_however_git_has_them() {
    check_all(&histories::histories());
}
