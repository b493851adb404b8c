//! The tool chain that kernels are built with.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use ktstr_core::host::Host;
use ktstr_core::host::files::find_program;

use crate::fragment::options_hash;

/// The variables of the kernel's make that choose a tool chain, as `make LLVM=1 CC=clang-19` does.
pub const TOOLCHAIN_VARIABLES: &[&str] = &[
    "AR",
    "CC",
    "CROSS_COMPILE",
    "HOSTAR",
    "HOSTCC",
    "HOSTCFLAGS",
    "HOSTCXX",
    "HOSTCXXFLAGS",
    "HOSTLD",
    "HOSTLDFLAGS",
    "HOSTLDLIBS",
    "KAFLAGS",
    KCFLAGS,
    "KCPPFLAGS",
    "LD",
    "LLVM",
    "LLVM_IAS",
    "NM",
    "OBJCOPY",
    "OBJDUMP",
    "PAHOLE",
    "READELF",
    "STRIP",
];

/// Variables that a kernel developer may have set for make, and that make no sense here.
const UNUSED: &[&str] = &[
    "ARCH",
    "EXTRAVERSION",
    "KBUILD_EXTMOD",
    "KBUILD_OUTPUT",
    "KCONFIG_CONFIG",
    "LOCALVERSION",
    "SUBARCH",
];

const KCFLAGS: &str = "KCFLAGS";

/// The tool chain of kernels, by make's variables; the default is make's own: gcc and binutils.
///
/// It is part of a kernel's cache key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchain {
    variables: BTreeMap<&'static str, String>,
    unused: Vec<&'static str>,
}

/// A variable of the environment that cannot be passed to make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: it is not one line of UTF-8 text; set it to what make takes, or unset it")]
pub struct ToolchainError {
    /// The variable.
    pub name: &'static str,
}

impl Toolchain {
    /// What the environment of `host` says. Empty variables say nothing.
    pub fn from_env(host: &Host) -> Result<Self, ToolchainError> {
        let mut variables = BTreeMap::new();
        for &name in TOOLCHAIN_VARIABLES {
            let Some(value) = host.non_empty_var(name) else {
                continue;
            };
            let value = value.into_string().ok();
            let value = value.filter(|value| !value.chars().any(char::is_control));
            variables.insert(name, value.ok_or(ToolchainError { name })?);
        }
        let unused = UNUSED.iter().copied().filter(|name| {
            // Of this machine's architecture there is nothing to tell.
            host.non_empty_var(name)
                .is_some_and(|it| !(name.ends_with("ARCH") && (it == "x86" || it == "x86_64")))
        });
        let unused = unused.collect();
        Ok(Self { variables, unused })
    }

    /// The variables that are set and that kernel builds here do not take.
    pub(crate) fn unused(&self) -> &[&'static str] {
        &self.unused
    }

