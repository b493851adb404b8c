//! The guest's root file system, packed as an initramfs.
//!
//! ```no_run
//! use ktstr_vmm::initramfs::Initramfs;
//!
//! # fn main() -> Result<(), ktstr_vmm::initramfs::InitramfsError> {
//! let packed = Initramfs::builder()
//!     .init("target/debug/my-init")
//!     .file("/etc/hosts", "/etc/hosts", 0o644)
//!     .build()
//!     .build_cached("/var/cache/ktstr".as_ref())?;
//! println!("{} ({} bytes)", packed.path().display(), packed.size());
//! # Ok(())
//! # }
//! ```

mod cache;
mod content;
mod description;
mod elf;
mod entry;
mod error;
mod ldcache;
mod libs;
mod path_text;
mod script;
mod tree;
mod write;

pub use cache::PackedInitramfs;
pub use description::{Initramfs, InitramfsBuilder};
pub use entry::Pack;
pub use error::InitramfsError;
pub use tree::{TreeEntry, TreeEntryKind, walk_tree};
