//! What helps against errors, in the words of `cargo ktstr`: libraries name no options of it.

use ktstr_core::env;
use ktstr_core::host::{LockError, PlacementError};
use ktstr_kernel::Remedy;
use ktstr_kernel::discover::DiscoverError;

use crate::runner::{Refusal, ReserveError};

/// The error in one line, with what to do.
pub fn worded(error: &DiscoverError) -> String {
    let remedy = error.remedy();
    let words = remedy.map(|remedy| words(&remedy, "cargo ktstr"));
    format!("{error}{}", words.unwrap_or_default())
}

/// What follows an error with that remedy, beginning with what separates the two. The commands in it are those of
/// `program`, the options those of `cargo ktstr`.
pub fn words(remedy: &Remedy, program: &str) -> String {
    match remedy {
        Remedy::LeaveOutClean => "; leave out --clean (--force builds it again)".to_owned(),
        Remedy::LeaveOutForce => ", or leave out --force".to_owned(),
        Remedy::LeaveOutExtraKconfig => ", or leave out --extra-kconfig".to_owned(),
        Remedy::BuildClean => ", or build with --clean".to_owned(),
        Remedy::SkipChecksums => ", or build with --skip-sha256".to_owned(),
        Remedy::IncludeEol => "; --include-eol also includes end-of-life series".to_owned(),
        Remedy::ListKeys => format!(", `{program} kernel list` shows the keys"),
        Remedy::RemoveCorrupt => {
            format!("; run: {program} kernel clean --corrupt-only, then build it again")
        }
        Remedy::Build { kernel } => format!(
            "; run: {program} kernel build --kernel {kernel}, or {program} test --kernel {kernel}"
        ),
        Remedy::Resolve { kernel } => format!(", or run: {program} test --kernel {kernel}"),
        Remedy::BuildAny => format!(
            "; build one: {program} kernel build --kernel ../linux (or a source tarball), or run: {program} test --kernel ../linux"
        ),
        _ => String::new(),
    }
}

/// Why a run is refused, in one line, with what to do: for [`Settings::words`](crate::runner::Settings::words).
pub fn of_refusal(refusal: Refusal<'_>) -> String {
    match refusal {
        Refusal::Kernel(error) => worded(error),
        Refusal::HostCpus(error) => of_host_cpus(error),
    }
}

fn of_host_cpus(error: &ReserveError) -> String {
    match error {
        // The cap is that option, or the variable that it sets.
        ReserveError::CapTooHigh { cap, allowed } => format!(
            "--cpu-cap asks for {cap} host CPUs and {allowed} are allowed to this process; ask for fewer, see taskset -p"
        ),
        ReserveError::CapTooLow {
            topology,
            needed,
            cap,
        } => format!(
            "performance mode: {topology} takes {needed} host CPUs, and --cpu-cap grants {cap}; grant more or run with --no-perf-mode"
        ),
        ReserveError::NotKvm => format!("{error}; --no-perf-mode runs the test without it"),
        ReserveError::Placement(PlacementError::CachesUnknown) => {
            format!("{error}; run with --no-perf-mode")
        }
        ReserveError::Placement(_) => format!("{error} or --no-perf-mode"),
        ReserveError::Lock(LockError::Busy { .. }) | ReserveError::BudgetTooHigh { .. } => {
            error.to_string()
        }
        ReserveError::Lock(_) => format!(
            "{error}; or set {} to a directory that every user of this host can write",
            env::LOCK_DIR
        ),
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Topology;

    use super::*;

    #[test]
    fn refusals_name_the_options_that_help() {
        let topology = Topology::constant(1, 1, 2, 1);
        let words = |error: ReserveError| of_refusal(Refusal::HostCpus(&error));
        let too_few = PlacementError::TooFewCpus {
            topology,
            needed: 3,
            allowed: 2,
        };
        for (error, expected) in [
            (
                ReserveError::CapTooHigh { cap: 3, allowed: 2 },
                "--cpu-cap asks for 3 host CPUs and 2 are allowed to this process; ask for fewer, see taskset -p",
            ),
            (
                ReserveError::CapTooLow {
                    topology,
                    needed: 3,
                    cap: 2,
                },
                "performance mode: 1n1l2c1t takes 3 host CPUs, and --cpu-cap grants 2; grant more or run with --no-perf-mode",
            ),
            (
                ReserveError::NotKvm,
                "performance mode needs KVM, and machines run on qemu here; --no-perf-mode runs the test without it",
            ),
            (
                PlacementError::CachesUnknown.into(),
                "performance mode: this host does not report its last-level caches; run with --no-perf-mode",
            ),
            (
                too_few.into(),
                "performance mode: 1n1l2c1t takes 3 host CPUs, one for each of its own and one beside, and 2 are \
                 allowed; use a smaller topology or --no-perf-mode",
            ),
        ] {
            let own = error.to_string();
            assert!(!own.contains("--"), "{own}");
            assert_eq!(words(error), expected);
        }
        let lock = LockError::Open {
            path: "/locks/x".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        assert!(words(lock.into()).ends_with(
            "; or set KTSTR_LOCK_DIR to a directory that every user of this host can write"
        ));
    }
}
