//! Images: booted as they are.

use std::path::PathBuf;

use super::KernelSource;
use crate::build::Request;
use crate::error::Error;
use crate::resolved::ResolvedKernel;
use crate::spec::KernelSpec;

/// An image on disk.
pub(super) struct ImageSource<'a> {
    pub(super) spec: &'a KernelSpec,
    pub(super) path: PathBuf,
}

impl KernelSource for ImageSource<'_> {
    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        self.prepare(request).map(Some)
    }

    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        let spec = || self.spec.clone();
        if request.options.force {
            return Err(Error::NothingToBuild { spec: spec() });
        }
        if request.options.extra_hash().is_some() {
            return Err(Error::NothingToConfigure { spec: spec() });
        }
        Ok(ResolvedKernel::from_image(&self.path)?)
    }
}
