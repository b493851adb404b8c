//! The programs that coverage takes: cargo-llvm-cov, and two tools of the LLVM that rustc has.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_core::host::files::is_program;

use super::error::CoverageError;
use crate::bounded::{self, Limits};
use crate::{cargo, process, programs};

/// How long rustc may take to say its version, and how much it says.
const LIMITS: Limits = Limits {
    time: programs::PATIENCE,
    output: 1 << 16,
};

/// Variables that name the tools to cargo-llvm-cov, and the tools.
const TOOLS: [(&str, &str); 2] = [("LLVM_COV", "llvm-cov"), ("LLVM_PROFDATA", "llvm-profdata")];

/// Where `llvm-cov` and `llvm-profdata` are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LlvmTools {
    /// The environment names them.
    Named {
        /// `LLVM_COV`.
        llvm_cov: PathBuf,
    },
    /// They are a component of the Rust toolchain.
    Component {
        /// The directory of both.
        dir: PathBuf,
    },
    /// They are those of the system's LLVM, of the version that rustc has.
    System {
        /// `llvm-cov`.
        llvm_cov: PathBuf,
        /// `llvm-profdata`.
        llvm_profdata: PathBuf,
    },
}

impl fmt::Display for LlvmTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { llvm_cov } => write!(f, "{} (LLVM_COV)", llvm_cov.display()),
            Self::Component { .. } => f.write_str("the rustup component llvm-tools-preview"),
            Self::System { llvm_cov, .. } => write!(f, "{}", llvm_cov.display()),
        }
    }
}

impl LlvmTools {
    /// Looks for cargo-llvm-cov, and for the tools as it does; then for the system's, by the version of the LLVM that the
    /// rustc of `dir` has.
    pub fn find(host: &Host, dir: &Path) -> Result<Self, CoverageError> {
        if cargo::find_subcommand(host, "cargo-llvm-cov").is_none() {
            return Err(CoverageError::NoLlvmCov);
        }
        let [llvm_cov, llvm_profdata] = TOOLS.map(|(variable, _)| {
            let named = host.non_empty_var(variable).map(PathBuf::from);
            named.map(|program| (variable, program))
        });
        if let (Some(llvm_cov), Some(llvm_profdata)) = (llvm_cov, llvm_profdata) {
            for (variable, program) in [&llvm_cov, &llvm_profdata] {
                if !is_there(host, dir, program) {
                    let program = program.clone();
                    return Err(CoverageError::Tool { variable, program });
                }
            }
            let llvm_cov = llvm_cov.1;
            return Ok(Self::Named { llvm_cov });
        }
        let libraries = rustc(host, dir, &["--print", "target-libdir"])?;
        let component = Path::new(libraries.trim()).with_file_name("bin");
        if TOOLS
            .iter()
            .all(|(_, tool)| is_program(&component.join(tool)))
        {
            return Ok(Self::Component { dir: component });
        }
        let version = rustc(host, dir, &["-vV"])?;
        let llvm = llvm_major(&version).ok_or_else(|| CoverageError::Rustc {
            program: "rustc -vV".to_owned(),
            why: "it does not tell the version of its LLVM".to_owned(),
        })?;
        let find = |tool: &str| {
            let installed = host.root.join(format!("usr/lib/llvm-{llvm}/bin/{tool}"));
            programs::find(&format!("{tool}-{llvm}"), &host.path)
                .or_else(|| Some(installed).filter(|program| is_program(program)))
        };
        match TOOLS.map(|(_, tool)| find(tool)) {
            [Some(llvm_cov), Some(llvm_profdata)] => Ok(Self::System {
                llvm_cov,
                llvm_profdata,
            }),
            _ => Err(CoverageError::NoTools { llvm }),
        }
    }

    /// The variables by which cargo-llvm-cov finds them.
    pub(super) fn variables(&self) -> Vec<(OsString, OsString)> {
        match self {
            Self::Named { .. } | Self::Component { .. } => Vec::new(),
            Self::System {
                llvm_cov,
                llvm_profdata,
            } => vec![
                (TOOLS[0].0.into(), llvm_cov.into()),
                (TOOLS[1].0.into(), llvm_profdata.into()),
            ],
        }
    }
}

