//! What happens in a comparison by runs, as events.

use crate::SessionEvent;
use crate::perf_delta::SideName;

/// Something that happened in a comparison by runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NoiseEvent<'a> {
    /// The changes since the baseline affect no test: nothing is compared.
    NothingAffected,
    /// An interrupted comparison goes on.
    Resumed {
        /// Runs that are done.
        done: usize,
        /// Runs that are wanted.
        runs: usize,
    },
    /// The tests of a commit are built and listed.
    Preparing {
        /// Which side.
        side: SideName,
        /// Its commit, as people name it.
        commit: &'a str,
    },
    /// It is known which tests of a commit are performance tests.
    Selected {
        /// Which side.
        side: SideName,
        /// How many cases they have.
        cases: usize,
    },
    /// A run begins.
    RunStarted {
        /// Which side.
        side: SideName,
        /// Which run of all, from 1.
        number: usize,
        /// Runs that are wanted.
        runs: usize,
    },
    /// No machine ran in the first runs: there are no more.
    NothingMeasured,
    /// Something happened in a session.
    Session(SessionEvent<'a>),
}
