//! The programs and headers that a kernel build needs, and the packages that bring them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::host::files::find_program;

use crate::make::clean;
use crate::process::first_line;
use crate::release::Release;

/// Something a kernel build needs from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// How to detect it.
    pub detection: Detection,
    /// The package that brings it on Debian and Ubuntu.
    pub debian: &'static str,
}

/// How to detect a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// A program in the search path.
    Program(&'static str),
    /// A header that the compiler finds by itself.
    Header(&'static str),
}

/// Everything that configuring and building need (Documentation/process/changes.rst of the kernel).
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
    let detection = Detection::Program(name);
    Tool {
        name,
        detection,
        debian,
    }
}

const fn header(name: &'static str, path: &'static str, debian: &'static str) -> Tool {
    let detection = Detection::Header(path);
    Tool {
        name,
        detection,
        debian,
    }
}

/// Where compilers look for headers without being told; Debian keeps some below the architecture's name.
const INCLUDE_DIRS: &[&str] = &[
    "usr/include",
    "usr/local/include",
    "usr/include/x86_64-linux-gnu",
];

impl Tool {
    /// Whether `host` has it: programs in its search path, headers below its root.
    pub fn is_there(&self, host: &Host) -> bool {
        match self.detection {
            Detection::Program(name) => find_program(&host.path, name).is_some(),
            Detection::Header(name) => INCLUDE_DIRS
                .iter()
                .any(|dir| host.root.join(dir).join(name).is_file()),
        }
    }
}

/// The build tools that `host` does not have; see [`Tool::is_there`].
pub fn missing(host: &Host) -> Vec<&'static Tool> {
    BUILD_TOOLS
        .iter()
        .filter(|tool| !tool.is_there(host))
        .collect()
}

/// The program that makes BTF of debug information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pahole {
    /// Where it is.
    pub program: PathBuf,
    /// Which one it is.
    pub version: PaholeVersion,
}

/// A version of pahole. Displays as `1.24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaholeVersion(pub u32, pub u32);

/// How long pahole may take to say its version, on a machine that is busy with a build.
const PAHOLE_WAIT: Duration = Duration::from_secs(20);

/// The oldest pahole for kernels, by the first Linux that needs it; the newest first. The first of all is what the
/// debug information of today's compilers takes (`DEBUG_INFO_BTF` in the kernel's lib/Kconfig.debug).
pub const OLDEST_PAHOLE: &[((u32, u32), PaholeVersion)] = &[
    ((7, 1), PaholeVersion(1, 26)),
    ((0, 0), PaholeVersion(1, 21)),
];

impl fmt::Display for PaholeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0, self.1)
    }
}

impl PaholeVersion {
    /// The oldest that makes BTF of Linux `version`.
    pub fn oldest_for(version: &str) -> Self {
        let release = Release::of_kernel(version);
        let series = release.map_or((0, 0), |it| (u32::from(it.major), u32::from(it.minor)));
        let needed = OLDEST_PAHOLE.iter().find(|(first, _)| series >= *first);
        needed.map_or(Self(0, 0), |(_, oldest)| *oldest)
    }

