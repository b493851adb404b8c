//! Which schedulers a test binary declares and tests: it prints them as JSON for `--schedulers`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::payload::PayloadSource;
use crate::relocation::Relocation;
use crate::scheduler::{Scheduler, SchedulerSource};

/// A scheduler, as one test binary knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerUse {
    /// Name of the scheduler; `eevdf` is the kernel's own.
    pub scheduler: String,
    /// The cargo package that it is built from.
    pub package: Option<String>,
    /// Its program, where that is not built from a package.
    pub program: Option<PathBuf>,
    /// The file that its program is started with.
    pub config_file: Option<PathBuf>,
    /// Directory of the package that declares it; `None` for the kernel's own.
    pub manifest_dir: Option<PathBuf>,
    /// The test functions that run under it, in order.
    pub tests: Vec<String>,
    /// The cargo packages of programs that these tests run, each with the tests that do, in order.
    #[serde(default)]
    pub programs: BTreeMap<String, Vec<String>>,
}

/// The schedulers among `declared`, and those of `jobs`, each once, with the tests among `jobs`.
pub(super) fn uses(
    declared: &[&'static Scheduler],
    jobs: &[&Job],
    relocation: &Relocation,
) -> Vec<SchedulerUse> {
    // Two declarations of one name are two schedulers.
    let mut uses: BTreeMap<(&str, &str), SchedulerUse> = BTreeMap::new();
    let key = |scheduler: &Scheduler| (scheduler.name, scheduler.manifest_dir);
    for scheduler in declared {
        uses.entry(key(scheduler))
            .or_insert_with(|| of(scheduler, relocation));
    }
    for job in jobs {
        if let Job::Test(case) = job {
            let scheduler = case.test.scheduler;
            let entry = uses
                .entry(key(scheduler))
                .or_insert_with(|| of(scheduler, relocation));
            entry.tests.push(case.test.name.to_owned());
            for program in case.test.programs() {
                if let PayloadSource::Package(package) = program.source {
                    let tests = entry.programs.entry(package.to_owned()).or_default();
                    tests.push(case.test.name.to_owned());
                }
            }
        }
    }
    let mut uses: Vec<SchedulerUse> = uses.into_values().collect();
    for scheduler in &mut uses {
        // A test has many cases.
        for tests in scheduler
            .programs
            .values_mut()
            .chain([&mut scheduler.tests])
        {
            tests.sort();
            tests.dedup();
        }
    }
    uses
}

fn of(scheduler: &Scheduler, relocation: &Relocation) -> SchedulerUse {
    let is_declared = !scheduler.manifest_dir.is_empty();
    let dir = is_declared.then(|| relocation.now(scheduler.manifest_dir));
    let below = |path: &str| {
        dir.as_ref()
            .map_or_else(|| path.into(), |dir| dir.join(path))
    };
    let (package, program) = match scheduler.source {
        SchedulerSource::Package(name) => (Some(name.to_owned()), None),
        SchedulerSource::Path(path) => (None, Some(below(path))),
        SchedulerSource::Eevdf | SchedulerSource::KernelBuiltin { .. } => (None, None),
    };
    SchedulerUse {
        scheduler: scheduler.name.to_owned(),
        package,
        program,
        config_file: scheduler.config_file.map(below),
        manifest_dir: dir,
        tests: Vec::new(),
        programs: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Case;
    use crate::test::Location;
    use crate::{AssertResult, Payload, TestCase};

    const MINE: Scheduler = Scheduler {
        name: "mine",
        source: SchedulerSource::Package("scx_mine"),
        config_file: Some("../mine.toml"),
        manifest_dir: "/p/mine",
        ..Scheduler::EEVDF
    };

    const OTHER: Scheduler = Scheduler {
        name: "other",
        source: SchedulerSource::Path("target/other"),
        manifest_dir: "/p/mine",
        ..Scheduler::EEVDF
    };

    const fn test(name: &'static str, scheduler: &'static Scheduler) -> TestCase {
        let location = Location {
            file: "t.rs",
            line: 1,
        };
        TestCase {
            scheduler,
            ..TestCase::new(name, location, |_| Ok(AssertResult::pass()))
        }
    }

    const BENCH: Payload = Payload {
        name: "bench",
        source: PayloadSource::Package("mine_bench"),
        ..Payload::NONE
    };

    static TESTS: [TestCase; 3] = [
        TestCase {
            workloads: &[&BENCH],
            ..test("b", &MINE)
        },
        test("a", &MINE),
        test("plain", &Scheduler::EEVDF),
    ];

    #[test]
    fn each_scheduler_is_told_once_with_its_tests() {
        let jobs: Vec<Job> = TESTS
            .iter()
            .chain(&TESTS)
            .map(|test| Job::Test(Case::base(test, None)))
            .collect();
        let jobs: Vec<&Job> = jobs.iter().collect();
        let told = uses(&[&OTHER, &MINE], &jobs, &Relocation::default());
        let [plain, mine, other] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(
            (plain.scheduler.as_str(), &plain.manifest_dir),
            ("eevdf", &None)
        );
        assert_eq!(plain.tests, ["plain"]);
        assert_eq!(mine.package.as_deref(), Some("scx_mine"));
        assert_eq!(mine.tests, ["a", "b"]);
        let of_program = BTreeMap::from([("mine_bench".to_owned(), vec!["b".to_owned()])]);
        assert_eq!((&mine.programs, plain.programs.len()), (&of_program, 0));
        assert_eq!(mine.config_file, Some("/p/mine/../mine.toml".into()));
        assert_eq!((&other.package, &other.tests), (&None, &vec![]));
        assert_eq!(other.program, Some("/p/mine/target/other".into()));
        let json = serde_json::to_string(mine).unwrap();
        assert_eq!(serde_json::from_str::<SchedulerUse>(&json).unwrap(), *mine);
    }
}
