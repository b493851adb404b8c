//! What belongs to a whole process and its terminal, for front ends of ktstr: standard streams, the look of text, signals,
//! and a shell at the terminal.
//!
//! The libraries take plain values, print nothing and change nothing process-wide. A command line does all of that; this is
//! how `cargo ktstr` does it. Everything here acts on the process that it is called in: it is for programs whose one
//! purpose is a ktstr command, and not for one that embeds the libraries beside other work.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use ktstr_core::host::Host;
//! use ktstr_driver::kernels;
//! use ktstr_render::errors;
//! use ktstr_terminal as terminal;
//!
//! fn main() -> ExitCode {
//!     terminal::shell::become_guardian();
//!     let host = Host::of_this_process();
//!     let style = terminal::style("mine", &host);
//!     match kernels::list(&host) {
//!         Ok(list) if terminal::print(ktstr_render::kernels::text(&list, &style)).is_ok() => ExitCode::SUCCESS,
//!         Ok(_) => ExitCode::FAILURE,
//!         Err(error) => {
//!             terminal::tell(errors::text(&errors::problems(&error, "mine")));
//!             ExitCode::FAILURE
//!         }
//!     }
//! }
//! ```
//!
//! The parts, in the order in which one meets them:
//!
//! - [`style`] and [`with_pictures`]: the width, colours and characters of this terminal.
//! - [`print()`] and [`tell`]: standard output, whose errors matter, and standard error. It is no error when a reader has
//!   gone.
//! - [`repeat`]: a report again and again, as `watch(1)` shows it.
//! - [`reporter`]: progress on standard error, as bars or lines.
//! - [`confirmed`]: a question that a person answers.
//! - [`cancelled_by_signals`]: a token for work that outlives a Ctrl-C by its own clean-up.
//! - [`append_to_job_summary`]: the page that a CI system shows of a job.
//! - [`shell`]: a shell in a machine, at this terminal in raw mode or with this process's streams.

mod cancel;
mod job_summary;
mod look;
pub mod shell;
mod streams;

pub use cancel::cancelled_by_signals;
pub use job_summary::append_to_job_summary;
pub use look::{reporter, style, with_pictures};
pub use streams::{StdoutError, confirmed, print, repeat, tell};
