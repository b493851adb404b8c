//! The programs of a test, in the machine of a shell.

use std::path::Path;

use ktstr_harness::Payload;
use ktstr_harness::dispatch::{CaseProgram, ProgramSource};
use ktstr_harness::runner::{RunEvent, RunObserver, Settings};
use ktstr_vmm::CancelToken;
use ktstr_vmm::initramfs::{InitramfsBuilder, Pack};

use super::ShellError;

/// `root` with a program of a test, which is built first where it is a package. One that is not there is told: the shell
/// may be of use without it.
pub(super) fn add(
    root: InitramfsBuilder,
    program: &CaseProgram,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<InitramfsBuilder, ShellError> {
    let found = match &program.program {
        ProgramSource::Kernel => return Ok(root),
        ProgramSource::Path(path) => Ok(path.clone()),
        ProgramSource::Package(package) => {
            let mut failed = |log: &str| observer.event(RunEvent::SchedulerBuildFailed(log));
            let builds = &settings.builds;
            let built = builds.program(package, &settings.host, None, &mut failed, cancel)?;
            builds.forget();
            built
        }
    };
    let found = found.and_then(|path| {
        let missing = || format!("not at {}; install it", path.display());
        if path.is_file() {
            Ok(path.clone())
        } else {
            Err(missing())
        }
    });
    match found {
        Ok(path) => {
            let place = Path::new(Payload::DIR).join(&program.name);
            Ok(root.executable(path, place, Pack::Whole))
        }
        Err(why) => {
            let note = format!("the program {} is not in the machine: {why}", program.name);
            observer.event(RunEvent::Note(&note));
            Ok(root)
        }
    }
}
