//! What is particular to x86-64 kernels.

/// Its name in cache keys, as `uname -m` spells it.
#[cfg(feature = "build")]
pub(crate) const ARCH: &str = "x86_64";

/// The boot image within a built tree.
pub(crate) const IMAGE_IN_TREE: &str = "arch/x86/boot/bzImage";

/// The boot image within a cache entry; also the make target.
#[cfg(feature = "build")]
pub(crate) const IMAGE_NAME: &str = "bzImage";
