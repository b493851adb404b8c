//! What ktstr commands take, as clap groups to flatten into a command of one's own.
//!
//! `cargo ktstr` is made of these. A program with a command of its own, such as an `xtask` of a scheduler's repository, takes
//! the same options with the same helps, and gets the plain value that a library takes. The comments of fields are what a
//! help shows.
//!
//! ```
//! use clap::Parser;
//! use ktstr_driver::SessionOptions;
//! use ktstr_options::SessionArgs;
//!
//! /// Run the tests of my schedulers.
//! #[derive(Parser)]
//! struct Mine {
//!     /// Tell what is run, and run nothing.
//!     #[arg(long)]
//!     dry: bool,
//!
//!     #[command(flatten)]
//!     session: SessionArgs,
//! }
//!
//! let words = ["mine", "--dry", "--kernel", "6.12..6.14", "--cpu-cap", "4", "--", "-p", "mine"];
//! let mine = Mine::try_parse_from(words)?;
//! let options = SessionOptions::from(mine.session);
//! assert_eq!(options.kernels.identifiers, ["6.12..6.14"]);
//! assert_eq!((mine.dry, options.cpu_cap), (true, Some(4)));
//! # Ok::<(), clap::Error>(())
//! ```
//!
//! The parts, in the order in which one meets them:
//!
//! - [`SessionArgs`]: a session of tests, [`SessionOptions`](ktstr_driver::SessionOptions).
//! - [`ResolutionArgs`] and [`BaseConfigArgs`]: what identifiers of kernels stand for,
//!   [`KernelRequest`](ktstr_driver::KernelRequest).
//! - [`MachineArgs`]: what carries machines.
//! - [`BaselineArgs`]: the commit to compare with, [`BaselineRequest`](ktstr_driver::baseline::BaselineRequest).
//! - [`ListArgs`] and [`LookupArgs`]: in which tests to look for one.
//! - [`ShellArgs`]: a shell in a machine, [`Shell`](ktstr_driver::shell::Shell).

mod baseline;
mod kernel;
mod lookup;
mod machine;
mod session;
mod shell;

pub use baseline::BaselineArgs;
pub use kernel::{BaseConfigArgs, ResolutionArgs, base_config};
pub use lookup::{ListArgs, LookupArgs};
pub use machine::MachineArgs;
pub use session::SessionArgs;
pub use shell::ShellArgs;
