//! The host's side of a test: from a case to a sidecar.

pub mod build;
mod conversation;
pub mod judge;
mod kernel;
mod machine;
mod place;
mod program;
pub mod render;
mod repro;
mod run;
pub(crate) mod scheduler;
pub mod scx_exit;
mod surroundings;
mod timeline;
pub mod verifier_log;
mod verify;

pub use render::Evidence;
pub use repro::AutoRepro;
pub use run::run;
pub(crate) use surroundings::discovered;
pub use verify::verify;

/// A case that ended: its record, and the evidence for it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The record.
    pub sidecar: ktstr_core::record::Sidecar,
    /// Logs beside it.
    pub evidence: Evidence,
    /// What was chosen where nobody chose: the kernel, the back end; a line each.
    pub notes: Vec<String>,
}
