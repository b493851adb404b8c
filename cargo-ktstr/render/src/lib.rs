//! Reports of `ktstr-driver`, `ktstr-kernel` and `ktstr-core` as text for a terminal of any width.
//!
//! This is what `cargo ktstr` shows, for programs that embed the libraries and want to show the same. Functions take
//! plain values, a report and a [`Style`], and return text. Nothing here prints or reads the environment, the terminal or a
//! file; a progress [`Reporter`](progress::Reporter) writes to what it is given.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::kernels::{self, KernelOptions};
//! use ktstr_render::progress::Reporter;
//! use ktstr_render::{Style, errors};
//!
//! let host = Host::of_this_process();
//! // A terminal of 100 columns; paths at home begin with `~`.
//! let style = Style::new("mine", Some(100), host.var("HOME").map(Into::into));
//!
//! print!("{}", ktstr_render::kernels::text(&kernels::list(&host)?, &style));
//!
//! let reporter = Reporter::lines(&style, std::io::stderr());
//! let mut ready = |spec: &_, kernel: &_| reporter.resolved(spec, kernel);
//! let options = KernelOptions::default();
//! match kernels::resolve(&host, &["6.12", "../linux"], options, &reporter, &mut ready) {
//!     Ok(kernels) => println!("{} kernels are ready", kernels.len()),
//!     // Each kernel that failed in a line, with what to do, and the end of its build's output above.
//!     Err(error) => eprint!("{}", errors::text(&errors::problems(&error, "mine"))),
//! }
//! # Ok::<(), kernels::KernelsError>(())
//! ```
//!
//! The parts, in the order in which one meets them:
//!
//! - [`Style`]: where text is shown, and by which program.
//! - [`doctor`]: what a host has for running tests, and what to do about the rest.
//! - [`progress`]: what a resolution of kernels or a session is doing, as bars or lines.
//! - [`kernels`]: what the cache has, what was resolved, what a clean removes.
//! - [`errors`]: errors in one line each, with what to do next.
//! - [`summary`]: how a session ended, and how to run its failures again.
//! - [`replay`]: the failures of the newest session, and what a replay of them leaves out.
//! - [`shell`]: what is said beside a shell in a machine.
//! - [`export`]: what was exported.
//! - [`verifier`]: the tables of a sweep over schedulers.
//! - [`perf_delta`]: what got worse between two commits.
//! - [`affected`]: which schedulers and tests changes affect, and why.
//! - [`thresholds`]: what tests are judged by.
//! - [`locks`]: who holds which lock.
//! - [`stats`]: what past runs tell.
//! - [`table`] and [`text`]: what the others are made of.
//!
//! Documents for programs are no text: reports that `cargo ktstr` prints as JSON implement `Serialize`, and their fields
//! are documented where they are declared: [`Report`](ktstr_driver::doctor::Report),
//! [`KernelList`](ktstr_driver::kernels::KernelList), [`ListedReleases`](ktstr_driver::kernels::ListedReleases),
//! [`LocksReport`](ktstr_driver::LocksReport), and those of [`ktstr_driver::stats`].

pub mod affected;
pub mod doctor;
pub mod errors;
pub mod export;
pub mod kernels;
pub mod locks;
mod paint;
pub mod perf_delta;
pub mod progress;
pub mod replay;
pub mod shell;
pub mod stats;
mod style;
pub mod summary;
pub mod table;
pub mod text;
pub mod thresholds;
pub mod verifier;

pub use style::Style;
