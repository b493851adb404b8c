//! From declared schedulers to the cells of the verifier sweep.

use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_core::record::Sidecar;
use ktstr_core::{CaseName, KernelLabel, Preset};
use ktstr_kernel::{ImageError, ImageInfo, KernelSpec, SpecError};

use super::NamedKernel;
use crate::Scheduler;
use crate::relocation::Relocation;

/// A scheduler to try on one machine and one kernel.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The name that nextest lists and runs it by.
    pub name: CaseName,
    /// The scheduler.
    pub scheduler: &'static Scheduler,
    /// The machine.
    pub preset: Preset,
    /// The kernel.
    pub kernel: NamedKernel,
}

impl Cell {
    /// `record` with what is known of the cell before it runs.
    pub(crate) fn record(&self, record: Sidecar) -> Sidecar {
        Sidecar {
            variant: self.preset.name.to_owned(),
            topology: Some(self.preset.topology),
            scheduler: self.scheduler.name.to_owned(),
            kernel_label: Some(self.kernel.label.clone()),
            ..record
        }
    }
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
/// its `kernels` do not admit has no cell of it. `relocation` tells where the sources are now, that paths in it are
/// relative to; `~` in them is the `HOME` of `host`.
pub fn cells(
    schedulers: &[&'static Scheduler],
    kernels: &[NamedKernel],
    relocation: &Relocation,
    host: &Host,
) -> Result<Vec<Cell>, CellError> {
    let mut cells = Vec::new();
    for &scheduler in schedulers {
        if !scheduler.is_loaded() {
            continue;
        }
        let filter = Filter::of(scheduler, relocation, host)?;
        for kernel in kernels {
            if !filter.admits(kernel)? {
                continue;
            }
            let accepted = Preset::ALL.iter().filter(|p| accepts(scheduler, **p));
            cells.extend(accepted.map(|preset| Cell {
                name: CaseName::Verifier {
                    scheduler: scheduler.name.to_owned(),
                    kernel: kernel.label.clone(),
                    preset: *preset,
                },
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
struct Filter {
    /// Where the crate is that declares it.
    dir: PathBuf,
    specs: Vec<KernelSpec>,
}

impl Filter {
    fn of(scheduler: &Scheduler, relocation: &Relocation, host: &Host) -> Result<Self, CellError> {
        let name = scheduler.name;
        let dir = relocation.now(scheduler.manifest_dir);
        let mut specs = Vec::new();
        for text in scheduler.kernels {
            let spec = KernelSpec::parse(text, host).map_err(|source| CellError::Spec {
                scheduler: name,
                source,
            })?;
            if matches!(spec, KernelSpec::Git { .. } | KernelSpec::Newest(_)) {
                return Err(CellError::Git {
                    scheduler: name,
                    spec,
                });
            }
            specs.push(spec);
        }
        Ok(Self { dir, specs })
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
        let path = self.dir.join(path);
        // Labels are made of such paths. Where nothing is, no kernel of this session comes from.
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        // An image has such a label too, unless the cache told more of it.
        let is_from = |dirty| kernel.label == KernelLabel::from_path(&path, dirty);
        is_from(false) || is_from(true) || kernel.image == path
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Constraints;

    use super::*;
    use crate::scheduler::SchedulerSource;

    const PLAIN: Scheduler = Scheduler {
        name: "plain",
        source: SchedulerSource::Path("/bin/true"),
        ..Scheduler::EEVDF
    };

    /// A kernel image as far as anybody looks for its version: the setup header of `x86/boot.rst`.
    fn image(path: &Path, version: &str) {
        let mut bytes = vec![0; 0x1000];
        bytes[0x1f1] = 4;
        bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        bytes[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
        bytes[0x211] = 1;
        bytes[0x236] = 1;
        let text = format!("{version} (me@here) #1\0");
        bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
        std::fs::write(path, bytes).unwrap();
    }

    fn names(schedulers: &[&'static Scheduler], kernels: &[NamedKernel]) -> Vec<String> {
        let cells = cells(
            schedulers,
            kernels,
            &Relocation::default(),
            &Host::default(),
        )
        .unwrap();
        cells
            .into_iter()
            .map(|cell| cell.name.to_string())
            .collect()
    }

    fn kernel(image: &str) -> NamedKernel {
        NamedKernel {
            label: KernelLabel::from_version("6.12.9"),
            image: image.into(),
        }
    }

    #[test]
    fn default_caps_do_not_bound_and_declared_ones_do() {
        static ALL: Scheduler = PLAIN;
        static SMALL: Scheduler = Scheduler {
            name: "small",
            constraints: Some(Constraints {
                max_cpus: 9,
                ..Constraints::DEFAULT
            }),
            verifier_exclude_topologies: &[Preset::constant("9cpu-3llc-nosmt")],
            ..PLAIN
        };
        let kernels = [kernel("/k")];
        assert_eq!(names(&[&ALL], &kernels).len(), Preset::ALL.len());
        assert_eq!(
            names(&[&SMALL], &kernels),
            [
                "verifier/small/kernel_6_12_9/4cpu-1llc-nosmt",
                "verifier/small/kernel_6_12_9/4cpu-2llc-nosmt",
                "verifier/small/kernel_6_12_9/8cpu-2llc-smt"
            ]
        );
        // Outside of a session, and of the kernel's own scheduler, there is none.
        assert!(names(&[&ALL, &SMALL], &[]).is_empty());
        assert!(names(&[&Scheduler::EEVDF], &kernels).is_empty());
    }

    #[test]
    fn kernels_that_are_not_admitted_have_no_cell() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let entry = dir.join("6.12.9-tarball-x86_64-kc1");
        std::fs::create_dir_all(&entry).unwrap();
        std::fs::create_dir_all(dir.join("crate")).unwrap();
        let path = entry.join("bzImage");
        image(&path, "6.12.9-amd64");
        let kernel = kernel(path.to_str().unwrap());
        let of_tree = NamedKernel {
            label: KernelLabel::from_path(&dir, true),
            ..kernel.clone()
        };
        let manifest_dir: &'static str = dir.join("crate").to_str().unwrap().to_owned().leak();
        let admits = |text: &'static str, kernel: &NamedKernel| {
            let kernels: &'static [&'static str] = vec![text].leak();
            let scheduler = Scheduler {
                kernels,
                manifest_dir,
                ..PLAIN
            };
            Filter::of(&scheduler, &Relocation::default(), &Host::default())
                .unwrap()
                .admits(kernel)
                .unwrap()
        };
        for (text, admitted) in [
            ("6.12", true),
            ("6.12.9", true),
            ("6.11..6.12", true),
            ("6.13..6.14", false),
            ("6.12.9-tarball-x86_64-kc1", true),
            ("6.12.9-tarball-x86_64-kc2", false),
            ("../6.12.9-tarball-x86_64-kc1/bzImage", true),
            ("./nothing", false),
            ("..", false),
        ] {
            assert_eq!(admits(text, &kernel), admitted, "{text}");
        }
        assert!(admits("..", &of_tree), "a tree with changes is that tree");
        assert!(!admits(".", &of_tree));
    }

    #[test]
    fn what_is_no_kernel_is_told() {
        static ODD: Scheduler = Scheduler {
            kernels: &["6.14..6.12"],
            ..PLAIN
        };
        static GIT: Scheduler = Scheduler {
            kernels: &["git+https://example.com/r.git#tag=v6.14"],
            ..PLAIN
        };
        let error = |scheduler| {
            cells(&[scheduler], &[], &Relocation::default(), &Host::default())
                .unwrap_err()
                .to_string()
        };
        assert!(
            error(&ODD).starts_with("scheduler plain: `kernels`: `6.14..6.12`: it ends before")
        );
        assert!(error(&GIT).contains("give a version, a range, a path or a cache key"));
    }
}
