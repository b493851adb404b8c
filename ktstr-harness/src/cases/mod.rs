//! What can be run: a declared test or scheduler, the machine that it runs on, the kernel.

mod cells;

use std::path::PathBuf;

use ktstr_core::record::Sidecar;
use ktstr_core::{CaseName, KernelLabel, Preset, Topology};

use crate::TestCase;

pub use cells::{Cell, CellError, cells};

/// One thing to run: a test, a machine shape and a kernel.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name that nextest lists and runs it by.
    pub name: CaseName,
    /// The declared test.
    pub test: &'static TestCase,
    /// Where it runs.
    pub variant: Variant,
    /// The kernel it was asked to run on; `None` leaves the choice to discovery.
    pub kernel: Option<NamedKernel>,
}

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A machine of the declared shape.
    Base,
    /// A machine of a preset's shape.
    Gauntlet(Preset),
    /// The host itself.
    Host,
}

impl Case {
    /// `record` with what is known of the case before it runs.
    pub(crate) fn record(&self, record: Sidecar) -> Sidecar {
        Sidecar {
            variant: self.variant_name().to_owned(),
            topology: self.topology(),
            scheduler: self.test.scheduler.name.to_owned(),
            performance_mode_declared: Some(self.test.performance_mode),
            thresholds: self.test.checks.limits(),
            ..record
        }
    }
}

impl Variant {
    /// The name of the case of `test`, on a kernel that is told from others by its label.
    fn name_of(self, test: &TestCase, kernel: Option<KernelLabel>) -> CaseName {
        let test = test.name.to_owned();
        match self {
            Self::Base => CaseName::Base { test, kernel },
            Self::Gauntlet(preset) => CaseName::Gauntlet {
                test,
                preset,
                kernel,
            },
            Self::Host => CaseName::Host { test },
        }
    }
}

/// A kernel to run on, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKernel {
    /// What it is called in test names.
    pub label: KernelLabel,
    /// Its image.
    pub image: PathBuf,
}

impl Case {
    /// The base variant of `test`: on a machine of the declared shape, or on the host where it says so.
    pub fn base(test: &'static TestCase, kernel: Option<NamedKernel>) -> Self {
        let variant = if test.host_only {
            Variant::Host
        } else {
            Variant::Base
        };
        Self {
            name: variant.name_of(test, None),
            test,
            variant,
            kernel: kernel.filter(|_| !test.host_only),
        }
    }

    /// Whether it runs only when ignored tests are asked for.
    pub fn is_ignored(&self) -> bool {
        matches!(self.variant, Variant::Gauntlet(_)) || self.test.is_ignored()
    }

    /// `base`, `host` or the preset's name.
    pub fn variant_name(&self) -> &'static str {
        match self.variant {
            Variant::Base => "base",
            Variant::Gauntlet(preset) => preset.name,
            Variant::Host => "host",
        }
    }

    /// Shape of its machine; `None` on the host.
    pub fn topology(&self) -> Option<Topology> {
        match self.variant {
            Variant::Base => Some(self.test.topology),
            Variant::Gauntlet(preset) => Some(preset.topology),
            Variant::Host => None,
        }
    }
}

/// Every case of `tests` on `kernels`.
///
/// With two or more kernels each name ends in the kernel's label; with one or none it does not.
/// Tests that run on the host are there once.
pub fn cases(tests: &[&'static TestCase], kernels: &[NamedKernel]) -> Vec<Case> {
    let axis: Vec<Option<&NamedKernel>> = if kernels.is_empty() {
        vec![None]
    } else {
        kernels.iter().map(Some).collect()
    };
    let mut cases = Vec::new();
    for &test in tests {
        if test.host_only {
            cases.push(Case::base(test, None));
            continue;
        }
        let accepted = Preset::ALL
            .iter()
            .filter(|p| test.constraints.check(p.topology).is_ok());
        let variants =
            std::iter::once(Variant::Base).chain(accepted.map(|p| Variant::Gauntlet(*p)));
        for variant in variants {
            for kernel in &axis {
                let label = kernel.filter(|_| axis.len() > 1).map(|it| it.label.clone());
                cases.push(Case {
                    name: variant.name_of(test, label),
                    test,
                    variant,
                    kernel: kernel.cloned(),
                });
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use ktstr_core::Constraints;

    use super::*;
    use crate::AssertResult;
    use crate::test::Location;

    const BASE: TestCase = TestCase::new(
        "a",
        Location {
            file: "t.rs",
            line: 1,
        },
        |_| Ok(AssertResult::pass()),
    );
    static NARROW: TestCase = TestCase {
        constraints: Constraints {
            max_llcs: 2,
            max_cpus: 8,
            ..Constraints::DEFAULT
        },
        ..BASE
    };
    static ON_HOST: TestCase = TestCase {
        name: "h",
        host_only: true,
        ..BASE
    };

    fn kernel(version: &str) -> NamedKernel {
        NamedKernel {
            label: KernelLabel::from_version(version),
            image: format!("/k/{version}").into(),
        }
    }

    fn names(kernels: &[NamedKernel]) -> Vec<String> {
        cases(&[&NARROW, &ON_HOST], kernels)
            .into_iter()
            .map(|case| case.name.to_string())
            .collect()
    }

    #[test]
    fn one_kernel_needs_no_suffix() {
        let expected = [
            "ktstr/a",
            "gauntlet/a/4cpu-1llc-nosmt",
            "gauntlet/a/4cpu-2llc-nosmt",
            "gauntlet/a/8cpu-2llc-smt",
            "host/h",
        ];
        assert_eq!(names(&[]), expected);
        assert_eq!(names(&[kernel("6.12")]), expected);
    }

    #[test]
    fn kernels_multiply_what_runs_in_machines() {
        let names = names(&[kernel("6.12"), kernel("6.14.2")]);
        assert_eq!(names.len(), 2 * 4 + 1);
        assert_eq!(names[0], "ktstr/a/kernel_6_12");
        assert_eq!(names[1], "ktstr/a/kernel_6_14_2");
        assert_eq!(names[8], "host/h");
    }
}
