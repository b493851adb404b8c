//! The kernel's make.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use ktstr_core::host::Host;
use ktstr_core::host::files::find_program;

use crate::process::{RunError, Runner};
use crate::toolchain::{TOOLCHAIN_VARIABLES, Toolchain};

/// Runs make in a source tree.
#[derive(Debug)]
pub(crate) struct Make<'a> {
    pub(crate) runner: &'a Runner<'a>,
    /// Where it builds; `None` in the tree itself.
    pub(crate) out: Option<&'a Path>,
    /// Parallel jobs.
    pub(crate) jobs: usize,
    /// Where make and compilers are searched for, and the environment that they get.
    pub(crate) host: &'a Host,
    /// What it compiles with.
    pub(crate) toolchain: &'a Toolchain,
    /// What the compiler is called through.
    pub(crate) ccache: Ccache,
}

/// Whether and how compilations come from ccache where it has them.
///
/// It is the user's own, with the user's settings and directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ccache {
    /// Not at all.
    Off,
    /// For a tree of the user's: debug information tells that tree and no other.
    OfTree,
    /// In a directory that is another for each build: what was compiled in one serves all.
    InScratch,
}

impl Make<'_> {
    /// Makes `target` in the configuration file `config`; `on_line` sees every line of its output.
    pub(crate) fn run(
        &self,
        target: &str,
        config: &str,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), RunError> {
        let mut arguments = Vec::new();
        if let Some(out) = self.out {
            arguments.push(OsString::from("O="));
            arguments[0].push(out);
        }
        arguments.push(format!("-j{}", self.jobs.max(1)).into());
        let mut command = clean("make", self.host);
        let cc = (self.ccache != Ccache::Off).then(|| through_ccache(self.toolchain));
        if self.ccache == Ccache::InScratch {
            command
                .env("CCACHE_BASEDIR", self.runner.dir)
                .env("CCACHE_NOHASHDIR", "1");
        }
        let told = self.toolchain.arguments(cc.as_deref());
        arguments.extend(told.into_iter().map(OsString::from));
        arguments.push(target.into());
        command
            .args(&arguments)
            .env("KCONFIG_CONFIG", config)
            // Two builds of one source are alike.
            .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01 00:00:00 UTC")
            .env("KBUILD_BUILD_USER", "ktstr")
            .env("KBUILD_BUILD_HOST", "ktstr")
            .env("KBUILD_BUILD_VERSION", "1");
        let words: Vec<String> = arguments.iter().map(|it| typed(it)).collect();
        let name = format!("make {}", words.join(" "));
        self.runner.run(&mut command, &name, on_line)
    }
}

/// An argument as a person would type it.
fn typed(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    match text.split_once('=') {
        Some((name, value)) if value.contains(' ') => format!("{name}='{value}'"),
        _ => text.into_owned(),
    }
}

/// The compiler, called through ccache if it is not already.
fn through_ccache(toolchain: &Toolchain) -> String {
    let compiler = toolchain.compiler();
    let is_ccache = |word: &str| word.rsplit('/').next() == Some("ccache");
    match compiler.split_whitespace().next() {
        Some(first) if is_ccache(first) => compiler,
        _ => format!("ccache {compiler}"),
    }
}

/// Whether ccache is in the search path of `host` and does its work: one without a directory to write to refuses to compile.
pub(crate) fn try_ccache(
    runner: &Runner<'_>,
    host: &Host,
    toolchain: &Toolchain,
) -> Result<bool, RunError> {
    if find_program(&host.path, "ccache").is_none() {
        return Ok(false);
    }
    let compiler = through_ccache(toolchain);
    let words = compiler.split_whitespace().skip(1);
    let arguments: Vec<&str> = words
        .chain(["-fsyntax-only", "-x", "c", "/dev/null"])
        .collect();
    let mut command = clean("ccache", host);
    let name = format!("ccache {}", arguments.join(" "));
    runner.run(command.args(&arguments), &name, &mut |_| {})?;
    Ok(true)
}

/// A command in the environment of `host`, without what would change the result of a kernel build.
pub(crate) fn clean(program: impl AsRef<OsStr>, host: &Host) -> Command {
    let mut command = host.command(program);
    for name in host.env.keys() {
        if name.to_str().is_some_and(matters) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

/// Whether make or the kernel's Makefiles look at that variable.
fn matters(name: &str) -> bool {
    // The tool chain's are arguments.
    const NAMES: &[&str] = &[
        "ARCH",
        "SUBARCH",
        "O",
        "M",
        "V",
        "C",
        "W",
        "CF",
        "CHECK",
        "PAHOLE_FLAGS",
        "LOCALVERSION",
        "EXTRAVERSION",
        "INSTALL_PATH",
        "INSTALL_MOD_PATH",
        "MAKEFLAGS",
        "MFLAGS",
        "GNUMAKEFLAGS",
        "CARGO_MAKEFLAGS",
        "MAKELEVEL",
        "MAKEFILES",
        "CDPATH",
        "GREP_OPTIONS",
    ];
    const PREFIXES: &[&str] = &["KBUILD_", "KCONFIG_", "KRUSTFLAGS"];
    NAMES.contains(&name)
        || TOOLCHAIN_VARIABLES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The file that a line of kbuild's output says it is working on: `  CC      kernel/sched/core.o`.
pub(crate) fn step(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    let (word, rest) = rest.split_once(' ')?;
    let is_word = (2..=10).contains(&word.len())
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let file = rest.trim_start();
    // Of modules: `  CC [M]  fs/fat/dir.o`.
    let file = file
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(file, |(_, rest)| rest.trim_start());
    (is_word && !file.is_empty()).then(|| file.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_are_told_from_other_lines() {
        assert_eq!(
            step("  CC      kernel/sched/core.o"),
            Some("kernel/sched/core.o")
        );
        assert_eq!(
            step("  HOSTCC  scripts/kconfig/conf.o"),
            Some("scripts/kconfig/conf.o")
        );
        assert_eq!(step("  CC [M]  fs/fat/dir.o"), Some("fs/fat/dir.o"));
        assert_eq!(
            step("  BTF     .tmp_vmlinux1.btf.o"),
            Some(".tmp_vmlinux1.btf.o")
        );
        for line in [
            "",
            "  ",
            "CC a.o",
            "  warning: x y",
            "   CC a.o",
            "  CC  ",
            "make[1]: x",
        ] {
            assert_eq!(step(line), None, "{line}");
        }
    }

    #[test]
    fn builds_do_not_see_what_would_change_them() {
        for name in [
            "MAKEFLAGS",
            "CARGO_MAKEFLAGS",
            "ARCH",
            "KBUILD_OUTPUT",
            "KCONFIG_ALLCONFIG",
            "LLVM",
            "CC",
        ] {
            assert!(matters(name), "{name}");
        }
        for name in ["HOME", "TMPDIR", "CCACHE_DIR", "KTSTR_KERNEL"] {
            assert!(!matters(name), "{name}");
        }
        let names = ["MAKEFLAGS", "KBUILD_OUTPUT", "HOME", "LC_ALL"];
        let host = Host {
            path: "/bin:/usr/bin".into(),
            ..Host::default().with_vars(names.map(|name| (name, "set")))
        };
        let output = clean("env", &host).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = told.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["HOME=set", "LC_ALL=C", "PATH=/bin:/usr/bin"]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,40}") {
            let _ = step(&line);
        }
    }
}
