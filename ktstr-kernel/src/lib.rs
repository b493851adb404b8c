//! From a kernel identifier to a bootable image.
//!
//! A [`KernelSpec`] is what somebody typed: a source tree, a source tarball, an image, a cache key.
//! With the `build` feature a `Resolver` turns it into a [`ResolvedKernel`], building and
//! [caching](Cache) what is not there yet. Without it this crate only reads: identifiers, images, the
//! cache, and [what is already built](discover).

pub mod cache;
pub mod discover;
mod fragment;
mod git;
mod hz;
mod image;
mod meant;
mod release;
mod resolved;
mod source;
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
mod error;
#[cfg(feature = "build")]
mod hash;
#[cfg(feature = "build")]
mod kconfig;
#[cfg(feature = "build")]
mod lock;
#[cfg(feature = "build")]
mod make;
#[cfg(feature = "fetch")]
mod plan;
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
mod toolchain;
#[cfg(feature = "build")]
pub mod tools;

pub use cache::{Cache, CacheEntry, CacheError, CacheKey, CleanPlan, EntryState, Metadata};
pub use fragment::{BaseConfig, KTSTR_KCONFIG, LEAN_KCONFIG, ParseBaseConfigError, kconfig_hash};
pub use git::GitState;
pub use hz::timer_hz;
pub use image::{ImageError, ImageInfo, ImageKind};
pub use release::Release;
pub use resolved::ResolvedKernel;
pub use source::{Compression, LocalSource, SourceError};
pub use spec::{GitRef, KernelSpec, Newest, SpecError};
pub use tree::{KernelTree, TreeError};

#[cfg(feature = "build")]
pub use archive::ArchiveError;
#[cfg(feature = "build")]
pub use error::{BuildFailure, Ending, Error};
#[cfg(feature = "build")]
pub use kconfig::{DroppedOption, ExtraKconfig, ExtraKconfigError, OptionFault, UnusableOption};
#[cfg(feature = "fetch")]
pub use plan::{Failed, Failures};
#[cfg(feature = "build")]
pub use progress::{Event, Progress, Stage, Transfer};
#[cfg(feature = "fetch")]
pub use remote::{FetchError, Mirror, Releases, Remote, RemoteOptions, SourceTarball};
#[cfg(feature = "git")]
pub use repository::GitError;
#[cfg(feature = "build")]
pub use resolver::{BuildOptions, Resolver};
#[cfg(feature = "build")]
pub use toolchain::{TOOLCHAIN_VARIABLES, Toolchain, ToolchainError};
