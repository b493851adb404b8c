//! Runs many tests of a project: a session resolves nothing by itself, starts `cargo nextest run` on kernels that are
//! ready, builds each scheduler once before the first test starts, and reads back the records.
//!
//! ```no_run
//! use ktstr_driver::Session;
//!
//! # fn kernels() -> Vec<ktstr_kernel::ResolvedKernel> { vec![] }
//! let report = Session::new(".").kernels(kernels()).nextest_args(["-E", "test(steady)"]).run()?;
//! println!("exit code {}, results in {:?}", report.exit_code, report.runs);
//! # Ok::<(), ktstr_driver::SessionError>(())
//! ```
//!
//! - [`Session`] runs or lists tests; [`SessionReport`] and [`RunSummary`] tell what came of them.
//! - [`verifier`] sweeps declared schedulers over kernels and topologies.
//! - [`thresholds`] tells what a test is judged by.
//! - [`doctor`] tells what a host lacks.

mod builder;
pub mod doctor;
mod foreground;
mod listing;
mod options;
mod records;
mod session;
mod summary;
mod thresholds;
pub mod verifier;

pub use listing::{Listing, ListingError};
pub use session::{Session, SessionError, SessionReport};
pub use summary::{RunSummary, Tally, replay_filter};
pub use thresholds::{ThresholdsError, thresholds};
