//! The scheduler under test, from its declaration to a program for the guest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ktstr_core::Verdict;

use super::program::{self, ProgramError};
use crate::TestCase;
use crate::dispatch::Settings;
use crate::protocol::{SchedulerSpec, SchedulerStart};
use crate::scheduler::{Scheduler, Source};

/// The check that failures to get hold of a scheduler are told as.
const CHECK: &str = "scheduler";

/// The program of `scheduler` on this host, built first where it is a cargo package; `None` where there is none to
/// bring along.
pub(super) fn program(
    scheduler: &Scheduler,
    settings: &Settings,
) -> Result<Option<PathBuf>, Verdict> {
    let program = match (scheduler.source, &settings.scheduler) {
        (Source::Eevdf | Source::KernelBuiltin { .. }, _) => return Ok(None),
        (Source::Package(_), Some(program)) => settings.dir.join(program),
        (Source::Package(package), None) => build(package, scheduler, settings)?,
        (Source::Path(path), _) => Path::new(scheduler.manifest_dir).join(path),
    };
    let name = scheduler.name;
    let path = program.display();
    match program::check(&program) {
        Ok(()) => Ok(Some(program)),
        Err(ProgramError::Missing) => Err(Verdict::fail(
            CHECK,
            format!("{name}: no program at {path}; build it, or fix the path"),
        )),
        Err(error) => Err(Verdict::fail(CHECK, format!("{name}: {path} {error}"))),
    }
}

/// What the guest is told; `None` for the kernel's own scheduler.
pub(super) fn spec(test: &TestCase) -> Option<SchedulerSpec> {
    let scheduler = test.scheduler;
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let config = scheduler.config_file_def.zip(test.config);
    let start = match scheduler.source {
        Source::Eevdf => return None,
        Source::Package(_) | Source::Path(_) => {
            let mut args = owned(scheduler.sched_args);
            args.extend(config.iter().flat_map(|(def, _)| def.args()));
            args.extend(owned(test.extra_sched_args));
            SchedulerStart::Program(args)
        }
        Source::KernelBuiltin { enable, disable } => SchedulerStart::Builtin {
            enable: owned(enable),
            disable: owned(disable),
        },
    };
    let sysctl = |(name, value): &(&str, &str)| (name.replace('.', "/"), (*value).to_owned());
    Some(SchedulerSpec {
        start,
        files: config
            .map(|(def, content)| (def.path.to_owned(), content.to_owned()))
            .into_iter()
            .collect(),
        sysctls: scheduler.sysctls.iter().map(sysctl).collect(),
        cgroup: scheduler.cgroup_parent.map(str::to_owned),
        allow_restarts: test.allow_restarts,
    })
}

/// Builds a package of the declaring crate's workspace and gives its binary.
fn build(package: &str, scheduler: &Scheduler, settings: &Settings) -> Result<PathBuf, Verdict> {
    let fail = |why: String| Verdict::fail(CHECK, format!("{}: {why}", scheduler.name));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = &settings.scheduler_profile;
    let output = Command::new(&cargo)
        .args([
            "build",
            "--message-format=json-render-diagnostics",
            "--quiet",
        ])
        .args(["-p", package, "--profile", profile])
        .current_dir(scheduler.manifest_dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fail(format!("{}: {error}", Path::new(&cargo).display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let first = said
            .lines()
            .find(|line| line.trim_start().starts_with("error"));
        let first = first.unwrap_or("it says nothing");
        eprint!("{said}");
        return Err(fail(format!(
            "`cargo build -p {package} --profile {profile}` failed: {}",
            first.trim()
        )));
    }
    let programs = executables(&String::from_utf8_lossy(&output.stdout));
    let named = programs.iter().find(|(name, _)| name == package);
    match (named, programs.as_slice()) {
        (Some((_, path)), _) | (None, [(_, path)]) => Ok(path.clone()),
        (None, []) => Err(fail(format!("the package `{package}` has no binary"))),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            Err(fail(format!(
                "the package `{package}` has several binaries ({names}), none of its name"
            )))
        }
    }
}

/// Name and path of the binaries that cargo's messages tell of.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let binary = |line: &str| -> Option<(String, PathBuf)> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_binary = message.get("reason")? == "compiler-artifact"
            && message.pointer("/target/kind/0")? == "bin";
        let name = message.pointer("/target/name")?.as_str()?;
        let path = message.get("executable")?.as_str()?;
        is_binary.then(|| (name.to_owned(), PathBuf::from(path)))
    };
    messages.lines().filter_map(binary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::ConfigFileDef;

    #[test]
    fn binaries_are_read_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"x"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"scx_x"},"executable":"/t/release/scx_x"}
{"reason":"build-finished","success":true}
not json
"#;
        assert_eq!(
            executables(messages),
            [("scx_x".to_owned(), PathBuf::from("/t/release/scx_x"))]
        );
    }

    #[test]
    fn a_configuration_goes_between_the_schedulers_arguments_and_the_tests() {
        const MINE: Scheduler = Scheduler {
            source: Source::Path("x"),
            sched_args: &["-v"],
            config_file_def: Some(ConfigFileDef {
                arg: "--config {file}",
                path: "/run/x.json",
            }),
            ..Scheduler::EEVDF
        };
        let location = crate::test::Location {
            file: "t.rs",
            line: 1,
        };
        let test = TestCase {
            scheduler: &MINE,
            extra_sched_args: &["-q"],
            config: Some("{}"),
            ..TestCase::new("t", location, |_| Ok(crate::AssertResult::pass()))
        };
        let told = spec(&test).unwrap();
        let args = ["-v", "--config", "/run/x.json", "-q"].map(str::to_owned);
        assert_eq!(told.start, SchedulerStart::Program(args.to_vec()));
        let file = ("/run/x.json".to_owned(), "{}".to_owned());
        assert_eq!(told.files, [file]);
        let plain = spec(&TestCase {
            config: None,
            ..test
        })
        .unwrap();
        assert!(plain.files.is_empty());
        let args = ["-v", "-q"].map(str::to_owned);
        assert_eq!(plain.start, SchedulerStart::Program(args.to_vec()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let scheduler = Scheduler {
            name: "mine",
            source: Source::Path("no/such/program"),
            manifest_dir: "/nowhere",
            ..Scheduler::EEVDF
        };
        let settings = Settings::read().unwrap();
        let verdict = program(&scheduler, &settings).unwrap_err();
        let message = &verdict.details()[0].message;
        assert!(
            message.contains("mine: no program at /nowhere/no/such/program"),
            "{message}"
        );
        assert_eq!(program(&Scheduler::EEVDF, &settings), Ok(None));
    }
}
