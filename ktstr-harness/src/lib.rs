//! Write Linux scheduler tests as Rust functions, run them inside real kernels, judge what happened.
//!
//! A test is a function marked [`ktstr_test`]. Its body runs inside a virtual machine of exactly the
//! declared topology; the test binary itself is the guest's init. The file that holds the tests is a
//! test target with `harness = false` whose `main` is [`main!`].
//!
//! ```no_run
//! use ktstr_harness::prelude::*;
//!
//! #[ktstr_test(llcs = 2, cores = 2, not_stuck)]
//! fn two_groups_share_the_machine(ctx: &Ctx) -> Result<AssertResult> {
//!     execute_defs(ctx, &[ctx.cgroup_def("left"), ctx.cgroup_def("right")])
//! }
//!
//! ktstr_harness::main!();
//! ```
//!
//! Its parts, in the order in which one meets them:
//!
//! - [`prelude`]: what a test file needs: [`Ctx`], [`AssertResult`], [`CgroupDef`](cgroup::CgroupDef),
//!   [`WorkType`](workload::WorkType), [`scenarios`]; the macros [`ktstr_test`], [`declare_scheduler`],
//!   [`declare_payload`] and [`main!`].
//! - [`scenario`], [`cgroup`], [`workload`], [`check`]: what happens inside of a test, and how it is judged.
//! - [`payload`], [`map_write`]: programs that a test runs in the guest, and what it writes into its scheduler's maps.
//! - [`test`](mod@test), [`scheduler`], [`registry`]: tests and schedulers as data.
//! - [`cases`]: a test on a machine and a kernel, which is what has a name and is run.
//! - [`runner`]: runs one case and gives its result; a program of one's own calls it without the command.
//! - [`dispatch`]: the command line of a test binary, as nextest and `cargo test` use it. The one part that prints and
//!   reads the environment.
//! - [`protocol`], [`scx_exit`]: what guests report, and why the kernel lets schedulers go.

pub mod assert;
mod bare_metal;
pub mod cases;
pub mod cgroup;
pub mod check;
mod cpu_map;
pub mod ctx;
pub mod dispatch;
mod guest;
mod kernel_reports;
pub mod map_write;
pub mod payload;
pub mod prelude;
mod probe;
pub mod protocol;
pub mod registry;
mod relocation;
pub mod remedy;
pub mod runner;
pub mod scenario;
pub mod scheduler;
pub mod scx_exit;
mod shuffle;
pub mod test;
pub mod trace;
pub mod workload;

pub use assert::AssertResult;
pub use check::Checks;
pub use ctx::Ctx;
pub use dispatch::main;
pub use ktstr_harness_macros::{declare_payload, declare_scheduler, ktstr_test};
pub use map_write::MapWrite;
pub use payload::Payload;
pub use scenario::{execute_defs, scenarios};
pub use scheduler::Scheduler;
pub use test::TestCase;

/// What a test body returns: `?` takes any error.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Defines the `main` of a test target with `harness = false`.
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            // What cargo says of the target that this is compiled for.
            $crate::dispatch::main_of($crate::runner::TestTarget::of(
                ::core::option_env!("CARGO_PKG_NAME").unwrap_or_default(),
                ::core::option_env!("CARGO_CRATE_NAME").unwrap_or_default(),
                ::core::file!(),
                ::core::option_env!("CARGO_MANIFEST_DIR").unwrap_or_default(),
            ))
        }
    };
}

/// Names for generated code only: not part of the API.
#[doc(hidden)]
pub mod private {
    pub use inventory;
    pub use ktstr_core::{Constraints, Preset, Topology};

    pub use crate::registry::needs_harness_false;
}
