//! Paths and arguments of any bytes in JSON: text, or an array of bytes where they are not UTF-8.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&OsStr> for Either {
    fn from(text: &OsStr) -> Self {
        match text.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(text.as_bytes().to_vec()),
        }
    }
}

impl From<Either> for OsString {
    fn from(either: Either) -> Self {
        match either {
            Either::Text(text) => text.into(),
            Either::Bytes(bytes) => OsString::from_vec(bytes),
        }
    }
}

pub(super) mod path {
    use std::path::{Path, PathBuf};

    use serde::Deserializer;

    use super::{Deserialize, Either, OsString, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        path: &Path,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Either::from(path.as_os_str()).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<PathBuf, D::Error> {
        Either::deserialize(from).map(|path| OsString::from(path).into())
    }
}

pub(super) mod args {
    use serde::Deserializer;

    use super::{Deserialize, Either, OsString, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        args: &[OsString],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(args.iter().map(|arg| Either::from(arg.as_os_str())))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<OsString>, D::Error> {
        let args = Vec::<Either>::deserialize(from)?;
        Ok(args.into_iter().map(Into::into).collect())
    }
}

pub(super) mod backend {
    use ktstr_vmm::Backend;
    use serde::Deserializer;
    use serde::de::Error;

    use super::{Deserialize, Serialize, Serializer};

    // Serde passes a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, clippy::ref_option)]
    pub(in super::super) fn serialize<S: Serializer>(
        backend: &Option<Backend>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        backend.map(Backend::name).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Backend>, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        let backend = name.map(|name| name.parse()).transpose();
        backend.map_err(Error::custom)
    }
}