/// Whether `program`, as a variable names it, can be run from `dir`.
fn is_there(host: &Host, dir: &Path, program: &Path) -> bool {
    if program.components().count() > 1 {
        return is_program(&dir.join(program));
    }
    programs::find(&program.to_string_lossy(), &host.path).is_some()
}

/// What rustc prints.
fn rustc(host: &Host, dir: &Path, args: &[&str]) -> Result<String, CoverageError> {
    let program = host
        .non_empty_var("RUSTC")
        .unwrap_or_else(|| "rustc".into());
    let mut command = process::command(host, program);
    command.args(args).current_dir(dir);
    let failed = |why: String| CoverageError::Rustc {
        program: format!("rustc {}", args.join(" ")),
        why,
    };
    let answer =
        bounded::answer(&mut command, LIMITS).map_err(|error| failed(error.to_string()))?;
    if !answer.status.success() {
        return Err(failed(answer.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// The major version in the line `LLVM version: 22.1.2`.
fn llvm_major(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn program(path: &Path, script: &str) {
        let text = path.with_extension("script");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // A program that was open for writing here while another thread forks cannot be executed.
        let mut install = Command::new("install");
        let installed = install.args(["-m", "755"]).arg(text).arg(path).status();
        assert!(installed.unwrap().success());
    }

    /// A host with nothing but a rustc of LLVM 22, and what is added.
    #[test]
    fn tools_are_found_where_they_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let script = format!(
            "case $1 in --print) echo {}/rustlib/x/lib;; *) printf 'rustc 1\\nLLVM version: 22.1.2\\n';; esac",
            dir.path().display()
        );
        program(&at("bin/rustc"), &script);
        let host = Host {
            root: dir.path().to_owned(),
            path: at("bin").into(),
            ..Host::default()
        };
        let find =
            |host: &Host| LlvmTools::find(host, dir.path()).map_err(|error| error.to_string());
        assert!(
            find(&host)
                .unwrap_err()
                .ends_with("cargo install --locked cargo-llvm-cov")
        );
        program(&at("bin/cargo-llvm-cov"), "");
        let none = find(&host).unwrap_err();
        assert!(
            none.contains("of LLVM 22,") && none.contains("apt-get install llvm-22"),
            "{none}"
        );

        // Of another version, or one of the two.
        program(&at("bin/llvm-cov"), "");
        program(&at("bin/llvm-profdata-21"), "");
        program(&at("bin/llvm-cov-22"), "");
        assert!(find(&host).is_err());
        program(&at("usr/lib/llvm-22/bin/llvm-profdata"), "");
        let system = LlvmTools::System {
            llvm_cov: at("bin/llvm-cov-22"),
            llvm_profdata: at("usr/lib/llvm-22/bin/llvm-profdata"),
        };
        assert_eq!(find(&host), Ok(system.clone()));
        assert_eq!(
            system.variables()[1].1,
            at("usr/lib/llvm-22/bin/llvm-profdata")
        );

        for tool in ["llvm-cov", "llvm-profdata"] {
            program(&at("rustlib/x/bin").join(tool), "");
        }
        let component = LlvmTools::Component {
            dir: at("rustlib/x/bin"),
        };
        assert_eq!(find(&host), Ok(component));

        let named = |profdata: &str| {
            host.clone()
                .with_vars([("LLVM_COV", "llvm-cov"), ("LLVM_PROFDATA", profdata)])
        };
        let llvm_cov = "llvm-cov".into();
        assert_eq!(
            find(&named("./bin/llvm-profdata-21")),
            Ok(LlvmTools::Named { llvm_cov })
        );
        let error = find(&named("nothing")).unwrap_err();
        assert!(error.starts_with("LLVM_PROFDATA is nothing, "), "{error}");
    }
}
