//! Reads sidecars, including those of earlier versions.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Sidecar;
use crate::host::files::{BoundedReadError, read_bounded};

/// A sidecar that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// It is no regular file: a directory, a pipe, or a symbolic link, which may lead out of an archive.
    #[error("sidecar {path}: not a regular file; remove it")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// It is larger than any sidecar.
    #[error(
        "sidecar {path}: {size} bytes are more than a sidecar has ({limit}); remove it or run the tests again",
        limit = Sidecar::SIZE_LIMIT
    )]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The file could not be read.
    #[error("sidecar {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a sidecar.
    #[error("sidecar {path}: not a ktstr sidecar ({source}); remove it or run the tests again")]
    Parse {
        /// The file.
        path: String,
        /// Where parsing failed.
        source: serde_json::Error,
    },
    /// Another version of ktstr wrote it.
    #[error(
        "sidecar {path}: written in layout {found}, this ktstr reads {expected}; run the tests again",
        expected = Sidecar::SCHEMA
    )]
    Schema {
        /// The file.
        path: String,
        /// The version of its layout.
        found: u64,
    },
}

/// The part of a sidecar that every layout has.
#[derive(Deserialize)]
struct Layout {
    schema: u64,
}

impl Sidecar {
    /// No sidecar has more bytes: those of 252 CPUs and a timeline take some hundred KiB.
    pub const SIZE_LIMIT: u64 = 16 << 20;

    /// Reads the sidecar at `path`. Symbolic links are not followed, and nothing is waited for.
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        parse(path, &read(path)?)
    }

    /// Reads some fields of the sidecar at `path`: those of `T`.
    pub fn read_part<T: DeserializeOwned>(path: &Path) -> Result<T, SidecarError> {
        parse(path, &read(path)?)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, SidecarError> {
    let name = || path.display().to_string();
    let parse_error = |source| SidecarError::Parse {
        path: name(),
        source,
    };
    // First, as another layout may not fit the type.
    let Layout { schema } = serde_json::from_slice(bytes).map_err(parse_error)?;
    if schema != u64::from(Sidecar::SCHEMA) {
        return Err(SidecarError::Schema {
            path: name(),
            found: schema,
        });
    }
    serde_json::from_slice(bytes).map_err(parse_error)
}

fn read(path: &Path) -> Result<Vec<u8>, SidecarError> {
    read_bounded(path, Sidecar::SIZE_LIMIT).map_err(|error| {
        let path = path.display().to_string();
        match error {
            BoundedReadError::NotAFile => SidecarError::NotAFile { path },
            BoundedReadError::TooLarge { size, .. } => SidecarError::TooLarge { path, size },
            BoundedReadError::Read(source) => SidecarError::Read { path, source },
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use rustix::fs::Mode;

    use super::super::tests::example;
    use super::*;

    #[test]
    fn records_of_earlier_versions_are_first_attempts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let mut value = serde_json::to_value(example("steady")).unwrap();
        for added in [
            "epoch",
            "package",
            "target",
            "source",
            "binary_id",
            "attempt",
            "stress",
        ] {
            let removed = value.as_object_mut().unwrap().remove(added);
            assert!(removed.is_some(), "{added}");
        }
        fs::write(&path, value.to_string()).unwrap();
        assert_eq!(Sidecar::read(&path).unwrap(), example("steady"));
    }

    #[test]
    fn performance_mode_is_read_where_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let read = |value: &serde_json::Value| {
            fs::write(&path, value.to_string()).unwrap();
            Sidecar::read(&path)
        };
        let mut value = serde_json::to_value(example("steady")).unwrap();
        assert_eq!(value["performance_mode"], serde_json::Value::Null);
        for on in [None, Some(true), Some(false)] {
            value["performance_mode"] = on.into();
            assert_eq!(read(&value).unwrap().performance_mode, on);
        }
        // Older ones do not have it.
        value.as_object_mut().unwrap().remove("performance_mode");
        assert_eq!(read(&value).unwrap(), example("steady"));
        value["performance_mode"] = "perhaps".into();
        assert!(matches!(read(&value), Err(SidecarError::Parse { .. })));
    }

    #[test]
    fn what_older_versions_did_not_write_is_absent() {
        let mut value = serde_json::to_value(example("steady")).unwrap();
        let record = value.as_object_mut().unwrap();
        for field in [
            "kernel_warnings",
            "taint",
            "kernel_messages_lost",
            "scheduler_restarts",
        ] {
            assert!(!record.contains_key(field), "{field}");
        }
        // They wrote a number, and a zero where the kernel did not tell.
        record["cgroups"][0]["run_delay_s"] = 1.5.into();
        let read: Sidecar = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(read.cgroups[0].run_delay_s, Some(1.5));
        value["cgroups"][0]["run_delay_s"] = serde_json::Value::Null;
        value["kernel_warnings"] = serde_json::json!([{ "line": "BUG: x", "allowed": true }]);
        let read: Sidecar = serde_json::from_value(value).unwrap();
        assert_eq!(read.cgroups[0].run_delay_s, None);
        assert!(read.kernel_warnings[0].allowed && !read.kernel_warnings[0].at_boot);
    }

    #[test]
    fn what_is_no_ordinary_file_is_not_opened_or_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(
            path("good"),
            serde_json::to_vec(&example("steady")).unwrap(),
        )
        .unwrap();
        std::os::unix::fs::symlink(path("good"), path("link")).unwrap();
        fs::create_dir(path("dir")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, Mode::RUSR, 0).unwrap();
        for name in ["link", "dir", "pipe"] {
            let error = Sidecar::read(&path(name)).unwrap_err();
            assert!(matches!(error, SidecarError::NotAFile { .. }), "{error}");
        }
        let huge = fs::File::create(path("huge")).unwrap();
        huge.set_len(1 << 40).unwrap();
        let error = Sidecar::read(&path("huge")).unwrap_err().to_string();
        assert!(error.contains("1099511627776 bytes are more"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// A sidecar that was damaged anywhere: it is read or refused.
        #[test]
        fn any_damage_is_an_error_or_a_sidecar(
            cut in any::<proptest::sample::Index>(),
            put in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
            is_cut in any::<bool>(),
        ) {
            let mut bytes = serde_json::to_vec(&example("steady")).unwrap();
            let at = put.index(bytes.len());
            bytes[at] = byte;
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = parse::<Sidecar>(Path::new("x"), &bytes);
        }
    }

    #[test]
    fn refuses_what_is_not_a_sidecar() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            Sidecar::read(&path).unwrap_err()
        };
        assert!(matches!(error("{"), SidecarError::Parse { .. }));
        assert!(matches!(error("{}"), SidecarError::Parse { .. }));
        assert!(matches!(
            error(r#"{"schema": 99}"#),
            SidecarError::Schema { found: 99, .. }
        ));
        let missing = Sidecar::read(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing, SidecarError::Read { .. }));
    }
}
