//! The scheduler under test, from its declaration to a program for the guest.

use std::path::PathBuf;

use ktstr_core::Verdict;
use ktstr_core::record::SchedulerBuild;
use ktstr_vmm::CancelToken;

use super::build::Package;
use super::observer::{RunEvent, RunObserver};
use super::program::{self, ProgramError};
use super::result::RunError;
use super::settings::Settings;
use crate::TestCase;
use crate::protocol::{SchedulerSpec, SchedulerStart};
use crate::scheduler::{Scheduler, SchedulerSource};

/// Name of the check for a scheduler that cannot be had.
const CHECK: &str = "scheduler";

/// The program of `scheduler` on this host, built first where it is a cargo package; `None` where the kernel has the
/// scheduler.
pub(super) fn program(
    scheduler: &Scheduler,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<Option<PathBuf>, RunError> {
    let program = match (scheduler.source, &settings.scheduler) {
        (SchedulerSource::Eevdf | SchedulerSource::KernelBuiltin { .. }, _) => return Ok(None),
        (SchedulerSource::Package(_), Some(program)) => settings.dir.join(program),
        (SchedulerSource::Package(_), None) => build(scheduler, settings, observer, cancel)?,
        (SchedulerSource::Path(path), _) => {
            settings.relocation.now(scheduler.manifest_dir).join(path)
        }
    };
    let name = scheduler.name;
    let path = program.display();
    match program::check(&program) {
        Ok(()) => Ok(Some(program)),
        Err(ProgramError::Missing) => {
            let message = format!("{name}: no program at {path}; build it, or fix the path");
            Err(Verdict::fail(CHECK, message).into())
        }
        Err(error) => Err(Verdict::fail(CHECK, format!("{name}: {path} {error}")).into()),
    }
}

/// The build of `scheduler`, but for the hash of its program; `None` for the kernel's default scheduler. The arguments are
/// those of its declaration: a test may have more.
pub(super) fn build_of(scheduler: &Scheduler, settings: &Settings) -> Option<SchedulerBuild> {
    let package = package(scheduler, settings);
    let args = scheduler.sched_args.iter();
    scheduler.is_loaded().then(|| SchedulerBuild {
        profile: package.as_ref().map(|package| package.profile.clone()),
        package: package.map(|package| package.name),
        program_hash: None,
        args: args.map(|arg| (*arg).to_owned()).collect(),
    })
}

/// The cargo package that has to be built for tests under `scheduler`, if there is one.
pub(crate) fn package(scheduler: &Scheduler, settings: &Settings) -> Option<Package> {
    match (scheduler.source, &settings.scheduler) {
        (SchedulerSource::Package(name), None) => Some(Package {
            name: name.to_owned(),
            profile: settings.scheduler_profile.clone(),
            dir: settings.relocation.now(scheduler.manifest_dir),
        }),
        _ => None,
    }
}

fn build(
    scheduler: &Scheduler,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<PathBuf, RunError> {
    let fail = |why: String| Verdict::fail(CHECK, format!("{}: {why}", scheduler.name));
    let package = package(scheduler, settings).ok_or_else(|| fail("no package".to_owned()))?;
    let mut failed = |log: &str| observer.event(RunEvent::SchedulerBuildFailed(log));
    let coverage = settings.coverage.as_ref();
    let built = settings
        .builds
        .program(&package, &settings.host, coverage, &mut failed, cancel)?;
    Ok(built.map_err(fail)?)
}

/// What the guest is told; `None` for the kernel's own scheduler.
pub(crate) fn spec_of_test(test: &TestCase) -> Option<SchedulerSpec> {
    spec(test.scheduler, test.extra_sched_args, test.config).map(|spec| SchedulerSpec {
        allow_restarts: test.allow_restarts,
        ..spec
    })
}

/// Likewise, with arguments that follow those of its declaration, and the content of its configuration file.
pub(super) fn spec(
    scheduler: &Scheduler,
    extra_args: &[&str],
    config: Option<&str>,
) -> Option<SchedulerSpec> {
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let config = scheduler.config_file_def.zip(config);
    let start = match scheduler.source {
        SchedulerSource::Eevdf => return None,
        SchedulerSource::Package(_) | SchedulerSource::Path(_) => {
            let mut args = owned(scheduler.sched_args);
            args.extend(config.iter().flat_map(|(def, _)| def.args()));
            args.extend(owned(extra_args));
            SchedulerStart::Program(args)
        }
        SchedulerSource::KernelBuiltin { enable, disable } => SchedulerStart::Builtin {
            enable: owned(enable),
            disable: owned(disable),
        },
    };
    let sysctl = |(name, value): &(&str, &str)| (name.replace('.', "/"), (*value).to_owned());
    Some(SchedulerSpec {
        start,
        files: config
            .map(|(def, content)| (def.path.to_owned(), content.to_owned()))
            .into_iter()
            .collect(),
        sysctls: scheduler.sysctls.iter().map(sysctl).collect(),
        cgroup: scheduler.cgroup_parent.map(str::to_owned),
        allow_restarts: false,
    })
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::*;
    use crate::scheduler::ConfigFileDef;

    #[test]
    fn a_configuration_goes_between_the_schedulers_arguments_and_the_tests() {
        const MINE: Scheduler = Scheduler {
            source: SchedulerSource::Path("x"),
            sched_args: &["-v"],
            config_file_def: Some(ConfigFileDef {
                arg: "--config {file}",
                path: "/run/x.json",
            }),
            ..Scheduler::EEVDF
        };
        let location = crate::test::Location {
            file: "t.rs",
            line: 1,
        };
        let test = TestCase {
            scheduler: &MINE,
            extra_sched_args: &["-q"],
            config: Some("{}"),
            ..TestCase::new("t", location, |_| Ok(crate::AssertResult::pass()))
        };
        let told = spec_of_test(&test).unwrap();
        let args = ["-v", "--config", "/run/x.json", "-q"].map(str::to_owned);
        assert_eq!(told.start, SchedulerStart::Program(args.to_vec()));
        let file = ("/run/x.json".to_owned(), "{}".to_owned());
        assert_eq!(told.files, [file]);
        let plain = spec_of_test(&TestCase {
            config: None,
            ..test
        })
        .unwrap();
        assert!(plain.files.is_empty());
        let args = ["-v", "-q"].map(str::to_owned);
        assert_eq!(plain.start, SchedulerStart::Program(args.to_vec()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let scheduler = Scheduler {
            name: "mine",
            source: SchedulerSource::Path("no/such/program"),
            manifest_dir: "/nowhere",
            ..Scheduler::EEVDF
        };
        let settings = Settings::new(Host::default(), "/proc/self/exe", "/");
        let program = |scheduler| {
            let ignore = &mut |_: RunEvent<'_>| {};
            program(scheduler, &settings, ignore, &CancelToken::new().unwrap())
        };
        let message = program(&scheduler).unwrap_err().to_string();
        assert!(
            message.contains("mine: no program at /nowhere/no/such/program"),
            "{message}"
        );
        assert!(program(&Scheduler::EEVDF).unwrap().is_none());
    }
}
