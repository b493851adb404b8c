//! Where a run comes from, as its records say: which test target, which run of nextest, which commit.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ktstr_core::host::{Commit, Host, HostContext};
use ktstr_core::record::{RunSource, Sidecar};
use ktstr_core::timestamp::rfc3339;
use ktstr_core::{CaseName, Verdict};

/// Where a run comes from.
#[derive(Debug, Clone)]
pub struct RunOrigin {
    /// Names the run that the records of several processes belong to.
    pub epoch: String,
    /// The test target that the tests are in.
    pub target: TestTarget,
    /// What nextest says of this process; `None` where it did not start it.
    pub nextest: Option<NextestRun>,
    /// Who asked for the run.
    pub run_source: RunSource,
    /// Commit of the project under test.
    pub commit: Option<Commit>,
    /// The machine that it runs on.
    pub host: HostContext,
}

impl RunOrigin {
    /// A run of somebody at this machine, called `epoch`, of which nothing else is known.
    pub fn new(epoch: impl Into<String>) -> Self {
        Self {
            epoch: epoch.into(),
            target: TestTarget::default(),
            nextest: None,
            run_source: RunSource::Local,
            commit: None,
            host: HostContext::read(Path::new("/")),
        }
    }

    /// The record of a case that began at `started` and ends now, with nothing but its verdict and this origin. `test`
    /// is the name of the function; cells of the verifier sweep have one name for all of them.
    pub(crate) fn record(
        &self,
        test: &str,
        case: &CaseName,
        verdict: Verdict,
        started: SystemTime,
    ) -> Sidecar {
        let case = case.to_string();
        let nextest = self.nextest.as_ref().filter(|run| run.is_of(&case));
        Sidecar {
            epoch: self.epoch.clone(),
            package: self.target.package.clone(),
            target: self.target.name.clone(),
            source: self.target.source.clone(),
            binary_id: nextest.and_then(|run| run.binary_id.clone()),
            attempt: nextest.map_or(1, |run| run.attempt),
            stress: nextest.and_then(|run| run.stress),
            host: self.host.clone(),
            project_commit: self.commit.as_ref().map(ToString::to_string),
            run_source: self.run_source,
            started: rfc3339(started),
            finished: rfc3339(SystemTime::now()),
            ..Sidecar::new(test, &case, verdict)
        }
    }
}

/// A test target of a cargo package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestTarget {
    /// The package.
    pub package: Option<String>,
    /// The target, as rustc calls it: hyphens are underscores.
    pub name: Option<String>,
    /// The file that its `main` is in.
    pub source: Option<String>,
    /// Where the package was when the target was compiled.
    pub manifest_dir: Option<PathBuf>,
}

impl TestTarget {
    /// What cargo said when the target was compiled; empty texts where it said nothing.
    pub fn of(package: &str, name: &str, source: &str, manifest_dir: &str) -> Self {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            package: said(package),
            name: said(name),
            source: said(source),
            manifest_dir: said(manifest_dir).map(PathBuf::from),
        }
    }

    /// What can be told of `binary`, whose `main` is not by [`main!`](crate::main!): cargo names test binaries
    /// `{target}-{16 hex}`, and tells them their `package` when it runs them.
    pub(crate) fn guess(binary: &Path, package: Option<String>) -> Self {
        let file = binary.file_name().map(|name| name.to_string_lossy());
        let name = file.map(|file| match file.rsplit_once('-') {
            Some((name, hash))
                if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                name.to_owned()
            }
            _ => file.into_owned(),
        });
        Self {
            package: package.filter(|package| !package.is_empty()),
            name,
            source: None,
            manifest_dir: None,
        }
    }
}

/// The run of nextest that this process is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextestRun {
    /// The test that it runs here.
    pub test: Option<String>,
    /// Its name for this binary.
    pub binary_id: Option<String>,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// Which iteration of a stress run it is, from 1.
    pub stress: Option<u32>,
}

impl NextestRun {
    /// Reads the variables that nextest sets; `None` where it did not start this process.
    ///
    /// <https://nexte.st/docs/configuration/env-vars/>
    pub(crate) fn read(host: &Host) -> Option<Self> {
        let text = |name: &str| host.var(name)?.into_string().ok();
        text("NEXTEST")?;
        let number = |name: &str| text(name)?.parse::<u32>().ok();
        Some(Self {
            test: text("NEXTEST_TEST_NAME"),
            binary_id: text("NEXTEST_BINARY_ID"),
            attempt: number("NEXTEST_ATTEMPT").unwrap_or(1).max(1),
            // `none` in other runs; nextest counts from 0 here and shows it from 1.
            stress: number("NEXTEST_STRESS_CURRENT").map(|index| index.saturating_add(1)),
        })
    }

    /// Whether it is nextest's run of the case called `name`: a test that runs test binaries itself hands its own
    /// variables on.
    fn is_of(&self, name: &str) -> bool {
        self.test.as_deref().is_none_or(|test| test == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_of_cargo_are_told_by_their_name() {
        let name = |path: &str| TestTarget::guess(Path::new(path), None).name;
        let expected = [
            ("/t/debug/deps/my_tests-0123456789abcdef", "my_tests"),
            ("/t/my-tests", "my-tests"),
            ("/t/my-0123", "my-0123"),
        ];
        for (path, target) in expected {
            assert_eq!(name(path).as_deref(), Some(target));
        }
    }

    #[test]
    fn attempts_and_iterations_are_nextests() {
        let read = |pairs: &[(&str, &str)]| {
            NextestRun::read(&Host::default().with_vars(pairs.iter().copied()))
        };
        assert_eq!(read(&[("NEXTEST_ATTEMPT", "2")]), None);
        let run = read(&[
            ("NEXTEST", "1"),
            ("NEXTEST_ATTEMPT", "2"),
            ("NEXTEST_STRESS_CURRENT", "0"),
            ("NEXTEST_TEST_NAME", "ktstr/a"),
        ])
        .unwrap();
        assert_eq!((run.attempt, run.stress), (2, Some(1)));
        assert!(run.is_of("ktstr/a") && !run.is_of("ktstr/b"));
        let odd = read(&[
            ("NEXTEST", "1"),
            ("NEXTEST_ATTEMPT", "x"),
            ("NEXTEST_STRESS_CURRENT", "none"),
        ])
        .unwrap();
        assert_eq!((odd.attempt, odd.stress), (1, None));
        assert!(odd.is_of("ktstr/b"));
    }
}
