//! Exports a test as a file that runs it without a virtual machine.
//!
//! The file is a bash script with an archive behind it. The script, `run.sh`, checks the machine, unpacks the archive and
//! starts the test binary with `--bare-metal`; ktstr-harness does the rest.

mod archive;
mod script;
mod write;

use std::path::{Path, PathBuf};

use ktstr_core::host::Commit;
use ktstr_core::host::files::is_program;
use ktstr_harness::dispatch::{CaseScheduler, ProgramSource};
use ktstr_harness::runner::RunError;
use ktstr_harness::runner::build::{Builds, Package};
use ktstr_kernel::Remedy;
use ktstr_vmm::CancelToken;

use crate::find_test::FindTestError;
use crate::{Session, SessionEvent, SessionObserver, TestMachine};
use archive::Content;
use script::Specification;

/// What is exported, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The file to write, relative to the session's directory; `NAME.run` there where nothing is said. A file that an
    /// export wrote is replaced, another one is not.
    pub output: Option<PathBuf>,
}

/// A test that was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Size of its archive in bytes.
    pub archive_bytes: u64,
    /// How many include files it has.
    pub include_files: usize,
    /// The case that it runs.
    pub case: String,
    /// The test binary that has it.
    pub binary: PathBuf,
    /// Other test binaries that have a test of this name, in the order of their paths.
    pub others: Vec<PathBuf>,
}

/// A test that cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It cannot be found.
    #[error(transparent)]
    Find(#[from] FindTestError),
    /// It runs on the host.
    #[error(
        "{case} cannot be exported: it is `host_only`, and runs without a machine already; run it by `cargo ktstr test -- -E 'test(={case})'` on the other machine"
    )]
    HostOnly {
        /// The case.
        case: String,
    },
    /// Its scheduler is part of a kernel.
    #[error(
        "{case} cannot be exported: its scheduler {scheduler} is built into the kernel under test (`kernel_builtin_enable`), which the other machine does not run; boot that kernel there and run the scenario under a test without a scheduler, or use `cargo ktstr test`"
    )]
    KernelBuiltin {
        /// The case.
        case: String,
        /// The scheduler.
        scheduler: String,
    },
    /// It writes into the maps of its scheduler.
    #[error(
        "{case} cannot be exported: it writes into its scheduler's maps (`bpf_map_write`), which ktstr does in its own machines alone; run it by `cargo ktstr test -- -E 'test(={case})'`, or leave the key out"
    )]
    MapWrites {
        /// The case.
        case: String,
    },
    /// The program of its scheduler, or one that it runs, cannot be built.
    #[error("{scheduler}: {why}")]
    Build {
        /// The scheduler or program.
        scheduler: String,
        /// One line of what went wrong.
        why: String,
    },
    /// The program of its scheduler, or one that it runs, is not there.
    #[error("{scheduler}: no program at {}; build it, or fix the path", path.display())]
    NoProgram {
        /// The scheduler.
        scheduler: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file that belongs into the archive cannot be had.
    #[error("{what} {}: {why}", path.display())]
    File {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// The output is something else.
    #[error("{}: {why}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// Why it is not written, and what to do.
        why: String,
    },
    /// It was cancelled.
    #[error("the export was cancelled; nothing was written")]
    Cancelled,
}

impl ExportError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Find(error) => error.remedy(),
            _ => None,
        }
    }
}

impl Session {
    /// Writes a file that runs `test`, named as for [`Session::thresholds`], on the machine that it is started on: test
    /// binary, scheduler and include files behind a script that checks the machine first. Scheduler, its arguments and
    /// topology are those of the case; that of a gauntlet variant is its preset.
    ///
    /// Builds the test and its scheduler first where need be. Where several test binaries have a test of that name, the
    /// first one in the order of their paths is taken: [`Exported::others`] are the others, and `-p PACKAGE` among the
    /// [arguments for nextest](Session::nextest_args) leaves them out. The file appears whole or not at all.
    ///
    /// ```no_run
    /// use ktstr_core::host::Host;
    /// use ktstr_driver::{ExportOptions, Session, Silent};
    /// use ktstr_vmm::CancelToken;
    ///
    /// let session = Session::new(Host::of_this_process(), ".").nextest_args(["-p", "mine"]);
    /// let options = ExportOptions { output: Some("/tmp/steady.run".into()) };
    /// let exported = session.export("steady", &options, &Silent, &CancelToken::new()?)?;
    /// println!("{}: {} bytes", exported.path.display(), exported.archive_bytes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(
        &self,
        test: &str,
        options: &ExportOptions,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Exported, ExportError> {
        let mut found = self.machines(test, observer, cancel)?;
        found.sort_by(|one, other| one.binary.cmp(&other.binary));
        let mut found = found.into_iter();
        let Some(first) = found.next() else {
            return Err(FindTestError::Unknown(test.to_owned()).into());
        };
        let mut others: Vec<PathBuf> = found.map(|other| other.binary).collect();
        others.retain(|binary| *binary != first.binary);
        others.dedup();
        check_exportable(&first)?;
        let output = match &options.output {
            Some(output) => output.clone(),
            None => Specification::of(&first)?.file_name().into(),
        };
        let output = self.dir().join(output);
        write::check(&output)?;
        let program = match &first.machine.scheduler {
            Some(CaseScheduler { name, program, .. }) => {
                Some(self.program(name, program, observer, cancel)?)
            }
            None => None,
        };
        let programs = first.machine.programs.iter();
        let programs = programs
            .map(|it| self.program(&it.name, &it.program, observer, cancel))
            .collect::<Result<Vec<_>, _>>()?;
        let exported = first.export(
            program.as_deref(),
            &programs,
            self.commit(),
            &output,
            cancel,
        )?;
        Ok(Exported { others, ..exported })
    }

