//! The names of test cases.

use std::fmt;
use std::str::FromStr;

use crate::{KernelLabel, Preset};

/// The name of one case. Nextest lists, runs and reports cases by it, and records carry it.
///
/// ```
/// use ktstr_core::CaseName;
///
/// let name: CaseName = "gauntlet/steady/8cpu-2llc-smt/kernel_6_12".parse()?;
/// assert_eq!(name.test(), Some("steady"));
/// assert_eq!(name.without_kernel().to_string(), "gauntlet/steady/8cpu-2llc-smt");
/// # Ok::<(), ktstr_core::ParseCaseNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseName {
    /// `ktstr/{test}`: a test on the machine that it declares, followed by `/{kernel}` if the session has several
    /// kernels.
    Base {
        /// The test function.
        test: String,
        /// The kernel, where the name has one.
        kernel: Option<KernelLabel>,
    },
    /// `gauntlet/{test}/{preset}`: the test on the machine of a preset, followed by `/{kernel}` if the session has
    /// several kernels.
    Gauntlet {
        /// The test function.
        test: String,
        /// The machine.
        preset: Preset,
        /// The kernel, where the name has one.
        kernel: Option<KernelLabel>,
    },
    /// `host/{test}`: a test without a machine.
    Host {
        /// The test function.
        test: String,
    },
    /// `verifier/{scheduler}/{kernel}/{preset}`: a cell of the verifier sweep.
    Verifier {
        /// The scheduler.
        scheduler: String,
        /// The kernel.
        kernel: KernelLabel,
        /// The machine.
        preset: Preset,
    },
}

/// A text that is not the name of a case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a case: those are ktstr/TEST, gauntlet/TEST/PRESET (either with /KERNEL behind it), \
     host/TEST and verifier/SCHEDULER/KERNEL/PRESET"
)]
pub struct ParseCaseNameError(String);

impl CaseName {
    /// Prefix of the names of tests on the machine that they declare.
    pub const BASE: &'static str = "ktstr";
    /// Prefix of the names of tests on the machine of a preset.
    pub const GAUNTLET: &'static str = "gauntlet";
    /// Prefix of the names of tests without a machine.
    pub const HOST: &'static str = "host";
    /// Prefix of the names of verifier-sweep cells.
    pub const VERIFIER: &'static str = "verifier";

    /// The name of the test function; a cell has none.
    pub fn test(&self) -> Option<&str> {
        match self {
            Self::Base { test, .. } | Self::Gauntlet { test, .. } | Self::Host { test } => {
                Some(test)
            }
            Self::Verifier { .. } => None,
        }
    }

    /// The label of the kernel, where the name has one.
    pub fn kernel(&self) -> Option<&KernelLabel> {
        match self {
            Self::Base { kernel, .. } | Self::Gauntlet { kernel, .. } => kernel.as_ref(),
            Self::Verifier { kernel, .. } => Some(kernel),
            Self::Host { .. } => None,
        }
    }

    /// The name of the case in a session with at most one kernel. A verifier cell always names its kernel.
    #[must_use]
    pub fn without_kernel(mut self) -> Self {
        if let Self::Base { kernel, .. } | Self::Gauntlet { kernel, .. } = &mut self {
            *kernel = None;
        }
        self
    }

    /// Whether the case is ignored unless a run asks for ignored tests: each test has dozens of these.
    pub fn is_variant(&self) -> bool {
        matches!(self, Self::Gauntlet { .. } | Self::Verifier { .. })
    }
}