    /// It in one line, as it would be typed after `make`; `None` where it is make's own.
    pub fn spelled(&self) -> Option<String> {
        let words: Vec<String> = self.pairs().collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    fn pairs(&self) -> impl Iterator<Item = String> {
        self.variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
    }

    /// The eight digits behind `tc` in cache keys; `None` where it is make's own.
    pub(crate) fn hash(&self) -> Option<String> {
        (!self.variables.is_empty()).then(|| options_hash(self.pairs()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The program of the LLVM tool chain, where that is chosen: `LLVM=1`, `LLVM=-19` or `LLVM=/opt/llvm/bin/`.
    fn llvm(&self, program: &str) -> Option<String> {
        let chosen = self.get("LLVM")?;
        Some(match chosen {
            _ if chosen.ends_with('/') => format!("{chosen}{program}"),
            _ if chosen.starts_with('-') => format!("{program}{chosen}"),
            _ => program.to_owned(),
        })
    }

    /// A tool, as make calls it.
    fn tool(&self, variable: &str, llvm: &str, gnu: &str) -> String {
        let named = self.get(variable).map(str::to_owned);
        named.or_else(|| self.llvm(llvm)).unwrap_or_else(|| {
            let prefix = self.get("CROSS_COMPILE").unwrap_or_default();
            format!("{prefix}{gnu}")
        })
    }

    /// What compiles the kernel.
    pub(crate) fn compiler(&self) -> String {
        self.tool("CC", "clang", "gcc")
    }

    /// What copies sections of object files.
    pub(crate) fn objcopy(&self) -> String {
        self.tool("OBJCOPY", "llvm-objcopy", "objcopy")
    }

    /// The program that makes BTF.
    pub(crate) fn pahole(&self) -> &str {
        self.get("PAHOLE").unwrap_or("pahole")
    }

    /// What make is told. Warnings of new compilers fail no old kernel; `cc` is how the compiler is called, where that
    /// is not left to make.
    pub(crate) fn arguments(&self, cc: Option<&str>) -> Vec<String> {
        let flags = self
            .get(KCFLAGS)
            .map_or(String::new(), |it| format!(" {it}"));
        let mut all = vec![format!("{KCFLAGS}=-Wno-error{flags}")];
        all.extend(cc.map(|cc| format!("CC={cc}")));
        let others = self
            .variables
            .iter()
            .filter(|(name, _)| **name != KCFLAGS && !(**name == "CC" && cc.is_some()));
        all.extend(others.map(|(name, value)| format!("{name}={value}")));
        all
    }

    /// Which of the programs that it names are not there: as `variable: program`.
    pub(crate) fn missing(&self, path: &OsStr) -> Vec<String> {
        const LLVM: &[(&str, &str)] = &[
            ("CC", "clang"),
            ("LD", "ld.lld"),
            ("AR", "llvm-ar"),
            ("NM", "llvm-nm"),
            ("OBJCOPY", "llvm-objcopy"),
            ("STRIP", "llvm-strip"),
            ("READELF", "llvm-readelf"),
        ];
        const PROGRAMS: &[&str] = &[
            "AR", "CC", "HOSTAR", "HOSTCC", "HOSTCXX", "HOSTLD", "LD", "NM", "OBJCOPY", "OBJDUMP",
            "PAHOLE", "READELF", "STRIP",
        ];
        let named = PROGRAMS.iter().filter_map(|name| {
            let program = self.get(name)?.split_whitespace().next()?;
            Some((*name, program.to_owned()))
        });
        let llvm = LLVM.iter().filter_map(|(name, program)| {
            let left = !self.variables.contains_key(name);
            Some(("LLVM", self.llvm(program).filter(|_| left)?))
        });
        let gnu = self
            .get("CROSS_COMPILE")
            .filter(|_| self.get("LLVM").is_none());
        let gnu = gnu.into_iter().flat_map(|prefix| {
            let tools = [("CC", "gcc"), ("LD", "ld")];
            let left = tools
                .into_iter()
                .filter(|(name, _)| self.get(name).is_none());
            left.map(move |(_, tool)| ("CROSS_COMPILE", format!("{prefix}{tool}")))
        });
        let all = named.chain(llvm).chain(gnu);
        all.filter(|(_, program)| find_program(path, program).is_none())
            .map(|(name, program)| format!("`{program}` of {name}"))
            .collect()
    }

    /// Whether that tool of the default chain is not needed.
    pub(crate) fn replaces(&self, tool: &str) -> bool {
        match tool {
            // Programs of the host are compiled by gcc too.
            "gcc" => {
                self.get("LLVM").is_some() || (self.get("CC").and(self.get("HOSTCC")).is_some())
            }
            "ld" => self.get("LLVM").or(self.get("LD")).is_some(),
            "pahole" => self.get("PAHOLE").is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Toolchain {
        let host = Host::default().with_vars(pairs.iter().copied());
        Toolchain::from_env(&host).unwrap()
    }

    #[test]
    fn make_is_told_what_the_environment_says() {
        let plain = of(&[("CC", ""), ("PATH", "/bin"), ("ARCH", "x86_64")]);
        assert_eq!(plain, Toolchain::default());
        assert_eq!((plain.hash(), plain.spelled()), (None, None));
        assert_eq!(plain.arguments(None), ["KCFLAGS=-Wno-error"]);
        assert_eq!(
            plain.arguments(Some("ccache gcc")),
            ["KCFLAGS=-Wno-error", "CC=ccache gcc"]
        );
        let llvm = of(&[
            ("LLVM", "-19"),
            ("CC", "my clang"),
            ("KCFLAGS", "-O1"),
            ("ARCH", "arm64"),
        ]);
        assert_eq!(
            llvm.arguments(None),
            ["KCFLAGS=-Wno-error -O1", "CC=my clang", "LLVM=-19"]
        );
        assert_eq!(
            llvm.arguments(Some("ccache my clang")),
            ["KCFLAGS=-Wno-error -O1", "CC=ccache my clang", "LLVM=-19"]
        );
        assert_eq!(
            llvm.spelled().as_deref(),
            Some("CC=my clang KCFLAGS=-O1 LLVM=-19")
        );
        assert_eq!(llvm.unused(), ["ARCH"]);
        assert_eq!(llvm.objcopy(), "llvm-objcopy-19");
        assert_ne!(llvm.hash(), of(&[("LLVM", "-19")]).hash());
        assert_eq!(of(&[("LLVM", "1")]).compiler(), "clang");
        assert_eq!(of(&[("LLVM", "/opt/bin/")]).compiler(), "/opt/bin/clang");
        assert_eq!(of(&[("CROSS_COMPILE", "x-")]).compiler(), "x-gcc");
    }

    #[test]
    fn what_is_not_there_is_named_by_its_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().as_os_str();
        assert_eq!(Toolchain::default().missing(path), [""; 0]);
        let missing = of(&[("LLVM", "-19"), ("AR", "/no/ar")]).missing(path);
        assert!(
            missing.contains(&"`clang-19` of LLVM".to_owned()),
            "{missing:?}"
        );
        assert!(
            missing.contains(&"`/no/ar` of AR".to_owned()),
            "{missing:?}"
        );
        assert!(
            !missing.iter().any(|it| it.contains("llvm-ar")),
            "{missing:?}"
        );
        assert_eq!(
            of(&[("CC", "no cc"), ("CROSS_COMPILE", "x-")]).missing(path),
            ["`no` of CC", "`x-ld` of CROSS_COMPILE"]
        );
    }

    #[test]
    fn values_that_are_not_a_line_are_refused() {
        for bad in ["a\nb", "a\u{1b}[1m"] {
            let error = Toolchain::from_env(&Host::default().with_vars([("CC", bad)]));
            assert!(error.unwrap_err().to_string().starts_with("CC: "));
        }
    }
}
