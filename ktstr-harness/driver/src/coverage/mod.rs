//! Measures which lines tests reach, on the host and in their machines: a session whose tests `cargo llvm-cov nextest` runs.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::coverage::LlvmCovArgs;
//! use ktstr_driver::{KernelChoice, Session, Silent};
//! use ktstr_vmm::CancelToken;
//!
//! let args = LlvmCovArgs::split(["--lcov", "--output-path", "lcov.info", "-p", "mine"]);
//! let report = Session::new(Host::of_this_process(), ".")
//!     .nextest_args(args.nextest.iter().cloned())
//!     .coverage(&args)?
//!     .prepare(KernelChoice::Discover, &Silent)?
//!     .run(&Silent, &CancelToken::new()?)?;
//! # let _ = report;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `cargo llvm-cov` builds the packages of the workspace with counters, in a target directory of its own, and makes the
//! report of all profiles in it. A session adds three things:
//!
//! - Everything is built with `-runtime-counter-relocation`. A guest's programs map their counters from the file of their
//!   profile, so that nothing is lost of processes which are killed. The guest sends the files before its report, and the
//!   test writes those that are whole into that directory.
//! - What the session itself runs, nextest's list and the builds of schedulers, uses the same build: the environment is that
//!   of `cargo llvm-cov show-env`.
//! - Programs of schedulers, whose cargo profile is mostly another one, are linked to where the report looks for programs.

mod args;
mod environment;
mod error;
mod flags;
mod tools;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_core::host::files::read_bounded;
use ktstr_core::text;
use ktstr_harness::runner::Coverage as Places;
use ktstr_vmm::CancelToken;

pub use args::LlvmCovArgs;
pub use error::CoverageError;
pub use tools::LlvmTools;

use crate::process::{self, exit_code};
use crate::{Session, SessionError, SessionObserver, cargo, nextest};

/// How a session measures coverage.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    args: LlvmCovArgs,
    /// What cargo and test binaries get where the session runs them itself.
    variables: Vec<(OsString, OsString)>,
    places: Places,
}

impl Measurement {
    /// The words after `cargo` that run the tests, but for nextest's own.
    pub(crate) fn run_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["llvm-cov".into(), "nextest".into()];
        words.extend(self.args.own.iter().cloned());
        if !self.args.has("--failure-mode") {
            // One profile that is broken, of a process on the host that was killed, is named and left out.
            words.extend(["--failure-mode".into(), "all".into()]);
        }
        words
    }

    /// Arguments of `cargo nextest list`, for the same build.
    pub(crate) fn list_args(&self, nextest_args: &[OsString]) -> Vec<OsString> {
        let mut words = Vec::new();
        if nextest::value(nextest_args, "--archive-file").is_none() {
            words.extend(self.places.cargo_args());
        }
        for package in &self.args.excluded {
            words.extend(["--exclude".into(), package.clone()]);
        }
        words
    }

    /// `host` with what the build and its programs need.
    pub(crate) fn host(&self, host: &Host) -> Host {
        host.clone().with_vars(self.variables.iter().cloned())
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Whether failed tests are none of the session's.
    pub(crate) fn ignores_failures(&self) -> bool {
        self.args.has("--ignore-run-fail")
    }

    /// Removes what earlier sessions left, where cargo-llvm-cov does that with what it made.
    pub(crate) fn begin(&self) -> io::Result<()> {
        let keeps = ["--no-clean", "--no-report", "--no-run"];
        if keeps.iter().any(|option| self.args.has(option)) {
            return Ok(());
        }
        remove(&self.places.schedulers())?;
        remove(&Places::notes(&self.places.target_dir))
    }

    /// What the tests noted of profiles that the report does not have, each in one line, and how many there are.
    pub(crate) fn notes(&self) -> (Vec<String>, usize) {
        let entries = fs::read_dir(Places::notes(&self.places.target_dir));
        let entries = entries.into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let bytes = read_bounded(path, LONGEST_NOTE).ok()?;
            Some(text::line(&text::plain(&String::from_utf8_lossy(&bytes))))
        };
        let notes = paths.iter().take(MOST_NOTES).filter_map(read).collect();
        (notes, paths.len())
    }
}

