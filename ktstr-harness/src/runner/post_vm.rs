//! A test's own look at a run that is over, on the host.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use ktstr_core::Verdict;
use ktstr_core::record::Sidecar;

use super::result::FailureArtifacts;
use super::settings::Settings;
use crate::guest::{chain, panic_text};
use crate::{Result, TestCase};

/// A function that a test names by its key `post_vm`.
pub type PostVm = fn(&FinishedRun<'_>) -> Result<()>;

/// Name of the check.
const CHECK: &str = "post_vm";

/// A run that is over and not recorded yet: what `post_vm` is given.
///
/// It is called on the host, when the machine is gone, whatever the verdict is. Where no machine ran, because the case was
/// skipped, refused or cancelled, it is not called. Its error or panic makes the test fail, also one with `expect_err`.
///
/// ```
/// use ktstr_harness::prelude::*;
///
/// #[ktstr_test(llcs = 2, post_vm = booted_soon)]
/// fn steady(ctx: &Ctx) -> Result<AssertResult> {
///     scenarios::steady(ctx)
/// }
///
/// fn booted_soon(run: &FinishedRun<'_>) -> Result<()> {
///     match run.record().timings.boot_s {
///         Some(seconds) if seconds < 30.0 => Ok(()),
///         other => Err(format!("the boot took {other:?} s").into()),
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FinishedRun<'r> {
    record: &'r Sidecar,
    artifacts: &'r FailureArtifacts,
    kernel: Option<&'r Path>,
    records_dir: Option<&'r Path>,
}

impl<'r> FinishedRun<'r> {
    /// The record, as it will be written if this function finds nothing: topology, kernel, timings, cgroups and more.
    pub fn record(&self) -> &'r Sidecar {
        self.record
    }

    /// How the test ended, its expectations applied.
    pub fn verdict(&self) -> &'r Verdict {
        &self.record.verdict
    }

    /// What was measured, by the names of metrics.
    pub fn metrics(&self) -> &'r BTreeMap<String, f64> {
        &self.record.metrics
    }

    /// What the guest's console showed, as far as it is kept: unless the run is verbose, the kernel's worst messages. Empty
    /// for a run without a machine.
    pub fn console(&self) -> &'r str {
        &self.artifacts.console
    }

    /// The logs: of kernel and scheduler, the dump of sched_ext, the second run.
    pub fn artifacts(&self) -> &'r FailureArtifacts {
        self.artifacts
    }

    /// The image of the kernel that ran.
    pub fn kernel_image(&self) -> Option<&'r Path> {
        self.kernel
    }

    /// The run directory that the record will be in; `None` where whoever runs the test keeps none.
    pub fn records_dir(&self) -> Option<&'r Path> {
        self.records_dir
    }

    /// Where the record will be.
    pub fn record_path(&self) -> Option<PathBuf> {
        let name = format!("{}{}", self.record.stem(), Sidecar::SUFFIX);
        self.records_dir.map(|dir| dir.join(name))
    }
}

/// Calls the test's function, and returns what is wrong according to it.
pub(super) fn call(
    test: &TestCase,
    record: &Sidecar,
    artifacts: &FailureArtifacts,
    kernel: Option<&Path>,
    settings: Option<&Settings>,
) -> Option<Verdict> {
    let function = test.post_vm?;
    let run = FinishedRun {
        record,
        artifacts,
        kernel,
        records_dir: settings.and_then(|settings| settings.records_dir.as_deref()),
    };
    let message = match panic::catch_unwind(AssertUnwindSafe(|| function(&run))) {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => chain(error.as_ref()),
        Err(payload) => format!("it panicked: {}", panic_text(payload.as_ref())),
    };
    Some(Verdict::fail(CHECK, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AssertResult;
    use crate::test::Location;

    const TEST: TestCase = TestCase::new(
        "t",
        Location {
            file: "t.rs",
            line: 1,
        },
        |_| Ok(AssertResult::pass()),
    );

    fn called(function: PostVm) -> Option<String> {
        let test = TestCase {
            post_vm: Some(function),
            ..TEST
        };
        let mut record = Sidecar::new("t", "ktstr/t", Verdict::pass());
        record.metrics.insert("max_gap_ms".to_owned(), 3.0);
        let artifacts = FailureArtifacts {
            console: "Linux version 6".to_owned(),
            ..FailureArtifacts::default()
        };
        let mut settings = Settings::new(ktstr_core::host::Host::default(), "/t", "/");
        settings.records_dir = Some("/runs/r".into());
        let image = Path::new("/k/bzImage");
        let verdict = call(&test, &record, &artifacts, Some(image), Some(&settings));
        verdict.map(|verdict| verdict.details()[0].to_string())
    }

    #[test]
    fn it_gets_the_run() {
        let fine = called(|run| {
            assert_eq!(run.metrics()["max_gap_ms"], 3.0);
            assert_eq!(run.console(), "Linux version 6");
            assert_eq!(run.kernel_image(), Some(Path::new("/k/bzImage")));
            let path = run.record_path().ok_or("no path")?;
            assert!(
                path.starts_with("/runs/r/") && path.to_string_lossy().ends_with(".ktstr.json")
            );
            assert_eq!(run.verdict(), &Verdict::pass());
            Ok(())
        });
        assert_eq!(fine, None);
    }

    #[test]
    fn its_error_and_its_panic_are_failures() {
        assert_eq!(called(|_| Err("odd".into())).unwrap(), "post_vm: odd");
        let told = called(|run| panic!("{} is odd", run.console())).unwrap();
        assert_eq!(told, "post_vm: it panicked: Linux version 6 is odd");
        let none = Sidecar::new("t", "ktstr/t", Verdict::pass());
        assert_eq!(
            call(&TEST, &none, &FailureArtifacts::default(), None, None),
            None
        );
    }
}
