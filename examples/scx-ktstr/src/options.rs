//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

/// Shown for `--help`.
pub(crate) const USAGE: &str = "\
Usage: scx-ktstr [OPTIONS]

A small fair scheduler for sched_ext. It runs until it is told to stop (SIGTERM, SIGINT: exit code 0)
or the kernel ejects it (exit code 1). Exit code 2: the command line was not understood.

Options:
      --slice-us N          Time slice, 100 to 1000000 (20000)
      --timeout-ms N        The sched_ext watchdog, 1 to 30000 (the kernel's 30000)
      --partial             Take only tasks that ask for it: those under SCHED_EXT
      --can-load            Only say whether the scheduler was built in: 0 if so, else 77
  -h, --help                This text

Faults of the scheduler:
      --stall-after MS      From then on, programs are never run
      --wrong-cpu           Send tasks to CPUs that they may not use
      --crowd               Send all tasks to the first CPU that each may use
      --idle-cpu N          Leave CPU N, 0 to 8191, idle while tasks wait that may use it
      --error-after N       Report an error after N insertions into queues
      --burn-us N           Spend N microseconds of each enqueue, 1 to 1000000
      --burn-cgroup NAME    Do so for tasks of cgroups of this name alone
      --starve CGROUP-NAME  Run tasks of cgroups of this name once in 4 s, for 50 ms
      --pin CGROUP-NAME     Keep tasks of cgroups of this name where they first were queued
      --ignore-weights      Give every task the same share
      --refuse-after N      Have no room for tasks beyond N
      --fail-verify         Load a program that the kernel rejects
      --verifier-loop       Load a program that takes the kernel long to verify; with
                            --fail-verify, the kernel rejects this one, at its end

Faults of this program:
      --exit-early CODE     Exit with CODE, 0 to 255, between loading and attaching
      --never-attach        Load, and wait
      --ignore-sigterm      Do not stop when told to by SIGTERM
      --fork                Leave a child behind that only SIGKILL ends, or ten minutes
      --flood-mib N         Print N MiB after attaching, 1 to 4096
";

/// What the program was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Print the usage.
    Help,
    /// Say whether there is a scheduler to load.
    CanLoad,
    /// Be the child of `--fork`.
    Linger,
    /// Be the scheduler.
    Run(Options),
}

/// How to be the scheduler, and what to do wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) slice: Duration,
    /// `None` leaves it to the kernel.
    pub(crate) timeout: Option<Duration>,
    pub(crate) partial: bool,
    pub(crate) stall_after: Option<Duration>,
    pub(crate) wrong_cpu: bool,
    pub(crate) crowd: bool,
    pub(crate) idle_cpu: Option<u32>,
    pub(crate) error_after: Option<u64>,
    pub(crate) burn: Duration,
    /// Whose enqueues take so long; `None` is all.
    pub(crate) burn_cgroup: Option<String>,
    pub(crate) starve: Option<String>,
    pub(crate) pin: Option<String>,
    pub(crate) ignore_weights: bool,
    pub(crate) refuse_after: Option<u64>,
    pub(crate) fail_verify: bool,
    pub(crate) verifier_loop: bool,
    pub(crate) exit_early: Option<u8>,
    pub(crate) never_attach: bool,
    pub(crate) ignore_sigterm: bool,
    pub(crate) fork: bool,
    pub(crate) flood_mib: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slice: Duration::from_millis(20),
            timeout: None,
            partial: false,
            stall_after: None,
            wrong_cpu: false,
            crowd: false,
            idle_cpu: None,
            error_after: None,
            burn: Duration::ZERO,
            burn_cgroup: None,
            starve: None,
            pin: None,
            ignore_weights: false,
            refuse_after: None,
            fail_verify: false,
            verifier_loop: false,
            exit_early: None,
            never_attach: false,
            ignore_sigterm: false,
            fork: false,
            flood_mib: 0,
        }
    }
}

/// A command line that was not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// An unknown word, a value too few or too many.
    #[error("{0}; see --help")]
    Word(#[from] lexopt::Error),
    /// No number, or out of bounds.
    #[error("--{option} {value:?}: not a number from {least} to {most}")]
    Number {
        option: &'static str,
        value: String,
        least: u64,
        most: u64,
    },
    /// No name that a cgroup can have.
    #[error(
        "--{option} {name:?}: not the name of a cgroup; give 1 to {MAX_CGROUP_NAME} bytes without `/`"
    )]
    Cgroup { option: &'static str, name: String },
}

/// What the BPF side compares.
pub(crate) const MAX_CGROUP_NAME: usize = 63;

