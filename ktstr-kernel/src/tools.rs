//! The programs and headers that building a kernel takes, and what brings them.

use std::env::split_paths;
use std::ffi::OsStr;
use std::path::Path;

use ktstr_core::files::is_program;

/// Something a kernel build needs from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// What shows that it is there.
    pub sign: Sign,
    /// The package of Debian and Ubuntu that brings it.
    pub debian: &'static str,
}

/// What shows that a tool is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A program in the search path.
    Program(&'static str),
    /// A header that the compiler finds by itself.
    Header(&'static str),
}

/// Everything that configuring and building takes (Documentation/process/changes.rst of the kernel).
pub const BUILD_TOOLS: &[Tool] = &[
    program("make", "make"),
    program("gcc", "gcc"),
    program("ld", "binutils"),
    program("bc", "bc"),
    program("bison", "bison"),
    program("flex", "flex"),
    program("pahole", "pahole"),
    program("perl", "perl"),
    header("libelf", "libelf.h", "libelf-dev"),
    header("openssl", "openssl/ssl.h", "libssl-dev"),
];

const fn program(name: &'static str, debian: &'static str) -> Tool {
    let sign = Sign::Program(name);
    Tool { name, sign, debian }
}

const fn header(name: &'static str, path: &'static str, debian: &'static str) -> Tool {
    let sign = Sign::Header(path);
    Tool { name, sign, debian }
}

/// Where compilers look for headers without being told; Debian keeps some below the architecture's name.
const INCLUDE_DIRS: &[&str] = &[
    "usr/include",
    "usr/local/include",
    "usr/include/x86_64-linux-gnu",
];

impl Tool {
    /// Whether it is there: programs in `path`, headers below `root` (`/` but in tests).
    pub fn is_there(&self, path: &OsStr, root: &Path) -> bool {
        match self.sign {
            Sign::Program(name) => split_paths(path).any(|dir| is_program(&dir.join(name))),
            Sign::Header(name) => INCLUDE_DIRS
                .iter()
                .any(|dir| root.join(dir).join(name).is_file()),
        }
    }
}

/// The build tools that are not there; see [`Tool::is_there`].
pub fn missing(path: &OsStr, root: &Path) -> Vec<&'static Tool> {
    BUILD_TOOLS
        .iter()
        .filter(|tool| !tool.is_there(path, root))
        .collect()
}

/// What packs the boot image, by the option that chooses it. Only the chosen one is needed.
const COMPRESSORS: &[(&str, Tool)] = &[
    ("CONFIG_KERNEL_GZIP=y", program("gzip", "gzip")),
    ("CONFIG_KERNEL_BZIP2=y", program("bzip2", "bzip2")),
    ("CONFIG_KERNEL_LZMA=y", program("lzma", "xz-utils")),
    ("CONFIG_KERNEL_XZ=y", program("xz", "xz-utils")),
    ("CONFIG_KERNEL_LZO=y", program("lzop", "lzop")),
    ("CONFIG_KERNEL_LZ4=y", program("lz4", "lz4")),
    ("CONFIG_KERNEL_ZSTD=y", program("zstd", "zstd")),
];

/// What packing the boot image takes in the configuration `config`, if that is not in `path`.
pub fn missing_compressor(config: &str, path: &OsStr) -> Option<&'static Tool> {
    let chosen = COMPRESSORS
        .iter()
        .find(|(option, _)| config.lines().any(|line| line == *option));
    chosen
        .map(|(_, tool)| tool)
        .filter(|tool| !tool.is_there(path, Path::new("/")))
}

/// The command that installs these packages on Debian and Ubuntu.
pub fn install_command<'p>(packages: impl IntoIterator<Item = &'p str>) -> String {
    let mut command = "apt-get install".to_owned();
    for package in packages {
        command.push(' ');
        command.push_str(package);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_and_headers_are_looked_for_where_builds_find_them() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, mode) in [("make", 0o755), ("gcc", 0o644)] {
            fs::write(bin.join(name), "").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let include = dir.path().join("usr/include");
        fs::create_dir_all(&include).unwrap();
        fs::write(include.join("libelf.h"), "").unwrap();
        let names: Vec<_> = missing(bin.as_os_str(), dir.path())
            .iter()
            .map(|tool| tool.name)
            .collect();
        assert!(!names.contains(&"make") && !names.contains(&"libelf"));
        assert!(names.contains(&"gcc"), "not executable: {names:?}");
        assert!(names.contains(&"openssl"), "{names:?}");
        let lz4 = missing_compressor("CONFIG_X=y\nCONFIG_KERNEL_LZ4=y\n", bin.as_os_str());
        assert_eq!(lz4.map(|tool| tool.debian), Some("lz4"));
        assert_eq!(
            missing_compressor("# CONFIG_KERNEL_LZ4 is not set\n", bin.as_os_str()),
            None
        );
        assert_eq!(install_command(["bc", "flex"]), "apt-get install bc flex");
    }
}
