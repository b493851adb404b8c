//! The performance tests of a commit, and the filter that selects them.

use std::collections::BTreeSet;

use ktstr_core::CaseName;
use ktstr_harness::dispatch::CaseThresholds;
use ktstr_vmm::CancelToken;

use crate::nextest::{self, Listing};
use crate::perf_delta::PerfDeltaError;
use crate::{Session, SessionEvent, SessionObserver};

/// The cases of performance tests of a binary, by nextest's name for it.
pub(super) type CasesOfBinary = (String, Vec<String>);

/// The cases of performance tests that the session's arguments select, and their names alone.
pub(super) fn performance_cases(
    session: &Session,
    observer: &dyn SessionObserver,
    cancel: &CancelToken,
) -> Result<(Vec<CasesOfBinary>, Vec<String>), PerfDeltaError> {
    let mut list = session.list_command(&session.epoch())?;
    list.args(nextest::listing(session.args()));
    observer.event(SessionEvent::ListStarted);
    let listing = Listing::parse(&session.answer(&mut list, observer, cancel)?)?;
    let mut found = Vec::new();
    for (id, binary) in listing.binaries {
        let named = binary.selected.iter().filter_map(|case| {
            let name: CaseName = case.parse().ok()?;
            matches!(name, CaseName::Base { .. } | CaseName::Gauntlet { .. })
                .then(|| (case.clone(), name.without_kernel().to_string()))
        });
        let named: Vec<(String, String)> = named.collect();
        if named.is_empty() {
            continue;
        }
        let told: Vec<CaseThresholds> =
            session.cases_of(&binary, &["--include-ignored"], observer, cancel)?;
        let wanted: BTreeSet<String> = told
            .into_iter()
            .filter(|case| case.performance_mode)
            .map(|case| case.case)
            .collect();
        let cases = named.into_iter().filter(|(_, name)| wanted.contains(name));
        let cases: Vec<String> = cases.map(|(case, _)| case).collect();
        if !cases.is_empty() {
            found.push((id, cases));
        }
    }
    let names = found.iter().flat_map(|(_, cases)| cases.clone()).collect();
    Ok((found, names))
}

/// Nextest's filter for the cases that `is_wanted`.
pub(super) fn expression(found: &[CasesOfBinary], is_wanted: impl Fn(&String) -> bool) -> String {
    let of_binary = |(id, cases): &CasesOfBinary| {
        let cases = cases.iter().filter(|case| is_wanted(case));
        let cases: Vec<String> = cases.map(|case| format!("test(={case})")).collect();
        (!cases.is_empty()).then(|| format!("(binary_id(={id}) & ({}))", cases.join(" | ")))
    };
    let binaries: Vec<String> = found.iter().filter_map(of_binary).collect();
    if binaries.is_empty() {
        return "none()".to_owned();
    }
    binaries.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_selects_exactly_the_cases() {
        let found = [
            (
                "p::a".to_owned(),
                vec!["ktstr/x".to_owned(), "ktstr/y".to_owned()],
            ),
            ("p::b".to_owned(), vec!["ktstr/x".to_owned()]),
        ];
        assert_eq!(
            expression(&found, |_| true),
            "(binary_id(=p::a) & (test(=ktstr/x) | test(=ktstr/y))) | (binary_id(=p::b) & (test(=ktstr/x)))"
        );
        assert_eq!(
            expression(&found, |case| case == "ktstr/y"),
            "(binary_id(=p::a) & (test(=ktstr/y)))"
        );
        assert_eq!(expression(&[], |_| true), "none()");
    }
}
