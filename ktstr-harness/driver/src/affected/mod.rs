//! What a change affects: which schedulers, and which tests.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::baseline::BaselineRequest;
//! use ktstr_driver::{Session, Silent};
//! use ktstr_vmm::CancelToken;
//!
//! let session = Session::new(Host::of_this_process(), ".");
//! let request = BaselineRequest::default();
//! let affected = session.affected(&request, &Silent, &CancelToken::new()?)?;
//! for (file, schedulers) in affected.impact.files.iter().zip(&affected.by_file) {
//!     println!("{}: {:?} affects {schedulers:?}", file.path.display(), file.causes);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Git tells which files differ from the [baseline](crate::baseline): by commits, in the work tree, and files that are not
//! tracked and not ignored. [`Impact::examine`] finds the packages that each of them reaches. A file belongs to the package
//! whose directory it is in, to those whose earlier builds read it (dep-info files, output of build scripts) and to those
//! whose sources name it (`#include`, `include_str!` and the like). From there cargo's graph leads on, over dependencies of
//! every kind, platform and feature. [`Impact::select`] turns packages into schedulers, by what the test binaries say.
//!
//! No selection is too small: what cannot be told counts as affected. Each decision names its [`Rule`].

mod changes;
mod impact;
mod inputs;
mod named;
mod paths;
mod project;
mod rules;
mod schedulers;
mod select;
mod unseen;

use ktstr_vmm::CancelToken;

use crate::baseline::BaselineRequest;
use crate::{Session, SessionObserver, nextest};

pub use impact::{FileImpact, Impact};
pub use rules::Rule;
pub use schedulers::{AffectedError, TestBinary};
pub use select::{Affected, Tests};

impl Session {
    /// The schedulers and tests that are affected by what changed since a baseline.
    ///
    /// Tests are built, to be asked for their schedulers, unless nothing is affected at all.
    pub fn affected(
        &self,
        request: &BaselineRequest,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Affected, AffectedError> {
        let wanted = [
            "--manifest-path",
            "--config",
            "-Z",
            "--locked",
            "--offline",
            "--frozen",
        ];
        let args = nextest::for_cargo(self.args(), &wanted);
        let impact = Impact::examine(self.host(), self.dir(), request, &args);
        if impact.is_nothing() {
            return Ok(Affected::nothing(impact));
        }
        Ok(impact.select(&self.test_binaries(observer, cancel)?))
    }

    /// Runs only `tests` of those that its arguments for nextest select; `None` where there are none.
    pub fn narrowed_to(self, tests: &Tests) -> Option<Self> {
        match tests {
            Tests::All => Some(self),
            Tests::None => None,
            Tests::Matching(expression) => Some(self.narrowed(expression)),
        }
    }

    /// Runs only those tests, of those that its arguments for nextest select, which the filter `expression` selects too. It
    /// is no failure that there are none.
    #[must_use]
    pub fn narrowed(self, expression: &str) -> Self {
        let mut args = nextest::narrowed(self.args(), expression);
        if nextest::value(&args, "--no-tests").is_none() {
            args.insert(0, "--no-tests=warn".into());
        }
        self.nextest_args(args)
    }
}