impl fmt::Display for CaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = match self {
            Self::Base { test, kernel } => {
                write!(f, "{}/{test}", Self::BASE)?;
                kernel
            }
            Self::Gauntlet {
                test,
                preset,
                kernel,
            } => {
                write!(f, "{}/{test}/{}", Self::GAUNTLET, preset.name)?;
                kernel
            }
            Self::Host { test } => return write!(f, "{}/{test}", Self::HOST),
            Self::Verifier {
                scheduler,
                kernel,
                preset,
            } => {
                let (prefix, preset) = (Self::VERIFIER, preset.name);
                return write!(f, "{prefix}/{scheduler}/{kernel}/{preset}");
            }
        };
        match kernel {
            Some(kernel) => write!(f, "/{kernel}"),
            None => Ok(()),
        }
    }
}

impl FromStr for CaseName {
    type Err = ParseCaseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseCaseNameError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<CaseName> {
    let mut parts = text.split('/');
    let prefix = parts.next()?;
    let rest: Vec<&str> = parts.collect();
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let kernel = |label: Option<&&str>| match label {
        Some(label) => KernelLabel::parse(label).map(Some),
        None => Some(None),
    };
    Some(match (prefix, rest.as_slice()) {
        (CaseName::BASE, [test, label @ ..]) if label.len() <= 1 => CaseName::Base {
            test: name(test)?,
            kernel: kernel(label.first())?,
        },
        (CaseName::GAUNTLET, [test, preset, label @ ..]) if label.len() <= 1 => {
            CaseName::Gauntlet {
                test: name(test)?,
                preset: Preset::by_name(preset)?,
                kernel: kernel(label.first())?,
            }
        }
        (CaseName::HOST, [test]) => CaseName::Host { test: name(test)? },
        (CaseName::VERIFIER, [scheduler, label, preset]) => CaseName::Verifier {
            scheduler: name(scheduler)?,
            kernel: KernelLabel::parse(label)?,
            preset: Preset::by_name(preset)?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = CaseName> {
        let kernel =
            || "[a-z0-9][a-z0-9.]{0,11}".prop_map(|version| KernelLabel::from_version(&version));
        let preset = || proptest::sample::select(Preset::ALL);
        let test = "[a-zA-Z_][a-zA-Z0-9_]{0,20}";
        prop_oneof![
            (test, proptest::option::of(kernel()))
                .prop_map(|(test, kernel)| CaseName::Base { test, kernel }),
            (test, preset(), proptest::option::of(kernel())).prop_map(|(test, preset, kernel)| {
                CaseName::Gauntlet {
                    test,
                    preset,
                    kernel,
                }
            }),
            test.prop_map(|test| CaseName::Host { test }),
            ("[a-zA-Z0-9_.-]{1,20}", kernel(), preset()).prop_map(|(scheduler, kernel, preset)| {
                CaseName::Verifier {
                    scheduler,
                    kernel,
                    preset,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_were_written(name in any_name()) {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(ktstr|gauntlet|host|verifier)?[/a-z_0-9-]{0,40}") {
            if let Ok(name) = text.parse::<CaseName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in [
            "",
            "ktstr",
            "ktstr/",
            "ktstr/a/b",
            "ktstr/a/kernel_6_12/b",
            "gauntlet/a",
            "gauntlet/a/none",
            "gauntlet/a/8cpu-2llc-smt/x",
            "host/a/kernel_6_12",
            "verifier/a/kernel_6_12",
            "verifier/a/8cpu-2llc-smt/kernel_6_12",
            "verifier//kernel_6_12/8cpu-2llc-smt",
            "Ktstr/a",
        ] {
            let error = text.parse::<CaseName>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not")), "{error}");
        }
    }

    #[test]
    fn a_label_is_not_mistaken_for_a_test() {
        let name: CaseName = "ktstr/kernel_6_12".parse().unwrap();
        assert_eq!(name.test(), Some("kernel_6_12"));
        assert_eq!(name.kernel(), None);
        let labelled: CaseName = "ktstr/a/kernel_6_12".parse().unwrap();
        assert_eq!(
            labelled.kernel(),
            KernelLabel::parse("kernel_6_12").as_ref()
        );
        assert_eq!(labelled.without_kernel().to_string(), "ktstr/a");
    }
}