    /// What `pahole --version` says: `v1.24`.
    fn parse(line: &str) -> Option<Self> {
        let (major, rest) = line.trim().strip_prefix('v')?.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl Pahole {
    /// Asks the first program called `name` in the search path of `host`, or at the path `name`, for its version; the
    /// error is one clause.
    pub fn find(name: &str, host: &Host) -> Result<Self, String> {
        let program = if name.contains('/') {
            PathBuf::from(name)
        } else {
            find_program(&host.path, name).ok_or_else(|| format!("{name} not found"))?
        };
        let mut command = clean(&program, host);
        command.arg("--version");
        let line = first_line(command, PAHOLE_WAIT);
        let line = line.map_err(|why| format!("{}: {why}", program.display()))?;
        let version = PaholeVersion::parse(&line);
        let version = version.ok_or_else(|| {
            let said = crate::text::line(&line);
            format!("{}: its version is `{said}`", program.display())
        })?;
        Ok(Self { program, version })
    }
}

/// What the sources in `tree` say that BTF takes; `None` where they say nothing.
pub(crate) fn pahole_for(tree: &Path) -> Option<PaholeVersion> {
    const LIMIT: u64 = 1 << 20;
    let mut text = String::new();
    let file = File::open(tree.join("lib/Kconfig.debug")).ok()?;
    file.take(LIMIT).read_to_string(&mut text).ok()?;
    let (_, rest) = text.split_once("\nconfig DEBUG_INFO_BTF\n")?;
    let entry = rest.split("\nconfig ").next()?;
    let numbers = entry.split("PAHOLE_VERSION >= ").skip(1);
    let numbers = numbers.filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    numbers.max().map(|it| PaholeVersion(it / 100, it % 100))
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

/// What packing the boot image takes in the configuration `config`, if `host` does not have that.
pub fn missing_compressor(config: &str, host: &Host) -> Option<&'static Tool> {
    let chosen = COMPRESSORS
        .iter()
        .find(|(option, _)| config.lines().any(|line| line == *option));
    chosen
        .map(|(_, tool)| tool)
        .filter(|tool| !tool.is_there(host))
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
        let host = Host {
            root: dir.path().into(),
            path: bin.into(),
            ..Host::default()
        };
        let names: Vec<_> = missing(&host).iter().map(|tool| tool.name).collect();
        assert!(!names.contains(&"make") && !names.contains(&"libelf"));
        assert!(names.contains(&"gcc"), "not executable: {names:?}");
        assert!(names.contains(&"openssl"), "{names:?}");
        let lz4 = missing_compressor("CONFIG_X=y\nCONFIG_KERNEL_LZ4=y\n", &host);
        assert_eq!(lz4.map(|tool| tool.debian), Some("lz4"));
        assert_eq!(
            missing_compressor("# CONFIG_KERNEL_LZ4 is not set\n", &host),
            None
        );
        assert_eq!(install_command(["bc", "flex"]), "apt-get install bc flex");
    }

    #[test]
    fn pahole_is_new_enough_or_not() {
        let parse = PaholeVersion::parse;
        assert_eq!(parse("v1.24"), Some(PaholeVersion(1, 24)));
        assert_eq!(parse("v1.9-rc1"), Some(PaholeVersion(1, 9)));
        assert!(parse("v1.9") < parse("v1.21"));
        for text in ["", "1.24", "v1", "v1.x", "pahole"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let oldest = |version| PaholeVersion::oldest_for(version).to_string();
        assert_eq!(oldest("6.12.117"), "1.21");
        assert_eq!(oldest("7.0.2"), "1.21");
        assert_eq!(oldest("7.1.0-rc3"), "1.26");
        assert_eq!(oldest("8.0.0"), "1.26");
    }

    #[test]
    fn the_sources_know_best_which_pahole_they_need() {
        let tree = tempfile::tempdir().unwrap();
        assert_eq!(pahole_for(tree.path()), None);
        fs::create_dir(tree.path().join("lib")).unwrap();
        let text = "\nconfig DEBUG_INFO_BTF\n\tbool\n\tdepends on PAHOLE_VERSION >= 116\n\tdepends on A || PAHOLE_VERSION >= 121\n\nconfig X\n\tdepends on PAHOLE_VERSION >= 999\n";
        fs::write(tree.path().join("lib/Kconfig.debug"), text).unwrap();
        assert_eq!(pahole_for(tree.path()), Some(PaholeVersion(1, 21)));
    }

    #[test]
    fn a_pahole_that_hangs_or_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            path: format!("{}:/usr/bin:/bin", dir.path().display()).into(),
            ..Host::default()
        };
        let find = |script: &str| {
            let (text, program) = (dir.path().join("text"), dir.path().join("pahole"));
            fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
            // A program that was open for writing here while another thread forks cannot be executed.
            let mut install = std::process::Command::new("install");
            install.args(["-m", "755"]).arg(text).arg(program);
            assert!(install.status().unwrap().success());
            Pahole::find("pahole", &host)
        };
        assert_eq!(find("echo v1.15").unwrap().version, PaholeVersion(1, 15));
        assert!(find("exit 1").unwrap_err().contains("it fails"));
        assert!(
            find("echo hello")
                .unwrap_err()
                .contains("its version is `hello`")
        );
        assert!(
            Pahole::find("no-pahole", &host)
                .unwrap_err()
                .contains("not found")
        );
    }
}
