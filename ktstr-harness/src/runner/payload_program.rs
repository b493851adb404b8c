//! The programs that a test runs, from their declarations to files for the guest.

use std::path::{Path, PathBuf};

use ktstr_core::Verdict;
use ktstr_core::host::files::find_program;
use ktstr_vmm::CancelToken;

use super::build::{self, Package};
use super::observer::{RunEvent, RunObserver};
use super::plan::MachinePlan;
use super::program::{self, ProgramError};
use super::result::RunError;
use super::settings::Settings;
use crate::payload::{Payload, PayloadSource};

/// A program of this host that the guest is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostProgram {
    name: &'static str,
    pub(super) path: PathBuf,
    /// Absolute paths.
    pub(super) include_files: Vec<PathBuf>,
}

impl HostProgram {
    pub(super) fn guest_path(&self) -> PathBuf {
        Path::new(Payload::DIR).join(self.name)
    }
}

/// The programs of `plan`, built first where they are cargo packages.
pub(super) fn programs(
    plan: &MachinePlan,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<Vec<HostProgram>, RunError> {
    let payload = plan.payload.iter().map(|program| ("payload", program));
    let workloads = plan.workloads.iter().map(|program| ("workloads", program));
    payload
        .chain(workloads)
        .map(|(key, program)| {
            let path = find(key, program, settings, observer, cancel)?;
            check(key, program, &path)?;
            Ok(HostProgram {
                name: program.name,
                path,
                include_files: include_files(program, settings),
            })
        })
        .collect()
}

/// The include files of a program, by their paths of now.
pub(crate) fn include_files(program: &Payload, settings: &Settings) -> Vec<PathBuf> {
    let dir = settings.relocation.now(program.manifest_dir);
    let files = program.include_files.iter();
    files.map(|file| dir.join(file)).collect()
}

/// The cargo package that has to be built for a program, if there is one.
pub(crate) fn package_of_program(program: &Payload, settings: &Settings) -> Option<Package> {
    match program.source {
        PayloadSource::Package(name) => Some(Package {
            name: name.to_owned(),
            profile: settings.scheduler_profile.clone(),
            dir: settings.relocation.now(program.manifest_dir),
        }),
        PayloadSource::Binary(_) => None,
    }
}

/// Where a program of the host is, which its declaration names; `None` for one that the search path does not lead to.
pub(crate) fn binary_of_program(program: &Payload, settings: &Settings) -> Option<PathBuf> {
    match program.source {
        PayloadSource::Package(_) => None,
        PayloadSource::Binary(path) if path.contains('/') => {
            Some(settings.relocation.now(program.manifest_dir).join(path))
        }
        PayloadSource::Binary(name) => find_program(&settings.host.path, name),
    }
}

fn find(
    key: &str,
    program: &Payload,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<PathBuf, RunError> {
    if let Some(package) = package_of_program(program, settings) {
        let mut failed = |log: &str| observer.event(RunEvent::SchedulerBuildFailed(log));
        let (builds, coverage) = (&settings.builds, settings.coverage.as_ref());
        let built = builds.program(&package, &settings.host, coverage, &mut failed, cancel)?;
        let fail = |why: String| {
            let why = build::without_instead(&why);
            Verdict::fail(key, format!("{}: {why}", program.name))
        };
        return Ok(built.map_err(fail)?);
    }
    match binary_of_program(program, settings) {
        Some(path) => Ok(path),
        None => Err(missing(key, program, "is not in the search path (PATH)").into()),
    }
}

fn check(key: &str, program: &Payload, path: &Path) -> Result<(), RunError> {
    match program::check(path) {
        // It is packed with its interpreter.
        Ok(()) | Err(ProgramError::Script { .. }) => Ok(()),
        Err(ProgramError::Missing) => {
            Err(missing(key, program, &format!("is not at {}", path.display())).into())
        }
        Err(error) => {
            let message = format!("{}: {} {error}", program.name, path.display());
            Err(Verdict::fail(key, message).into())
        }
    }
}

/// The verdict of a test whose program is not there.
fn missing(key: &str, program: &Payload, place: &str) -> Verdict {
    let binary = match program.source {
        PayloadSource::Binary(name) | PayloadSource::Package(name) => name,
    };
    let message = format!("{}: `{binary}` {place}; install it", program.name);
    if program.skip_if_missing {
        Verdict::skip(format!("{key}: {message}"))
    } else {
        let hint = ", or declare it with skip_if_missing = true";
        Verdict::fail(key, format!("{message}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use ktstr_core::Topology;
    use ktstr_core::host::Host;

    use super::*;

    const PROGRAM: Payload = Payload {
        name: "bench",
        source: PayloadSource::Binary("bench"),
        include_files: &["data", "/etc/hosts"],
        manifest_dir: "/p/mine",
        ..Payload::NONE
    };

    fn found(program: Payload, path: &Path) -> Result<Vec<HostProgram>, String> {
        let host = Host {
            path: path.into(),
            ..Host::default()
        };
        let settings = Settings::new(host, "/proc/self/exe", "/p");
        let plan = MachinePlan {
            workloads: vec![program],
            ..MachinePlan::new(Topology::constant(1, 1, 1, 1))
        };
        let mut observer = |_: RunEvent<'_>| {};
        let cancel = CancelToken::new().unwrap();
        programs(&plan, &settings, &mut observer, &cancel).map_err(|error| match &error {
            RunError::Refused(verdict) => format!("{} {error}", verdict.outcome()),
            RunError::Cancelled => error.to_string(),
        })
    }

    #[test]
    fn a_program_is_where_the_search_path_or_its_declaration_says() {
        let dir = tempfile::tempdir().unwrap();
        let bench = dir.path().join("bench");
        fs::write(&bench, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&bench, fs::Permissions::from_mode(0o755)).unwrap();
        let [program] = &found(PROGRAM, dir.path()).unwrap()[..] else {
            panic!("one program");
        };
        assert_eq!(program.path, bench);
        assert_eq!(program.guest_path(), Path::new("/programs/bench"));
        let files = ["/p/mine/data", "/etc/hosts"].map(PathBuf::from);
        assert_eq!(program.include_files, files);
        let by_path = Payload {
            source: PayloadSource::Binary("/bin/true"),
            ..PROGRAM
        };
        assert_eq!(
            found(by_path, dir.path()).unwrap()[0].path,
            Path::new("/bin/true")
        );
    }

    #[test]
    fn one_that_is_missing_or_no_program_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            found(PROGRAM, dir.path()).unwrap_err(),
            "fail workloads: bench: `bench` is not in the search path (PATH); install it, or declare it with \
             skip_if_missing = true"
        );
        let optional = Payload {
            skip_if_missing: true,
            ..PROGRAM
        };
        assert_eq!(
            found(optional, dir.path()).unwrap_err(),
            "skip skip: workloads: bench: `bench` is not in the search path (PATH); install it"
        );
        let by_path = |path| Payload {
            source: PayloadSource::Binary(path),
            ..PROGRAM
        };
        let told = found(by_path("./none"), dir.path()).unwrap_err();
        assert!(
            told.contains("bench: `./none` is not at /p/mine/./none"),
            "{told}"
        );
        let told = found(by_path("/etc/hosts"), dir.path()).unwrap_err();
        assert!(
            told.contains("/etc/hosts is some other file, not a program"),
            "{told}"
        );
        let package = Payload {
            source: PayloadSource::Package("load"),
            ..PROGRAM
        };
        let told = found(package, dir.path()).unwrap_err();
        assert!(
            told.contains("bench: the package `load` cannot be built")
                && !told.contains("KTSTR_SCHEDULER"),
            "{told}"
        );
    }
}
