//! What runs a session of tests: kernels resolved first, then `cargo nextest run`, with the schedulers that its tests need
//! built before the first of them starts, then a summary.
//!
//! ```no_run
//! use ktstr_harness::driver::Session;
//!
//! # fn kernels() -> Vec<ktstr_kernel::ResolvedKernel> { vec![] }
//! let report = Session::new(".").kernels(kernels()).nextest_args(["-E", "test(steady)"]).run()?;
//! println!("exit code {}, results in {:?}", report.exit_code, report.runs);
//! # Ok::<(), ktstr_harness::driver::SessionError>(())
//! ```

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
