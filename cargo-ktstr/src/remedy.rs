//! What to do about errors, in the words of this command.

use std::error::Error;

use ktstr_harness::remedy::words;
use ktstr_kernel::discover::DiscoverError;
use ktstr_kernel::{BuiltTreeError, CacheError, FetchError, Remedy};

/// The error with what to do: its own advice, and options and commands of ours where those help.
pub(crate) fn worded(error: &(dyn Error + 'static)) -> String {
    let words = remedy(error).as_ref().map(words).unwrap_or_default();
    format!("{error}{words}")
}

/// What helps against an error of the library about kernels.
fn remedy(error: &(dyn Error + 'static)) -> Option<Remedy> {
    let kernel = error.downcast_ref().and_then(ktstr_kernel::Error::remedy);
    let cache = || error.downcast_ref().and_then(CacheError::remedy);
    let fetch = || error.downcast_ref().and_then(FetchError::remedy);
    let discover = || error.downcast_ref().and_then(DiscoverError::remedy);
    let built = || error.downcast_ref().and_then(BuiltTreeError::remedy);
    kernel
        .or_else(cache)
        .or_else(fetch)
        .or_else(discover)
        .or_else(built)
}
