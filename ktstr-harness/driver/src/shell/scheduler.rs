//! The scheduler that runs beside a shell.

use std::path::{Path, PathBuf};

use ktstr_harness::Scheduler;
use ktstr_harness::dispatch::{CaseScheduler, ProgramSource};
use ktstr_harness::protocol::{SchedulerSpec, SchedulerStart};
use ktstr_harness::runner::build::Package;
use ktstr_harness::runner::{RunEvent, RunObserver, Settings, why_no_program};
use ktstr_vmm::CancelToken;
use ktstr_vmm::initramfs::{InitramfsBuilder, Pack};

use super::ShellError;

/// A scheduler to start before the shell.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellScheduler {
    /// What errors call it.
    pub name: String,
    /// Where its program comes from.
    pub program: ProgramSource,
    /// The file of the host that the guest finds at [`Scheduler::CONFIG_FILE`].
    pub config_file: Option<PathBuf>,
    /// How the guest starts it.
    pub spec: SchedulerSpec,
}

impl ShellScheduler {
    /// The one that `word` names: the path of a program where it holds a `/`, else a cargo package of the project that
    /// `dir` is in, to be built with that profile.
    pub fn named(
        word: &Path,
        args: Vec<String>,
        dir: &Path,
        profile: &str,
    ) -> Result<Self, ShellError> {
        let name = word.display().to_string();
        let program = if name.contains('/') {
            // Without the `.` that such a path begins with.
            ProgramSource::Path(dir.join(word).components().collect())
        } else {
            let found = dir.ancestors().find(|dir| dir.join("Cargo.toml").is_file());
            let Some(project) = found else {
                let dir = dir.display().to_string();
                return Err(ShellError::NoProject { name, dir });
            };
            ProgramSource::Package(Package {
                name: name.clone(),
                profile: profile.to_owned(),
                dir: project.to_owned(),
            })
        };
        Ok(Self {
            name,
            program,
            config_file: None,
            spec: SchedulerSpec {
                start: SchedulerStart::Program(args),
                files: Vec::new(),
                sysctls: Vec::new(),
                cgroup: None,
                allow_restarts: false,
            },
        })
    }

    /// That of a test.
    pub(super) fn of_case(scheduler: CaseScheduler) -> Self {
        let CaseScheduler {
            name,
            program,
            config_file,
            spec,
        } = scheduler;
        Self {
            name,
            program,
            config_file,
            spec,
        }
    }

    /// `root` with its program, which is built first where it is a package, and its files.
    pub(super) fn add_to(
        &self,
        root: InitramfsBuilder,
        settings: &Settings,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<InitramfsBuilder, ShellError> {
        let fail = |why: String| ShellError::Scheduler {
            name: self.name.clone(),
            why,
        };
        let root = match &self.config_file {
            Some(file) => root.file(file, Scheduler::CONFIG_FILE, 0o644),
            None => root,
        };
        let program = match &self.program {
            ProgramSource::Kernel => return Ok(root),
            ProgramSource::Path(path) => path.clone(),
            ProgramSource::Package(package) => {
                let note = format!(
                    "building the scheduler {} ({})",
                    package.name, package.profile
                );
                observer.event(RunEvent::Note(&note));
                let mut failed = |log: &str| observer.event(RunEvent::SchedulerBuildFailed(log));
                let builds = &settings.builds;
                let built = builds.program(package, &settings.host, None, &mut failed, cancel)?;
                builds.forget();
                built.map_err(fail)?
            }
        };
        if let Some(why) = why_no_program(&program) {
            return Err(fail(format!("{}: {why}", program.display())));
        }
        // Whole: it may read its own debug information, such as BTF.
        Ok(root.executable(program, Scheduler::PROGRAM, Pack::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        let named = |word: &str| ShellScheduler::named(word.as_ref(), Vec::new(), &below, "dev");
        let path = named("./scx_a").unwrap().program;
        assert_eq!(path, ProgramSource::Path(below.join("scx_a")));
        let error = named("scx_a").unwrap_err().to_string();
        assert!(
            error.starts_with("scheduler scx_a: no Cargo.toml in "),
            "{error}"
        );
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
        let ProgramSource::Package(package) = named("scx_a").unwrap().program else {
            panic!("it is a package")
        };
        assert_eq!(package.dir, dir.path());
        assert_eq!(
            (package.name.as_str(), package.profile.as_str()),
            ("scx_a", "dev")
        );
    }
}
