//! What a session tells the test processes that it starts: one environment variable, as JSON.

use std::path::PathBuf;

use ktstr_vmm::Backend;
use serde::{Deserialize, Serialize};

/// What a session decided for all of its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Name of this session, which no other has.
    pub id: String,
    /// Where run directories are: `target/ktstr`, of whatever target directory cargo uses.
    pub runs_dir: PathBuf,
    /// The back end that was found to work on this host.
    pub backend: Option<Backend>,
    /// Name of the abstract socket at which test binaries ask for schedulers while nextest lists their tests.
    pub builder: Option<String>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Json {
    id: String,
    runs_dir: PathBuf,
    #[serde(default)]
    backend: Option<String>,
    #[serde(default)]
    builder: Option<String>,
}

impl SessionInfo {
    /// For the environment. Fails where a path is not UTF-8.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Json {
            id: self.id.clone(),
            runs_dir: self.runs_dir.clone(),
            backend: self.backend.map(|backend| backend.name().to_owned()),
            builder: self.builder.clone(),
        })
    }

    /// Reads what [`SessionInfo::to_json`] wrote. What a later version adds is passed over.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let backend = json.backend.map(|name| name.parse()).transpose();
        Ok(Self {
            id: json.id,
            runs_dir: json.runs_dir,
            backend: backend.map_err(|error: ktstr_vmm::ParseBackendError| error.to_string())?,
            builder: json.builder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives() {
        for backend in [None, Some(Backend::Kvm)] {
            let info = SessionInfo {
                id: "1-2".to_owned(),
                runs_dir: "/a b;c=d\\e\"f/ktstr".into(),
                backend,
                builder: backend.map(|_| "name".to_owned()),
            };
            assert_eq!(SessionInfo::parse(&info.to_json().unwrap()), Ok(info));
        }
        let later = r#"{"id": "x", "runs_dir": "/r", "something": [1]}"#;
        assert_eq!(SessionInfo::parse(later).unwrap().backend, None);
        for bad in [
            "",
            "/r",
            r#"{"id": "x"}"#,
            r#"{"id":"x","runs_dir":"/r","backend":"xen"}"#,
        ] {
            assert!(SessionInfo::parse(bad).is_err(), "{bad}");
        }
    }
}