impl Request {
    /// Reads the arguments after the program's name; of an option that is repeated, the last counts.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Options::default();
        let mut request = None;
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Help),
                Arg::Long("can-load") => request = Some(Self::CanLoad),
                // Not in the usage: how --fork starts its child.
                Arg::Long("linger") => request = Some(Self::Linger),
                Arg::Long("slice-us") => {
                    options.slice =
                        Duration::from_micros(number(&mut parser, "slice-us", 100, 1_000_000)?);
                }
                Arg::Long("timeout-ms") => {
                    let timeout = number(&mut parser, "timeout-ms", 1, 30_000)?;
                    options.timeout = Some(Duration::from_millis(timeout));
                }
                Arg::Long("partial") => options.partial = true,
                Arg::Long("stall-after") => {
                    let after = number(&mut parser, "stall-after", 0, 3_600_000)?;
                    options.stall_after = Some(Duration::from_millis(after));
                }
                Arg::Long("wrong-cpu") => options.wrong_cpu = true,
                Arg::Long("crowd") => options.crowd = true,
                Arg::Long("idle-cpu") => {
                    options.idle_cpu = Some(number(&mut parser, "idle-cpu", 0, 8191)? as u32);
                }
                Arg::Long("error-after") => {
                    options.error_after = Some(number(&mut parser, "error-after", 1, u64::MAX)?);
                }
                Arg::Long("burn-us") => {
                    options.burn =
                        Duration::from_micros(number(&mut parser, "burn-us", 1, 1_000_000)?);
                }
                Arg::Long("burn-cgroup") => {
                    options.burn_cgroup = Some(cgroup_name(&mut parser, "burn-cgroup")?);
                }
                Arg::Long("starve") => options.starve = Some(cgroup_name(&mut parser, "starve")?),
                Arg::Long("pin") => options.pin = Some(cgroup_name(&mut parser, "pin")?),
                Arg::Long("ignore-weights") => options.ignore_weights = true,
                Arg::Long("refuse-after") => {
                    options.refuse_after = Some(number(&mut parser, "refuse-after", 1, u64::MAX)?);
                }
                Arg::Long("fail-verify") => options.fail_verify = true,
                Arg::Long("verifier-loop") => options.verifier_loop = true,
                Arg::Long("exit-early") => {
                    let code = number(&mut parser, "exit-early", 0, u8::MAX.into())?;
                    options.exit_early = Some(code as u8);
                }
                Arg::Long("never-attach") => options.never_attach = true,
                Arg::Long("ignore-sigterm") => options.ignore_sigterm = true,
                Arg::Long("fork") => options.fork = true,
                Arg::Long("flood-mib") => {
                    options.flood_mib = number(&mut parser, "flood-mib", 1, 4096)?;
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(request.unwrap_or(Self::Run(options)))
    }
}

fn number(
    parser: &mut Parser,
    option: &'static str,
    least: u64,
    most: u64,
) -> Result<u64, UsageError> {
    let value = parser.value()?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| UsageError::Number {
            option,
            value: value.to_string_lossy().into_owned(),
            least,
            most,
        })
}

fn cgroup_name(parser: &mut Parser, option: &'static str) -> Result<String, UsageError> {
    let name = parser.value()?.string()?;
    if name.is_empty() || name.len() > MAX_CGROUP_NAME || name.contains(['/', '\0']) {
        return Err(UsageError::Cgroup { option, name });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Request, UsageError> {
        Request::parse(line.split_whitespace().map(OsString::from))
    }

    fn complaint(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_is_a_scheduler_without_faults() {
        assert_eq!(parse("").unwrap(), Request::Run(Options::default()));
        assert_eq!(parse("--can-load").unwrap(), Request::CanLoad);
        assert_eq!(parse("--burn-us 5 -h").unwrap(), Request::Help);
    }

    #[test]
    fn every_option_sets_its_own() {
        let line = "--slice-us 5000 --timeout-ms=2000 --partial --stall-after 300 --wrong-cpu --crowd --idle-cpu 3 \
                    --error-after 10 --burn-us 50 --burn-cgroup hot --starve batch --pin narrow --ignore-weights --refuse-after 9 \
                    --fail-verify --verifier-loop --exit-early 3 --never-attach --ignore-sigterm --fork --flood-mib 8";
        let all = Options {
            slice: Duration::from_millis(5),
            timeout: Some(Duration::from_secs(2)),
            partial: true,
            stall_after: Some(Duration::from_millis(300)),
            wrong_cpu: true,
            crowd: true,
            idle_cpu: Some(3),
            error_after: Some(10),
            burn: Duration::from_micros(50),
            burn_cgroup: Some("hot".to_owned()),
            starve: Some("batch".to_owned()),
            pin: Some("narrow".to_owned()),
            ignore_weights: true,
            refuse_after: Some(9),
            fail_verify: true,
            verifier_loop: true,
            exit_early: Some(3),
            never_attach: true,
            ignore_sigterm: true,
            fork: true,
            flood_mib: 8,
        };
        assert_eq!(parse(line).unwrap(), Request::Run(all));
        for option in line
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
        {
            let (name, _) = option.split_once('=').unwrap_or((option, ""));
            assert!(USAGE.contains(name), "{name} is not in the usage");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            complaint("--slice-us 99"),
            "--slice-us \"99\": not a number from 100 to 1000000"
        );
        assert_eq!(
            complaint("--exit-early 256"),
            "--exit-early \"256\": not a number from 0 to 255"
        );
        assert_eq!(complaint("--timeout-ms -1"), complaint("--timeout-ms=-1"));
        assert!(complaint("--starve a/b").starts_with("--starve \"a/b\": not the name"));
        assert!(complaint("--burn-cgroup /").starts_with("--burn-cgroup \"/\": not the name"));
        let long = format!("--starve {}", "x".repeat(MAX_CGROUP_NAME + 1));
        assert!(complaint(&long).contains("1 to 63 bytes"));
        for bad in ["--stall-after", "--wrong-cpu=1", "--no-such", "word"] {
            assert!(complaint(bad).ends_with("; see --help"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(words in prop::collection::vec("(--)?[a-z=/-]{0,12}|[0-9]{0,22}", 0..6)) {
            let _ = Request::parse(words.into_iter().map(OsString::from));
        }

        #[test]
        fn numbers_keep_to_their_bounds(value: u64) {
            let parsed = parse(&format!("--timeout-ms {value}"));
            prop_assert_eq!(parsed.is_ok(), (1..=30_000).contains(&value));
        }
    }
}
