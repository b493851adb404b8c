//! The environment in which cargo-llvm-cov builds, as it tells it.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ktstr_core::text;

use super::args::LlvmCovArgs;
use super::error::CoverageError;
use crate::bounded::{self, Limits};
use crate::{Session, cargo, nextest, process};

/// It asks cargo for the project's metadata, and rustc for its configuration.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(120),
    output: 1 << 20,
};

/// Tell cargo-llvm-cov that its caller is in this environment already, or where: it is told where by other means.
const OF_SHOW_ENV: &[&str] = &[
    "CARGO_LLVM_COV_BUILD_DIR",
    "CARGO_LLVM_COV_SHOW_ENV",
    "CARGO_LLVM_COV_TARGET_DIR",
];

/// The variables of `cargo llvm-cov nextest` for a build in `target_dir`.
pub(super) fn variables(
    session: &Session,
    args: &LlvmCovArgs,
    target_dir: &Path,
) -> Result<Vec<(OsString, OsString)>, CoverageError> {
    let host = session.host();
    let mut command = process::command(host, cargo::program(host));
    let wanted = ["--manifest-path", "--target"];
    command
        .args(["llvm-cov", "show-env"])
        .args(args.of_build())
        .args(nextest::for_cargo(session.args(), &wanted))
        .env("CARGO_LLVM_COV_TARGET_DIR", target_dir)
        .current_dir(session.dir());
    let failed = |why: String| CoverageError::ShowEnv { why };
    let answer =
        bounded::answer(&mut command, LIMITS).map_err(|error| failed(error.to_string()))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let error = said.lines().find(|line| line.starts_with("error"));
        let why = error.map_or_else(|| answer.status.to_string(), text::plain);
        return Err(failed(why));
    }
    let said = String::from_utf8(answer.stdout).ok();
    let said = said.filter(|_| answer.is_whole);
    said.and_then(|said| parse(&said))
        .ok_or_else(|| failed("its answer cannot be read".to_owned()))
}

/// The variables in the words of a shell; `None` where they are none, or no build would be measured by them.
fn parse(said: &str) -> Option<Vec<(OsString, OsString)>> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for word in shlex::split(said)? {
        if word == "export" {
            continue;
        }
        let (name, value) = word.split_once('=')?;
        if !OF_SHOW_ENV.contains(&name) {
            variables.push((name.into(), value.into()));
        }
    }
    let has = |wanted: &str| variables.iter().any(|(name, _)| name == wanted);
    (has(super::PROFILE_VARIABLE) && has("CARGO_LLVM_COV")).then_some(variables)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_of_quoting_is_read() {
        for said in [
            "LLVM_PROFILE_FILE='/a b/%p.profraw'\nCARGO_LLVM_COV=1\nCARGO_LLVM_COV_SHOW_ENV=1\n",
            "export LLVM_PROFILE_FILE=\"/a b/%p.profraw\"\nexport CARGO_LLVM_COV='1'\nexport CARGO_LLVM_COV_TARGET_DIR=/t",
        ] {
            let expected = [
                ("LLVM_PROFILE_FILE".into(), "/a b/%p.profraw".into()),
                ("CARGO_LLVM_COV".into(), "1".into()),
            ];
            assert_eq!(parse(said).unwrap(), expected, "{said}");
        }
        for said in ["", "CARGO_LLVM_COV=1", "LLVM_PROFILE_FILE='", "words alone"] {
            assert_eq!(parse(said), None, "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_value_arrives(value: String) {
            let Ok(quoted) = shlex::try_quote(&value) else { return Ok(()) };
            let said = format!("LLVM_PROFILE_FILE=x\nCARGO_LLVM_COV=1\nX={quoted}\n");
            let read = parse(&said).unwrap();
            prop_assert_eq!(&read[2].1, &OsString::from(value));
        }
    }
}
