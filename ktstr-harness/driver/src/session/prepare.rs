//! What is decided before anything is built: project, place for records, backend, and a kernel where none was given.

use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

use ktstr_core::env;
use ktstr_core::host::Commit;
use ktstr_kernel::discover::discover;
use ktstr_vmm::{Backend, BackendSelection, ParseBackendError};

use super::Session;
use super::error::SessionError;
use super::event::{SessionEvent, SessionObserver};
use crate::kernels::kernel_cache;
use crate::{cargo, nextest, records};

/// Where the kernels of a session come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// One that is built already is found, as a test without a session would: see [`discover`].
    Discover,
    /// The caller has given them, or resolves them next: [`Session::kernels`].
    Given,
    /// Those of [`Session::kernel_request`] are resolved, after all else was looked for: builds take their time. One is
    /// found where the request names none.
    Requested,
}

impl Session {
    /// Looks for everything that takes no build, all at once: nextest, a cargo project and a place for records (see
    /// [`Session::check`]), the backend, and a kernel if `kernels` says so. Kernels that are to be built come last; a caller
    /// that builds them itself calls this before.
    ///
    /// A backend that was asked for, by [`Session::backend`] or `KTSTR_BACKEND`, has to work. If none was asked for and none
    /// works, the session goes on: tests that need no machine can run, the others say what is missing.
    pub fn prepare(
        self,
        kernels: KernelChoice,
        observer: &dyn SessionObserver,
    ) -> Result<Self, SessionError> {
        let wanted = self.wanted_backend()?;
        let budget = match self.budget {
            Some(budget) => Some(budget),
            None => env::budget(&self.host)?,
        };
        let names_none = self.kernel_request.identifiers.is_empty();
        let cache = match kernels {
            KernelChoice::Requested if !names_none => None,
            KernelChoice::Discover | KernelChoice::Requested => Some(kernel_cache(&self.host)?),
            KernelChoice::Given => None,
        };
        let (checked, selection, found) = thread::scope(|scope| {
            let selection = scope.spawn(|| BackendSelection::detect(&self.host, wanted));
            let found = cache
                .as_ref()
                .map(|cache| scope.spawn(|| discover(&self.host, cache, &self.dir)));
            let checked = self.check();
            (checked, selection.join(), found.map(ScopedJoinHandle::join))
        });
        checked?;
        let session = self.budget(budget);
        let panicked = |what| move |_| SessionError::Panicked { what };
        let mut session = match selection.map_err(panicked("the search for a backend"))? {
            Ok(selection) => {
                observer.event(SessionEvent::BackendSelected(&selection));
                session.selection(&selection)
            }
            Err(error) if wanted.is_some() => return Err(SessionError::Backend(error)),
            Err(error) => {
                observer.event(SessionEvent::NoBackend(&error));
                session
            }
        };
        if let Some(found) = found {
            let found = found.map_err(panicked("the search for a kernel"))??;
            observer.event(SessionEvent::KernelFound(&found));
            // Told to every test, so that all of them take this one.
            session.kernels = vec![found.kernel];
        }
        match kernels {
            KernelChoice::Requested => Ok(session.resolve_kernels(observer)?),
            KernelChoice::Discover | KernelChoice::Given => Ok(session),
        }
    }

    /// Looks whether there are nextest, a cargo project and a place for records, without starting a build.
    pub fn check(&self) -> Result<(), SessionError> {
        if cargo::find_nextest(&self.host).is_none() {
            return Err(SessionError::NoNextest);
        }
        if !self.has_project() && !self.has_tests() {
            let dir = self.dir.clone();
            return Err(SessionError::NoProject { dir });
        }
        // Git is asked meanwhile: cargo and git take the time that matters before tests start.
        let runs_dir = thread::scope(|scope| {
            scope.spawn(|| self.commit());
            self.runs_dir_or_here()
        });
        let dir = self.sidecar_dir().unwrap_or(runs_dir);
        records::check(&dir).map_err(|source| SessionError::Records { dir, source })
    }

    /// Where the project's run directories are, `target/ktstr`: asks cargo, once. `None` where no project is.
    pub fn runs_dir(&self) -> Option<PathBuf> {
        let target = self.target.get_or_init(|| {
            let told = nextest::value(&self.nextest_args, "--target-dir");
            match told {
                Some(dir) => Some(cargo::absolute(&self.dir.join(dir))),
                None if self.has_project() => {
                    let wanted = ["--manifest-path", "--config", "-Z"];
                    let args = nextest::for_cargo(&self.nextest_args, &wanted);
                    cargo::target_dir(&self.host, &self.dir, args)
                }
                None => None,
            }
        });
        Some(target.as_ref()?.join("ktstr"))
    }

    /// Where run directories are that no project has: those of an archive, whose own place may not last.
    pub(crate) fn runs_dir_or_here(&self) -> PathBuf {
        self.runs_dir()
            .unwrap_or_else(|| cargo::absolute(&self.dir).join("target/ktstr"))
    }

    /// Where records are: in run directories there, or right there where `KTSTR_SIDECAR_DIR` says so.
    pub(crate) fn records_dir(&self) -> PathBuf {
        self.sidecar_dir()
            .unwrap_or_else(|| self.runs_dir_or_here())
    }

    /// Where records go instead, if somebody says so.
    pub(super) fn sidecar_dir(&self) -> Option<PathBuf> {
        env::path(&self.host, env::SIDECAR_DIR)
    }

    pub(crate) fn commit(&self) -> Option<&Commit> {
        let commit = self
            .commit
            .get_or_init(|| Commit::of(&self.host, &self.dir));
        commit.as_ref()
    }

    fn has_project(&self) -> bool {
        cargo::is_project(&self.dir)
            || nextest::value(&self.nextest_args, "--manifest-path").is_some()
    }

    /// Whether there are tests without a project: those of an archive, or of a build that is described.
    fn has_tests(&self) -> bool {
        ["--archive-file", "--cargo-metadata"]
            .iter()
            .any(|option| nextest::value(&self.nextest_args, option).is_some())
    }

    /// The backend that was asked for, of this session or by the environment.
    fn wanted_backend(&self) -> Result<Option<Backend>, SessionError> {
        let set = self.host.var(env::BACKEND);
        let set = set.and_then(|name| name.into_string().ok());
        let set = set.filter(|name| !name.is_empty()).map(|name| name.parse());
        let set = set.transpose().map_err(|source: ParseBackendError| {
            let variable = env::BACKEND;
            SessionError::UnknownBackend { variable, source }
        })?;
        Ok(self.backend.or(set))
    }
}
