//! Running and listing the tests.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::SystemTime;

use ktstr_core::env;
use ktstr_core::record::Record;
use ktstr_core::timestamp::rfc3339;
use ktstr_harness::dispatch::SessionInfo;
use ktstr_harness::runner::build::Builds;
use ktstr_harness::runner::{Coverage, own_epoch};
use ktstr_vmm::CancelToken;

use super::error::SessionError;
use super::event::{OutputStream, SessionEvent, SessionObserver};
use super::file::SessionFile;
use super::report::SessionReport;
use super::schedulers::SchedulerBuilds;
use super::{NextestStreams, Session, foreground};
use crate::RunSummary;
use crate::coverage::Measurement;
use crate::nextest::{self, Listing};
use crate::process::{self, Captured, OnLine, Scope, exit_code};

/// Nextest's exit code where tests failed.
const TESTS_FAILED: u8 = 100;

impl Session {
    /// Runs the tests, and tells `observer` what happens.
    ///
    /// Schedulers that are cargo packages are built before the first test starts, each once, and only those of tests
    /// that run.
    ///
    /// What a [replay](crate::replay) needs is left beside the records, as a [`SavedSession`](crate::SavedSession).
    ///
    /// When it is cancelled, nextest is told to end (`SIGTERM`). It gives its tests ten seconds for that, unless the project
    /// says otherwise. Then the session reports the records that there are.
    pub fn run(
        &self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<SessionReport, SessionError> {
        self.check()?;
        if cancel.is_cancelled() {
            return Err(SessionError::Cancelled);
        }
        self.begin_coverage()?;
        let epoch = self.epoch();
        let runs_dir = self.runs_dir_or_here();
        let records = self.sidecar_dir().unwrap_or_else(|| runs_dir.clone());
        let selected = self.within_budget(&records, observer, cancel)?;
        let begin = rfc3339(SystemTime::now());
        let id = own_epoch();
        let builds = self.scheduler_builds(&id, &runs_dir, observer);
        let builder = builds.as_ref().map(|builds| builds.name().to_owned());
        let info = self.info(id, epoch.clone(), runs_dir.clone(), builder, selected)?;
        let file = SessionFile::write(&info, &self.host)?;
        self.save(&epoch, &begin)?;
        let mut list = self.list_command(&epoch)?;
        // Of tests that are selected, only what those need is built.
        let list_file = match info.selected {
            Some(_) => Some(self.file_for_list(info)?),
            None => None,
        };
        if let Some(file) = &list_file {
            list.env(env::SESSION, file.path());
        }
        list.args(nextest::listing(&self.nextest_args));
        let mut command = self.run_command(&epoch)?;
        command
            .args(&self.nextest_args)
            .env(env::SESSION, file.path());
        let status = thread::scope(|scope| {
            if let Some(builds) = &builds {
                scope.spawn(|| builds.serve(&mut list));
            }
            let status = self.run_cargo(&mut command, observer, cancel);
            if let Some(builds) = &builds {
                builds.stop();
            }
            status
        })
        .map_err(|source| cargo_error(&command, source))?;
        drop((file, list_file));
        observer.event(SessionEvent::NextestEnded { status });
        self.tell_of_profiles(observer);
        let runs = RunSummary::of_epoch(&runs_dir, self.sidecar_dir().as_deref(), &epoch);
        observer.event(SessionEvent::RecordsFound { runs: &runs });
        let ignores = self.coverage.as_ref();
        let ignores = ignores.is_some_and(Measurement::ignores_failures);
        let mut report = report(status, runs, &begin, cancel.is_cancelled());
        if ignores && report.overruled {
            report.overruled = false;
            report.exit_code = exit_code(status);
        }
        Ok(report)
    }

    /// Removes what an earlier session of coverage left.
    pub(crate) fn begin_coverage(&self) -> Result<(), SessionError> {
        let measurement = self.coverage.as_ref();
        measurement
            .map_or(Ok(()), Measurement::begin)
            .map_err(SessionError::Coverage)
    }

    /// Tells which profiles the report of coverage does not have.
    pub(crate) fn tell_of_profiles(&self, observer: &dyn SessionObserver) {
        let Some(measurement) = &self.coverage else {
            return;
        };
        let (notes, of) = measurement.notes();
        for note in &notes {
            observer.event(SessionEvent::NotCovered { note });
        }
        if of > notes.len() {
            let note = format!("coverage: {} more such notes", of - notes.len());
            observer.event(SessionEvent::NotCovered { note: &note });
        }
    }

    /// Has the tests of `command` told what the session decided, as long as the file lives; each builds its own scheduler.
    pub(crate) fn tell(
        &self,
        command: &mut Command,
        epoch: String,
    ) -> Result<SessionFile, SessionError> {
        let info = self.info(own_epoch(), epoch, self.runs_dir_or_here(), None, None)?;
        let file = SessionFile::write(&info, &self.host)?;
        command.env(env::SESSION, file.path());
        Ok(file)
    }

    /// What the binaries are told that list the selected tests: the same, but that they do not ask for schedulers, which
    /// this list is made for.
    fn file_for_list(&self, info: SessionInfo) -> Result<SessionFile, SessionError> {
        let unasked = SessionInfo {
            id: format!("{}-list", info.id),
            builder: None,
            ..info
        };
        SessionFile::write(&unasked, &self.host)
    }

    /// Every case that there is, ignored ones too, by the binaries that have them. Builds the tests where need be.
    pub fn list(
        &self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Listing, SessionError> {
        self.check()?;
        let mut command = self.list_command(&self.epoch())?;
        command.args(["--run-ignored", "all"]);
        command.args(nextest::build_selection(&self.nextest_args));
        self.listing(command, observer, cancel)
    }

    /// The list that `command` prints.
    pub(super) fn listing(
        &self,
        mut command: Command,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Listing, SessionError> {
        observer.event(SessionEvent::ListStarted);
        let listed = self
            .capture(&mut command, observer, cancel)
            .map_err(|source| cargo_error(&command, source))?;
        if cancel.is_cancelled() {
            return Err(SessionError::Cancelled);
        }
        if !listed.status.success() {
            return Err(SessionError::List {
                exit_code: exit_code(listed.status),
            });
        }
        Ok(Listing::parse(&listed.stdout)?)
    }

    /// Runs `command` for its standard output; the other stream goes where nextest's goes.
    pub(crate) fn capture(
        &self,
        command: &mut Command,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> io::Result<Captured> {
        let mut tell = teller(observer, OutputStream::Stderr);
        let (scope, stderr): (Scope, Option<OnLine<'_>>) = match self.streams {
            NextestStreams::Events => (Scope::Group, Some(&mut tell)),
            NextestStreams::Inherited => (Scope::Group, None),
            NextestStreams::Foreground => (Scope::Process, None),
        };
        process::capture(command, scope, cancel, stderr)
    }

    /// Runs `command` where the session's output goes.
    pub(crate) fn run_cargo(
        &self,
        command: &mut Command,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> io::Result<ExitStatus> {
        let started =
            |child: &Child| observer.event(SessionEvent::NextestStarted { pid: child.id() });
        match self.streams {
            NextestStreams::Foreground => foreground::run(command, cancel, started),
            NextestStreams::Inherited => {
                process::run(command, Scope::Group, cancel, None, None, started)
            }
            NextestStreams::Events => {
                let mut stdout = teller(observer, OutputStream::Stdout);
                let mut stderr = teller(observer, OutputStream::Stderr);
                process::run(
                    command,
                    Scope::Group,
                    cancel,
                    Some(&mut stdout),
                    Some(&mut stderr),
                    started,
                )
            }
        }
    }

    /// What builds schedulers; none where tests have to, each for itself.
    fn scheduler_builds<'o>(
        &self,
        id: &str,
        runs_dir: &Path,
        observer: &'o dyn SessionObserver,
    ) -> Option<SchedulerBuilds<'o>> {
        // Asking nextest would unpack the archive once more.
        if nextest::value(&self.nextest_args, "--archive-file").is_some() {
            return None;
        }
        let wanted = [
            "--locked",
            "--offline",
            "--frozen",
            "--config",
            "--target-dir",
        ];
        let mut args = nextest::for_cargo(&self.nextest_args, &wanted);
        let coverage = self.coverage.as_ref().map(Measurement::places);
        args.extend(coverage.into_iter().flat_map(Coverage::cargo_args));
        let builds = Builds::new(runs_dir, id);
        SchedulerBuilds::new(
            format!("ktstr-{id}"),
            builds,
            self.build_host(),
            args,
            coverage.cloned(),
            observer,
        )
        .ok()
    }
}

/// Tells `observer` the lines of nextest's `stream`.
fn teller(observer: &dyn SessionObserver, stream: OutputStream) -> impl FnMut(&[u8]) + Send + '_ {
    move |line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        observer.event(SessionEvent::NextestOutput { stream, line });
    }
}

fn report(
    status: ExitStatus,
    runs: Vec<RunSummary>,
    begin: &str,
    cancelled: bool,
) -> SessionReport {
    // Sessions may share an epoch; earlier ones said what they had to say.
    let is_new = |record: &Record| record.sidecar.started.as_str() >= begin;
    let has_failed = runs.iter().flat_map(RunSummary::failures).any(is_new);
    let overruled = status.success() && has_failed;
    SessionReport {
        exit_code: if overruled {
            TESTS_FAILED
        } else {
            exit_code(status)
        },
        overruled,
        signal: status.signal(),
        cancelled,
        runs,
    }
}

fn cargo_error(command: &Command, source: io::Error) -> SessionError {
    SessionError::Cargo {
        program: process::name(command),
        source,
    }
}