    /// The program called `name`, of a scheduler or of a test, built first where it is a package.
    fn program(
        &self,
        name: &str,
        source: &ProgramSource,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<PathBuf, ExportError> {
        let name = name.to_owned();
        let path = match source {
            ProgramSource::Path(path) => path.clone(),
            ProgramSource::Package(package) => self
                .build_scheduler(package, observer, cancel)?
                .map_err(|why| ExportError::Build {
                    scheduler: name.clone(),
                    why,
                })?,
            // Refused before.
            ProgramSource::Kernel => PathBuf::new(),
        };
        if is_program(&path) {
            Ok(path)
        } else {
            let scheduler = name;
            Err(ExportError::NoProgram { scheduler, path })
        }
    }

    fn build_scheduler(
        &self,
        package: &Package,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Result<PathBuf, String>, ExportError> {
        observer.event(SessionEvent::SchedulerBuildStarted { package });
        let builds = Builds::new(self.runs_dir_or_here(), self.epoch());
        let mut failed = |said: &str| {
            for line in said.lines() {
                let line = line.as_bytes();
                observer.event(SessionEvent::SchedulerBuildOutput { package, line });
            }
        };
        let built = builds.program(package, self.host(), None, &mut failed, cancel);
        builds.forget();
        let program = match built {
            Ok(program) => program,
            Err(RunError::Cancelled) => return Err(ExportError::Cancelled),
            Err(refused) => Err(refused.to_string()),
        };
        observer.event(SessionEvent::SchedulerBuildEnded {
            package,
            program: program.as_deref().map_err(String::as_str),
        });
        Ok(program)
    }
}

impl TestMachine {
    /// Writes the file `output` as [`Session::export`] does, of this case of this binary. `program` is that of its
    /// scheduler, `programs` are those that it runs, in the order of [`CaseMachine::programs`], and `commit` is the one that
    /// it is built from.
    ///
    /// [`CaseMachine::programs`]: ktstr_harness::dispatch::CaseMachine::programs
    pub fn export(
        &self,
        program: Option<&Path>,
        programs: &[PathBuf],
        commit: Option<&Commit>,
        output: &Path,
        cancel: &CancelToken,
    ) -> Result<Exported, ExportError> {
        let mut specification = Specification::of(self)?;
        specification.commit = commit.map(ToString::to_string);
        write::check(output)?;
        let content = Content::of(self, program, programs)?;
        let archive_bytes = write::run_file(output, &specification, &content, cancel)?;
        Ok(Exported {
            path: output.to_owned(),
            archive_bytes,
            include_files: content.include_files(),
            case: self.machine.case.clone(),
            binary: self.binary.clone(),
            others: Vec::new(),
        })
    }
}

/// Refuses what no other machine can run. The one place that says so.
fn check_exportable(found: &TestMachine) -> Result<(), ExportError> {
    let machine = &found.machine;
    let case = machine.case.clone();
    if machine.topology.is_none() {
        return Err(ExportError::HostOnly { case });
    }
    if machine.writes_maps {
        return Err(ExportError::MapWrites { case });
    }
    match &machine.scheduler {
        Some(scheduler) if scheduler.program == ProgramSource::Kernel => {
            Err(ExportError::KernelBuiltin {
                case,
                scheduler: scheduler.name.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// A file of the archive that is not what it should be.
fn file_error(what: &'static str, path: &Path, why: impl Into<String>) -> ExportError {
    ExportError::File {
        what,
        path: path.to_owned(),
        why: why.into(),
    }
}
