//! From declared schedulers to the cells of the verifier sweep.

use std::ffi::OsString;
use std::path::Path;

use ktstr_core::{KernelLabel, Preset};
use ktstr_kernel::{ImageError, ImageInfo, KernelSpec, SpecError};

use super::NamedKernel;
use crate::Scheduler;

/// A scheduler to try on one machine and one kernel.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The name nextest knows it by: `verifier/{scheduler}/{kernel label}/{preset}`.
    pub name: String,
    /// The scheduler.
    pub scheduler: &'static Scheduler,
    /// The machine.
    pub preset: Preset,
    /// The kernel.
    pub kernel: NamedKernel,
}

impl Cell {
    /// What stands in records where a test has the name of its function; and what names of cells begin with.
    pub const TEST: &'static str = "verifier";
}

/// A `kernels` of a scheduler that cannot be compared with the session's kernels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// An entry is no kernel identifier.
    #[error("scheduler {scheduler}: `kernels`: {source}")]
    Spec {
        /// Name of the scheduler.
        scheduler: &'static str,
        /// What is wrong.
        source: SpecError,
    },
    /// An entry names what no session runs on.
    #[error(
        "scheduler {scheduler}: `kernels`: `{spec}` cannot be told from a built kernel; give a version, a range, a path or a cache key"
    )]
    Git {
        /// Name of the scheduler.
        scheduler: &'static str,
        /// The entry.
        spec: KernelSpec,
    },
    /// The version of a kernel is needed and cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Every cell of `schedulers` on `kernels`; none where there is no kernel, as outside of a session.
///
/// A scheduler that declares `constraints` has cells on the presets within them, any other on all presets. A kernel that
/// its `kernels` do not admit has no cell of it. `lookup` reads environment variables (`HOME` for `~`).
pub fn cells(
    schedulers: &[&'static Scheduler],
    kernels: &[NamedKernel],
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Cell>, CellError> {
    let mut cells = Vec::new();
    for &scheduler in schedulers {
        if !scheduler.is_loaded() {
            continue;
        }
        let filter = Filter::of(scheduler, &lookup)?;
        for kernel in kernels {
            if !filter.admits(kernel)? {
                continue;
            }
            let accepted = Preset::ALL.iter().filter(|p| accepts(scheduler, **p));
            cells.extend(accepted.map(|preset| Cell {
                name: format!(
                    "{}/{}/{}/{}",
                    Cell::TEST,
                    scheduler.name,
                    kernel.label,
                    preset.name
                ),
                scheduler,
                preset: *preset,
                kernel: kernel.clone(),
            }));
        }
    }
    Ok(cells)
}

fn accepts(scheduler: &Scheduler, preset: Preset) -> bool {
    let within = scheduler.constraints.is_none_or(|bounds| {
        // Where none are declared, those that tests get by default do not count.
        bounds.check(preset.topology).is_ok()
    });
    within && !scheduler.verifier_exclude_topologies.contains(&preset)
}

/// The `kernels` of a scheduler.
struct Filter<'s> {
    scheduler: &'s Scheduler,
    specs: Vec<KernelSpec>,
}

impl<'s> Filter<'s> {
    fn of(
        scheduler: &'s Scheduler,
        lookup: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CellError> {
        let name = scheduler.name;
        let mut specs = Vec::new();
        for text in scheduler.kernels {
            let spec = KernelSpec::parse(text, lookup).map_err(|source| CellError::Spec {
                scheduler: name,
                source,
            })?;
            if matches!(spec, KernelSpec::Git { .. }) {
                return Err(CellError::Git {
                    scheduler: name,
                    spec,
                });
            }
            specs.push(spec);
        }
        Ok(Self { scheduler, specs })
    }

    /// Whether one of them fits; all kernels do where there is none.
    fn admits(&self, kernel: &NamedKernel) -> Result<bool, ImageError> {
        let mut version = None;
        for spec in &self.specs {
            let fits = match spec {
                KernelSpec::Path(path) => self.is_at(path, kernel),
                KernelSpec::CacheKey(key) => {
                    let entry = kernel.image.parent().and_then(Path::file_name);
                    entry.is_some_and(|entry| entry == key.as_str())
                }
                releases => {
                    let version: &String = match &mut version {
                        Some(version) => version,
                        unread => unread.insert(ImageInfo::read(&kernel.image)?.version),
                    };
                    releases.admits_release(version)
                }
            };
            if fits {
                return Ok(true);
            }
        }
        Ok(self.specs.is_empty())
    }

    /// Whether it is the image at `path`, or was built from the tree there.
    fn is_at(&self, path: &Path, kernel: &NamedKernel) -> bool {
        let path = Path::new(self.scheduler.manifest_dir).join(path);
        // Labels are made of such paths. Where nothing is, no kernel of this session comes from.
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        // An image has such a label too, unless the cache told more of it.
        let is_from = |dirty| kernel.label == KernelLabel::from_path(&path, dirty);
        is_from(false) || is_from(true) || kernel.image == path
    }
}
