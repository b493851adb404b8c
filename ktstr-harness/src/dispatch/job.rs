//! What a test binary lists and runs.

use ktstr_core::{CaseName, Topology};

use super::args::{Args, Names};
use crate::cases::{Case, Cell};
use crate::{Payload, Scheduler, TestCase};

/// One thing to run.
pub(super) enum Job {
    Test(Case),
    Cell(Cell),
}

impl Job {
    pub(super) fn name(&self) -> &CaseName {
        match self {
            Self::Test(case) => &case.name,
            Self::Cell(cell) => &cell.name,
        }
    }

    /// Whether it is selected, ignored or not.
    pub(super) fn is_asked_for(&self, args: &Args) -> bool {
        self.with_names(|names| args.selects_name(names))
    }

    /// Whether it is to run.
    pub(super) fn is_selected(&self, args: &Args) -> bool {
        self.with_names(|names| args.selects(names, self.is_ignored()))
    }

    /// Calls `ask` with the names that select it.
    fn with_names(&self, ask: impl FnOnce(&Names<'_>) -> bool) -> bool {
        let case = self.name().to_string();
        let (function, module) = match self {
            Self::Test(case) => (case.test.name, case.test.module),
            Self::Cell(_) => ("", ""),
        };
        ask(&Names {
            case: &case,
            function,
            module,
            is_base: !self.name().is_variant(),
        })
    }

    /// The machine's shape; `None` for a test on the host.
    pub(super) fn topology(&self) -> Option<Topology> {
        match self {
            Self::Test(case) => case.topology(),
            Self::Cell(cell) => Some(cell.preset.topology),
        }
    }

    /// Whether it runs only if a run asks for ignored tests.
    pub(super) fn is_ignored(&self) -> bool {
        match self {
            Self::Test(case) => case.is_ignored(),
            Self::Cell(_) => true,
        }
    }

    /// The programs that its test runs.
    pub(super) fn programs(&self) -> impl Iterator<Item = &'static Payload> + use<> {
        let test = match self {
            Self::Test(case) => Some(case.test),
            Self::Cell(_) => None,
        };
        test.into_iter().flat_map(TestCase::programs)
    }

    pub(super) fn scheduler(&self) -> &'static Scheduler {
        match self {
            Self::Test(case) => case.test.scheduler,
            Self::Cell(cell) => cell.scheduler,
        }
    }
}
