//! Runs one case of a session again.

use std::ffi::OsString;

use ktstr_core::CaseName;
use ktstr_core::record::Sidecar;

use super::filter;
use crate::nextest::{asks_for_ignored, build_selection};

/// Arguments for nextest that run the case of `sidecar` alone, in a session that had `nextest_args`.
///
/// Of those, the ones that decide which tests exist are kept; filters and the like are not.
pub fn replay_args(sidecar: &Sidecar, nextest_args: &[OsString]) -> Vec<OsString> {
    let mut args = build_selection(nextest_args);
    let asked = asks_for_ignored(nextest_args);
    let name = sidecar.case.parse::<CaseName>();
    let ignored = name.is_ok_and(|name| name.is_variant()) || sidecar.test.starts_with("demo_");
    if asked || ignored {
        args.extend(["--run-ignored", "all"].map(Into::into));
    }
    // Other binaries may have one of that name.
    let filter = filter::of_case(sidecar.binary_id.as_deref(), &sidecar.case);
    args.extend(["-E".into(), filter.into()]);
    args
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;

    use super::*;

    fn replay(test: &str, case: &str, session: &str) -> String {
        let session: Vec<OsString> = session.split_whitespace().map(Into::into).collect();
        let sidecar = Sidecar::new(test, case, Verdict::pass());
        let args = replay_args(&sidecar, &session);
        let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        args.join(" ")
    }

    #[test]
    fn a_case_is_replayed_alone_and_built_as_before() {
        assert_eq!(replay("a", "ktstr/a", ""), "-E test(=ktstr/a)");
        assert_eq!(
            replay("a", "gauntlet/a/4cpu-1llc-nosmt", "--retries 2"),
            "--run-ignored all -E test(=gauntlet/a/4cpu-1llc-nosmt)"
        );
        assert_eq!(
            replay("demo_a", "ktstr/demo_a/kernel_6_12", "name"),
            "--run-ignored all -E test(=ktstr/demo_a/kernel_6_12)"
        );
        assert_eq!(
            replay(
                "a",
                "ktstr/a",
                "--run-ignored=only -E test(x) --features=f -p x -Fg --no-capture"
            ),
            "--features=f -p x -Fg --run-ignored all -E test(=ktstr/a)"
        );
        assert_eq!(
            replay("a", "ktstr/a", "--workspace --exclude y some -- -p"),
            "--workspace --exclude y -E test(=ktstr/a)"
        );
    }

    #[test]
    fn a_case_is_told_from_others_of_its_name() {
        let sidecar = Sidecar {
            binary_id: Some("p::t".to_owned()),
            ..Sidecar::new("a", "ktstr/a", Verdict::pass())
        };
        let args = replay_args(&sidecar, &[]);
        assert_eq!(args, ["-E", "binary_id(=p::t) & test(=ktstr/a)"]);
    }
}
