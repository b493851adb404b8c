//! Reads sidecars, including those of earlier versions.

use std::path::Path;
use std::{fs, io};

use super::Sidecar;

/// A sidecar that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
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

impl Sidecar {
    /// Reads the sidecar at `path`.
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| SidecarError::Read {
            path: name(),
            source,
        })?;
        let parse_error = |source| SidecarError::Parse {
            path: name(),
            source,
        };
        // The layout is checked first, as another one may not fit the struct.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(parse_error)?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(Self::SCHEMA) => Err(SidecarError::Schema {
                path: name(),
                found,
            }),
            _ => serde_json::from_value(value).map_err(parse_error),
        }
    }
}

#[cfg(test)]
mod tests {
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
