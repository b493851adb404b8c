//! Cache keys: entries that were built before.

use std::path::Path;

use super::KernelSource;
use crate::build::Request;
use crate::error::Error;
use crate::key::CacheKey;
use crate::resolved::ResolvedKernel;
use crate::spec::KernelSpec;

/// An entry of the cache, named by its key.
pub(super) struct KeySource<'a> {
    pub(super) spec: &'a KernelSpec,
    pub(super) key: &'a CacheKey,
}

impl KernelSource for KeySource<'_> {
    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        self.prepare(request).map(Some)
    }

    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        let spec = || self.spec.clone();
        if request.options.force {
            return Err(Error::NothingToBuild { spec: spec() });
        }
        let Some(entry) = request.cache.get(self.key) else {
            return Ok(request.cache.lookup_beside(self.key, Path::new(""))?);
        };
        entry.verify().map_err(|why| entry.error(why))?;
        let built = entry.metadata().and_then(|it| it.extra_kconfig.as_deref());
        match request.options.extra_hash() {
            Some(asked) if Some(asked) != built => Err(Error::NothingToConfigure { spec: spec() }),
            _ => Ok(entry.kernel()?),
        }
    }
}
