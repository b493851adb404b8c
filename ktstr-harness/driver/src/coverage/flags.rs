//! The flags that rustc gets from cargo's configuration, with the one that guests need.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use cargo_config2::{Config, Flags, ResolveOptions, TargetTripleRef};
use ktstr_core::host::Host;

use super::error::CoverageError;

/// The variables that have flags for rustc. Cargo takes the first that is set, and looks at no other place then.
pub(super) const VARIABLES: [&str; 2] = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"];

/// Has LLVM address counters by way of a variable, so that they can be mapped from a file while the program runs.
const RELOCATION: [&str; 2] = ["-C", "llvm-args=-runtime-counter-relocation"];

/// The variable with all flags for rustc: those that cargo would give it for a build in `dir`, and ours.
pub(super) fn rustflags(
    host: &Host,
    dir: &Path,
    target: Option<&OsStr>,
) -> Result<(OsString, OsString), CoverageError> {
    let error = |error: cargo_config2::Error| CoverageError::CargoConfig(error.to_string());
    let options = ResolveOptions::default().env(&host.env);
    let config = Config::load_with_options(dir, options).map_err(error)?;
    let target = target.map(OsStr::to_string_lossy);
    let target = target.as_deref().map(TargetTripleRef::from);
    let targets = config.build_target_for_config(target).map_err(error)?;
    let mut flags = match targets.first() {
        Some(target) => config.rustflags(target).map_err(error)?,
        None => None,
    }
    .unwrap_or_default();
    variable(&mut flags).map_err(error)
}

fn variable(flags: &mut Flags) -> Result<(OsString, OsString), cargo_config2::Error> {
    for flag in RELOCATION {
        flags.push(flag);
    }
    // Flags with a space in them fit the other alone.
    Ok(match flags.encode_space_separated() {
        Ok(text) => ("RUSTFLAGS".into(), text.into()),
        Err(_) => ("CARGO_ENCODED_RUSTFLAGS".into(), flags.encode()?.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Of a project with that configuration, in that environment.
    fn flags(config: &str, variables: &[(&str, &str)]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".cargo")).unwrap();
        fs::write(dir.path().join(".cargo/config.toml"), config).unwrap();
        let host = Host::of_this_process();
        let mut host = host.with_vars([("CARGO_HOME", dir.path())]);
        for name in VARIABLES {
            host.env.remove(OsStr::new(name));
        }
        let host = host.with_vars(variables.iter().copied());
        let target = OsStr::new("x86_64-unknown-linux-gnu");
        let (name, value) = rustflags(&host, dir.path(), Some(target)).unwrap();
        let text = |text: OsString| text.into_string().unwrap();
        (text(name), text(value))
    }

    #[test]
    fn flags_of_the_project_are_kept_in_cargos_order() {
        let ours = "-C llvm-args=-runtime-counter-relocation";
        let build = "[build]\nrustflags = [\"--cfg\", \"mine\"]\n";
        let of_target = "[target.x86_64-unknown-linux-gnu]\nrustflags = [\"--cfg\", \"theirs\"]\n";
        let named = |flags: &str| ("RUSTFLAGS".to_owned(), format!("{flags}{ours}"));
        assert_eq!(flags("", &[]), named(""));
        assert_eq!(flags(build, &[]), named("--cfg mine "));
        assert_eq!(
            flags(&format!("{build}{of_target}"), &[]),
            named("--cfg theirs ")
        );
        assert_eq!(flags(build, &[("RUSTFLAGS", "-O")]), named("-O "));
        let encoded = [
            ("RUSTFLAGS", "-O"),
            ("CARGO_ENCODED_RUSTFLAGS", "--cfg\u{1f}a=\"b c\""),
        ];
        let (name, value) = flags(build, &encoded);
        assert_eq!(name, "CARGO_ENCODED_RUSTFLAGS");
        assert_eq!(
            value,
            "--cfg\u{1f}a=\"b c\"\u{1f}-C\u{1f}llvm-args=-runtime-counter-relocation"
        );
    }
}
