//! Kernels for tests: from an identifier to an image that boots, fetched, configured, built and cached on the way.
//!
//! ```no_run
//! # #[cfg(feature = "fetch")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ktstr_core::host::Host;
//! use ktstr_kernel::progress::Silent;
//! use ktstr_kernel::{BuildOptions, Cache, Mirror, Remote, RemoteOptions, Resolver};
//!
//! let host = Host::of_this_process();
//! let cache = Cache::new("/var/cache/kernels");
//! let remote = Remote::new(Mirror::kernel_org(), cache.clone(), RemoteOptions::from_env(&host))?;
//! let resolver = Resolver::new(cache, BuildOptions::from_env(&host)?).fetching(remote);
//! // Every maintained series from 6.12 on, and a source tree.
//! let kernels = resolver.resolve_identifiers(
//!     &["6.12..6.18", "../linux"],
//!     &Silent,
//!     &mut |spec, kernel| println!("{spec}: Linux {}", kernel.version),
//! )?;
//! for kernel in kernels {
//!     println!("{}", kernel.image.display());
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "fetch"))]
//! # fn main() {}
//! ```
//!
//! # Parts
//!
//! In the order in which one meets them:
//!
//! - [`KernelSpec`]: a parsed identifier. It may name something on disk ([`LocalSource`]: a [`KernelTree`], a tarball, an
//!   image), a [`Release`] or several, a commit of a git repository, or a cache entry.
//! - [`Resolver`]: turns identifiers into kernels, with [`BuildOptions`]. It tells everything that is wrong with any of them
//!   at once ([`Failures`]), and what it does meanwhile as [events](progress).
//! - [`ResolvedKernel`]: a kernel that boots, with its image, version and name in tests; [`ImageInfo`] tells what an image
//!   says of itself.
//! - [`Cache`]: kernels that are built already, by [`CacheKey`]; listing, checking and [cleaning](Cache::plan_clean) it.
//! - [`Error`] and [`Remedy`]: an error is a line for a person, and names what helps where a command and a program say that
//!   in different words.
//! - [`discover`]: finds a kernel that is built already, where none was named.
//! - [`remote`] and [`repository`]: releases and commits from the network. Proxies, mirrors and bounds are options.
//! - [`tools`], [`build_path`] and [`Toolchain`]: what a build needs from the host, to check before there is one.
//!
//! # What it does not do
//!
//! It prints nothing, reads no environment but that of the [`Host`](ktstr_core::host::Host) that it is given, and changes
//! nothing of the process: builds run in process groups of their own, on [CPUs](BuildOptions::cpus) of their own where that is asked for.
//! Programs that kernels are built with get the host's environment, without what would change the result.
//!
//! # Features
//!
//! Without features this crate only reads: identifiers, images, the cache, and what is already built. `build` adds building
//! from trees and tarballs, `fetch` releases from the network, and `git` commits of repositories. All three are on by
//! default.

// Without features there is less to link to.
#![cfg_attr(
    not(all(feature = "build", feature = "fetch", feature = "git")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(test)]
#[path = "../tests/support/bz_image.rs"]
mod bz_image;
pub mod cache;
mod compression;
pub mod discover;
mod fragment;
mod git;
mod hz;
mod image;
mod key;
mod local;
mod release;
mod remedy;
mod resolved;
mod spec;
mod text;
mod tree;
mod x86_64;

#[cfg(feature = "build")]
mod archive;
#[cfg(feature = "build")]
mod build;
#[cfg(feature = "build")]
pub mod build_path;
#[cfg(feature = "build")]
mod confine;
#[cfg(feature = "build")]
mod error;
#[cfg(feature = "build")]
mod hash;
#[cfg(feature = "build")]
mod kconfig;
#[cfg(feature = "build")]
mod lock;
#[cfg(feature = "build")]
mod make;
#[cfg(feature = "build")]
mod no_space;
#[cfg(feature = "build")]
mod parallel;
#[cfg(feature = "build")]
mod process;
#[cfg(feature = "build")]
pub mod progress;
#[cfg(feature = "fetch")]
pub mod remote;
#[cfg(feature = "git")]
pub mod repository;
#[cfg(feature = "build")]
mod resolver;
#[cfg(feature = "build")]
mod scratch;
#[cfg(feature = "build")]
mod source;
#[cfg(feature = "build")]
mod toolchain;
#[cfg(feature = "build")]
pub mod tools;

pub use cache::{
    Cache, CacheEntry, CacheError, CacheKey, CleanOptions, CleanPlan, Cleaned, EntryState, Metadata,
};
pub use compression::Compression;
pub use fragment::{BaseConfig, KTSTR_KCONFIG, LEAN_KCONFIG, ParseBaseConfigError, kconfig_hash};
pub use git::GitState;
pub use hz::timer_hz;
pub use image::{ImageError, ImageInfo, ImageKind};
pub use local::{LocalSource, SourceError};
pub use release::Release;
pub use remedy::Remedy;
pub use resolved::{BuiltTreeError, ResolvedKernel};
pub use spec::{GitRef, KernelSpec, Newest, SpecError};
pub use tree::{KernelTree, TreeError};

#[cfg(feature = "build")]
pub use archive::ArchiveError;
#[cfg(feature = "build")]
pub use build::{BuildOptions, BuildOptionsError};
#[cfg(feature = "build")]
pub use error::Error;
#[cfg(feature = "build")]
pub use kconfig::{DroppedOption, ExtraKconfig, ExtraKconfigError, OptionFault, UnusableOption};
#[cfg(feature = "build")]
pub use process::{BuildFailure, Ending};
#[cfg(feature = "build")]
pub use progress::{Event, Progress, Stage, Transfer};
#[cfg(feature = "fetch")]
pub use remote::{FetchError, Mirror, Releases, Remote, RemoteOptions, SourceTarball};
#[cfg(feature = "git")]
pub use repository::GitError;
#[cfg(feature = "build")]
pub use resolver::{Failed, Failures, Resolver};
#[cfg(feature = "build")]
pub use toolchain::{TOOLCHAIN_VARIABLES, Toolchain, ToolchainError};
