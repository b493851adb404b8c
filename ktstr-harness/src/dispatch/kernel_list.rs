//! The kernels of a session as one environment variable.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ktstr_core::KernelLabel;

use crate::cases::NamedKernel;

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
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn kernel(version: &str) -> NamedKernel {
        NamedKernel {
            label: KernelLabel::from_version(version),
            image: format!("/k/{version}").into(),
        }
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
