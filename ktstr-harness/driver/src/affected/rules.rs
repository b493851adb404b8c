//! What a path's name alone tells.

use std::ffi::OsStr;
use std::path::{Component, Path};

use serde::Serialize;

/// Why a changed file affects what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// It decides the versions of dependencies: everything is affected.
    Lockfile,
    /// It decides which compiler builds: everything is affected.
    Toolchain,
    /// It configures cargo: everything is affected.
    CargoConfig,
    /// It is the manifest of the workspace, with what all packages share: everything is affected.
    WorkspaceManifest,
    /// A build script is made from it, which may do anything: everything is affected.
    BuildScript,
    /// No package has it, none is known to read it, and it is no documentation: everything is affected.
    Unattributed,
    /// It is documentation that nothing is compiled from: nothing is affected.
    Documentation,
    /// It is in the directory of the package.
    InPackage,
    /// An earlier build of the package read it.
    BuildInput,
    /// A source of the package includes it, or names it.
    Named,
    /// No package has it, and what the build script of this one reads is not known.
    UnknownInputs,
    /// Git does not see changes of the package, and files in it have changed since the baseline was committed.
    Unseen,
}

impl Rule {
    /// Whether everything is affected.
    pub fn is_everything(self) -> bool {
        matches!(
            self,
            Self::Lockfile
                | Self::Toolchain
                | Self::CargoConfig
                | Self::WorkspaceManifest
                | Self::BuildScript
                | Self::Unattributed
        )
    }
}

/// The rule of files that say how everything is built; `workspace` is the directory of the workspace's manifest.
pub(super) fn global(path: &Path, workspace: Option<&Path>) -> Option<Rule> {
    let name = path.file_name()?.to_str();
    let in_cargo = path
        .components()
        .any(|part| part == Component::Normal(OsStr::new(".cargo")));
    match name {
        _ if in_cargo => Some(Rule::CargoConfig),
        Some("Cargo.lock") => Some(Rule::Lockfile),
        Some("rust-toolchain" | "rust-toolchain.toml") => Some(Rule::Toolchain),
        Some("Cargo.toml") if path.parent() == workspace => Some(Rule::WorkspaceManifest),
        _ => None,
    }
}

/// Extensions of text that people read.
const PROSE: &[&str] = &["md", "markdown", "rst", "adoc"];

/// More extensions, of files in directories of documentation.
const IN_DOCS: &[&str] = &[
    "txt", "html", "css", "svg", "png", "jpg", "jpeg", "gif", "webp", "pdf", "puml", "mmd", "dot",
];

/// Directories of documentation.
const DOCS: &[&str] = &["doc", "docs", "Documentation"];

/// Names of legal texts and the like, which may have an extension.
const TEXTS: &[&str] = &[
    "LICENSE",
    "LICENCE",
    "COPYING",
    "NOTICE",
    "AUTHORS",
    "CONTRIBUTORS",
];

/// Directories in packages whose files are compiled, or read by what is.
const CODE: &[&str] = &["src", "tests", "benches", "examples"];

/// Whether `path` looks like documentation.
pub(super) fn is_documentation(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return false;
    };
    let extension = path
        .extension()
        .and_then(OsStr::to_str)
        .map(str::to_ascii_lowercase);
    let is = |extensions: &[&str]| {
        extension
            .as_deref()
            .is_some_and(|own| extensions.contains(&own))
    };
    let is_text = |text: &str| {
        let rest = name.strip_prefix(text);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || rest == ".txt")
    };
    let mut dirs = path.parent().into_iter().flat_map(Path::components);
    let in_docs = dirs.any(|part| {
        DOCS.iter()
            .any(|dir| part == Component::Normal(OsStr::new(dir)))
    });
    is(PROSE) || (in_docs && is(IN_DOCS)) || TEXTS.iter().any(|text| is_text(text))
}

/// Whether `path`, from a package's directory on, is where its code is.
pub(super) fn is_code(path: &Path) -> bool {
    let first = path.components().next();
    CODE.iter()
        .any(|dir| first == Some(Component::Normal(OsStr::new(dir))))
}

/// Whether a text, from a package's directory on, may be one that its programs have in them or read: what is among their
/// sources, but for the text that tells people what is there.
pub(super) fn is_text_of_code(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    is_code(path) && !name.starts_with(b"README")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_is_what_people_read() {
        for (path, expected) in [
            ("README.md", true),
            ("a/CHANGELOG.MD", true),
            ("LICENSE-MIT", true),
            ("COPYING", true),
            ("LICENSE.txt", true),
            ("docs/flow.svg", true),
            ("a/Documentation/x.txt", true),
            // Lists that programs read.
            ("CMakeLists.txt", false),
            ("requirements.txt", false),
            ("docs/build.rs", false),
            ("docs/conf.py", false),
            ("docs", false),
            ("LICENSE.rs", false),
            ("NOTICE_OF.h", false),
            ("md", false),
        ] {
            assert_eq!(is_documentation(path.as_ref()), expected, "{path}");
        }
    }

    #[test]
    fn what_says_how_to_build_concerns_all() {
        let workspace = Some(Path::new("w"));
        for (path, expected) in [
            ("w/Cargo.toml", Some(Rule::WorkspaceManifest)),
            ("w/a/Cargo.toml", None),
            ("Cargo.lock", Some(Rule::Lockfile)),
            ("w/a/rust-toolchain.toml", Some(Rule::Toolchain)),
            ("w/.cargo/config.toml", Some(Rule::CargoConfig)),
            ("w/a/.cargo/x/y.toml", Some(Rule::CargoConfig)),
            (".cargo", Some(Rule::CargoConfig)),
            ("w/a/cargo.rs", None),
        ] {
            assert_eq!(global(path.as_ref(), workspace), expected, "{path}");
        }
    }
}
