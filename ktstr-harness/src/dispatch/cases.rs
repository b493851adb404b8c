//! From declared tests to named cases.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ktstr_core::{KernelLabel, Preset, Topology};

use crate::TestCase;

/// One thing to run: a test, a machine shape and a kernel.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name nextest knows it by.
    pub name: String,
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

/// A kernel that a session resolved for its tests.
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
        if test.host_only {
            let name = format!("host/{}", test.name);
            return Self {
                name,
                test,
                variant: Variant::Host,
                kernel: None,
            };
        }
        let name = format!("ktstr/{}", test.name);
        Self {
            name,
            test,
            variant: Variant::Base,
            kernel,
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
            let plain = match variant {
                Variant::Gauntlet(preset) => format!("gauntlet/{}/{}", test.name, preset.name),
                Variant::Base | Variant::Host => format!("ktstr/{}", test.name),
            };
            for kernel in &axis {
                let name = match kernel {
                    Some(kernel) if axis.len() > 1 => format!("{plain}/{}", kernel.label),
                    _ => plain.clone(),
                };
                cases.push(Case {
                    name,
                    test,
                    variant,
                    kernel: kernel.cloned(),
                });
            }
        }
    }
    cases
}

/// Reads the kernels of a session: `label=path` pairs joined by `;`. In a path, the byte behind a backslash stands for
/// itself.
pub fn parse_kernel_list(text: &OsStr) -> Result<Vec<NamedKernel>, String> {
    let mut pairs = vec![Vec::new()];
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let last = pairs.last_mut().expect("there is one from the start");
        match byte {
            b'\\' => {
                let literal = bytes.next().ok_or("it ends in the middle of `\\…`")?;
                last.push(*literal);
            }
            b';' => pairs.push(Vec::new()),
            byte => last.push(byte),
        }
    }
    let kernel = |pair: Vec<u8>| {
        let shown = || String::from_utf8_lossy(&pair).into_owned();
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (label, path) = equals
            .map(|at| (&pair[..at], &pair[at + 1..]))
            .filter(|(_, path)| !path.is_empty())
            .ok_or_else(|| format!("`{}` is not label=path", shown()))?;
        let label = String::from_utf8_lossy(label);
        let label =
            KernelLabel::parse(&label).ok_or_else(|| format!("`{label}` is not a kernel label"))?;
        Ok(NamedKernel {
            label,
            image: PathBuf::from(OsStr::from_bytes(path)),
        })
    };
    let pairs = pairs.into_iter().filter(|pair| !pair.is_empty());
    pairs.map(kernel).collect()
}

/// Writes the kernels of a session the way [`parse_kernel_list`] reads them.
pub fn format_kernel_list<'k>(kernels: impl IntoIterator<Item = &'k NamedKernel>) -> OsString {
    let mut text = Vec::new();
    for kernel in kernels {
        if !text.is_empty() {
            text.push(b';');
        }
        text.extend(kernel.label.as_str().bytes());
        text.push(b'=');
        for &byte in kernel.image.as_os_str().as_bytes() {
            if matches!(byte, b';' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
    }
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use ktstr_core::Constraints;
    use proptest::prelude::*;

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
            .map(|case| case.name)
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

    #[test]
    fn kernel_list_round_trips() {
        let kernels = [kernel("6.12"), kernel("6.14.2")];
        let list = format_kernel_list(&kernels);
        assert_eq!(parse_kernel_list(&list).unwrap(), kernels);
        assert_eq!(
            list.to_str().unwrap(),
            "kernel_6_12=/k/6.12;kernel_6_14_2=/k/6.14.2"
        );
        let parse = |text: &str| parse_kernel_list(OsStr::new(text));
        assert_eq!(parse("").unwrap(), []);
        for wrong in [
            "/boot/vmlinuz",
            "Bad Label=/x",
            "kernel_6_12=",
            "kernel_6_12=/x\\",
            "=/x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_as_it_was_written(
            paths in proptest::collection::vec(proptest::collection::vec(1..=255_u8, 1..20), 0..4),
            odd in proptest::collection::vec("[;=\\\\a]{1,6}", 0..3),
        ) {
            let paths = paths.into_iter().chain(odd.into_iter().map(String::into_bytes));
            let kernels: Vec<NamedKernel> = paths
                .map(|path| NamedKernel {
                    image: OsString::from_vec(path).into(),
                    ..kernel("6.12")
                })
                .collect();
            prop_assert_eq!(parse_kernel_list(&format_kernel_list(&kernels)).unwrap(), kernels);
        }

        #[test]
        fn any_list_is_read_or_refused(list in proptest::collection::vec(1..=255_u8, 0..60)) {
            let _ = parse_kernel_list(&OsString::from_vec(list));
        }
    }
}