/// The longest note that is read, in bytes, and how many are.
const LONGEST_NOTE: u64 = 4096;
const MOST_NOTES: usize = 20;

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Session {
    /// Measures which lines the tests reach. `args` are the words of cargo-llvm-cov; the session has nextest's already. Asks
    /// rustc, cargo and cargo-llvm-cov; builds nothing.
    pub fn coverage(self, args: &LlvmCovArgs) -> Result<Self, CoverageError> {
        if nextest::value(self.args(), "--target-dir").is_some() {
            return Err(CoverageError::TargetDir);
        }
        let session = self.with_llvm_tools()?;
        let (host, dir) = (session.host(), session.dir());
        let wanted = ["--manifest-path", "--config", "-Z"];
        let metadata = cargo::metadata(host, dir, nextest::for_cargo(session.args(), &wanted))
            .ok_or_else(|| CoverageError::NoProject {
                dir: dir.to_owned(),
            })?;
        let below = |dir: PathBuf| dir.join("llvm-cov-target");
        let target_dir = match host.non_empty_var("CARGO_LLVM_COV_TARGET_DIR") {
            Some(named) => cargo::absolute(&dir.join(named)),
            None => below(metadata.target_directory.clone().into()),
        };
        let mut variables = environment::variables(&session, args, &target_dir)?;
        // Only where cargo is told to keep what it builds elsewhere.
        let build_dir = metadata.build_directory.map(PathBuf::from);
        if let Some(build_dir) = build_dir.filter(|it| *it != metadata.target_directory) {
            let named = host.non_empty_var("CARGO_LLVM_COV_TARGET_DIR");
            let build_dir = named.map_or_else(|| below(build_dir), |_| target_dir.clone());
            variables.push(("CARGO_BUILD_BUILD_DIR".into(), build_dir.into()));
        }
        let places = Places {
            objects: target_dir.join(session.profile_dir()),
            target_dir,
        };
        Ok(session.measured(Measurement {
            args: args.clone(),
            variables,
            places,
        }))
    }

    /// Runs `cargo llvm-cov` with `args`, on the session's kernels and with the tools that [`Session::coverage`] would
    /// use; the first of them is its subcommand. Gives its exit code.
    pub fn llvm_cov(
        self,
        args: &[OsString],
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<u8, CoverageError> {
        if args
            .first()
            .is_none_or(|word| word.as_encoded_bytes().starts_with(b"-"))
        {
            return Err(CoverageError::NoSubcommand);
        }
        // Its tests have machines as well, whose profiles are wanted.
        let runs_cases = args.first().is_some_and(|word| word == "nextest");
        let session = if runs_cases {
            let words = LlvmCovArgs::split(args[1..].iter().cloned());
            self.nextest_args(words.nextest.iter().cloned())
                .coverage(&words)?
        } else {
            self.with_llvm_tools()?
        };
        let epoch = session.epoch();
        let mut command = session.cargo_command(session.host(), &epoch)?;
        command.arg("llvm-cov").args(args);
        let _file = if runs_cases {
            session.begin_coverage()?;
            Some(session.tell(&mut command, epoch)?)
        } else {
            None
        };
        let status = session
            .run_cargo(&mut command, observer, cancel)
            .map_err(|source| SessionError::Cargo {
                program: process::name(&command),
                source,
            })?;
        session.tell_of_profiles(observer);
        Ok(exit_code(status))
    }

    /// With what cargo-llvm-cov needs in its environment.
    fn with_llvm_tools(self) -> Result<Self, CoverageError> {
        let tools = LlvmTools::find(self.host(), self.dir())?;
        let target = nextest::value(self.args(), "--target");
        let flags = flags::rustflags(self.host(), self.dir(), target.as_deref())?;
        let mut host = self.host().clone().with_vars(tools.variables());
        for name in flags::VARIABLES {
            host.env.remove(OsStr::new(name));
        }
        // Of a session that this process may be a test of.
        host.env.remove(OsStr::new(env::SESSION));
        Ok(self.with_host(host.with_vars([flags])))
    }

    /// Name of the directory that cargo puts the tests into.
    fn profile_dir(&self) -> String {
        let named = nextest::value(self.args(), "--cargo-profile");
        let named = named.map(|name| name.to_string_lossy().into_owned());
        match named.as_deref() {
            None if self.is_release() || nextest::has(self.args(), "--release") => "release".into(),
            Some("bench") => "release".into(),
            None | Some("dev" | "test") => "debug".into(),
            Some(other) => other.into(),
        }
    }
}

/// LLVM's variable for the file of a profile.
pub const PROFILE_VARIABLE: &str = "LLVM_PROFILE_FILE";

/// `host` where programs that are measured without a session of coverage leave their profiles beside `program`, and not in
/// the directory they run in, which may be a kernel's source tree. A variable that is set stays.
#[must_use]
pub fn with_profile_file(host: Host, program: &Path) -> Host {
    let Some(dir) = program
        .parent()
        .filter(|_| host.var(PROFILE_VARIABLE).is_none())
    else {
        return host;
    };
    let file = dir.join("llvm-cov-target/default-%p-%m.profraw");
    host.with_vars([(PROFILE_VARIABLE, file)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_plain_sessions_are_kept_out_of_the_way() {
        let file = |host: Host| {
            let host = with_profile_file(host, "/p/target/debug/cargo-ktstr".as_ref());
            host.var(PROFILE_VARIABLE).unwrap()
        };
        assert_eq!(
            file(Host::default()),
            "/p/target/debug/llvm-cov-target/default-%p-%m.profraw"
        );
        for own in ["", "mine"] {
            let host = Host::default().with_vars([(PROFILE_VARIABLE, own)]);
            assert_eq!(file(host), own);
        }
    }

    #[test]
    fn the_report_looks_where_the_tests_are_built() {
        for (args, release, expected) in [
            ("", false, "debug"),
            ("", true, "release"),
            ("-r", false, "release"),
            ("--cargo-profile ci", false, "ci"),
            ("--cargo-profile=test", false, "debug"),
            ("--cargo-profile bench", false, "release"),
        ] {
            let session = Session::new(Host::default(), "/")
                .release(release)
                .nextest_args(args.split_whitespace());
            assert_eq!(session.profile_dir(), expected, "{args}");
        }
    }
}
