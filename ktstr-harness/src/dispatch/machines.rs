//! The machines of tests as data: a test binary prints them as JSON for `--machines`.

use std::path::{Path, PathBuf};

use ktstr_core::Topology;
use serde::{Deserialize, Serialize};

use crate::Payload;
use crate::cases::Case;
use crate::protocol::SchedulerSpec;
use crate::relocation::Relocation;
use crate::runner::build::Package;
use crate::runner::{
    MachinePlan, Settings, binary_of_program, include_files, package, package_of_program,
    spec_of_test,
};
use crate::scheduler::{Scheduler, SchedulerSource};

/// The machine of one case, and what its test runs with there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseMachine {
    /// Name of the case, such as `ktstr/steady`.
    pub case: String,
    /// Name of the test function.
    pub test: String,
    /// Shape of the machine; `None` for a test on the host.
    pub topology: Option<Topology>,
    /// Memory in MiB, a lower bound: a machine has what its topology and its initramfs need.
    pub memory_mib: u32,
    /// Arguments of the kernel, those of the scheduler among them.
    pub kernel_args: Vec<String>,
    /// Absolute paths of the host files that the guest finds below `/include-files/`: its own, and those of its programs.
    pub include_files: Vec<PathBuf>,
    /// The programs that the guest finds below `/programs/`.
    pub programs: Vec<CaseProgram>,
    /// Whether it writes into the maps of its scheduler.
    pub writes_maps: bool,
    /// How long the scenario runs, in seconds.
    pub duration_s: u32,
    /// Time after which sched_ext ejects a scheduler that leaves a task waiting, in seconds, where the test says it.
    pub watchdog_timeout_s: Option<u32>,
    /// The machine gets host CPUs of its own.
    pub performance_mode: bool,
    /// What it runs under; `None` for the kernel's default scheduler.
    pub scheduler: Option<CaseScheduler>,
}

/// The scheduler of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseScheduler {
    /// Its name.
    pub name: String,
    /// Where its program comes from.
    pub program: ProgramSource,
    /// The file of the host that the guest finds at [`Scheduler::CONFIG_FILE`].
    pub config_file: Option<PathBuf>,
    /// How the guest starts and stops it.
    pub spec: SchedulerSpec,
}

/// A program that a case runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseProgram {
    /// Its name there.
    pub name: String,
    /// Where it comes from.
    pub program: ProgramSource,
}

/// Where the program of a scheduler or of a test comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramSource {
    /// A cargo package, which has to be built.
    Package(Package),
    /// A program of the host.
    Path(PathBuf),
    /// It has none: it is part of the kernel.
    Kernel,
}

/// The machine of `case`.
pub(super) fn of(case: &Case, settings: &Settings) -> CaseMachine {
    let test = case.test;
    let plan = MachinePlan::of_case(case);
    let kernel_args = plan.map_or_else(Vec::new, |plan| plan.kernel_args);
    let files = test.extra_include_files.iter();
    let mut files: Vec<PathBuf> = files.map(|file| settings.dir.join(file)).collect();
    for file in test.programs().flat_map(|it| include_files(it, settings)) {
        // Several programs may need one file.
        if !files.contains(&file) {
            files.push(file);
        }
    }
    CaseMachine {
        case: case.name.to_string(),
        test: test.name.to_owned(),
        topology: case.topology(),
        memory_mib: test.memory_mib,
        kernel_args,
        include_files: files,
        programs: test
            .programs()
            .map(|it| case_program(it, settings))
            .collect(),
        writes_maps: !test.bpf_map_write.is_empty(),
        duration_s: test.duration_s,
        watchdog_timeout_s: test.watchdog_timeout_s,
        performance_mode: test.performance_mode,
        scheduler: spec_of_test(test).map(|spec| CaseScheduler {
            name: test.scheduler.name.to_owned(),
            program: program(test.scheduler, settings),
            config_file: config_file(test.scheduler, &settings.relocation),
            spec,
        }),
    }
}

fn case_program(program: &Payload, settings: &Settings) -> CaseProgram {
    let package = package_of_program(program, settings).map(ProgramSource::Package);
    let source = package.unwrap_or_else(|| {
        let found = binary_of_program(program, settings);
        // By its name alone it will not be found either, and be told as missing.
        ProgramSource::Path(found.unwrap_or_else(|| program.name.into()))
    });
    CaseProgram {
        name: program.name.to_owned(),
        program: source,
    }
}

fn program(scheduler: &Scheduler, settings: &Settings) -> ProgramSource {
    if let Some(package) = package(scheduler, settings) {
        return ProgramSource::Package(package);
    }
    let path = match scheduler.source {
        SchedulerSource::Eevdf | SchedulerSource::KernelBuiltin { .. } => None,
        SchedulerSource::Path(path) => {
            Some(settings.relocation.now(scheduler.manifest_dir).join(path))
        }
        // Somebody gave another program in its place: that is why it is not built.
        SchedulerSource::Package(_) => settings
            .scheduler
            .as_deref()
            .map(|it: &Path| settings.dir.join(it)),
    };
    path.map_or(ProgramSource::Kernel, ProgramSource::Path)
}

fn config_file(scheduler: &Scheduler, relocation: &Relocation) -> Option<PathBuf> {
    let file = scheduler.config_file?;
    Some(relocation.now(scheduler.manifest_dir).join(file))
}

#[cfg(test)]
mod tests {
    use ktstr_core::host::Host;

    use super::*;
    use crate::payload::PayloadSource;
    use crate::protocol::SchedulerStart;
    use crate::test::Location;
    use crate::{AssertResult, TestCase};

    static MINE: Scheduler = Scheduler {
        name: "mine",
        source: SchedulerSource::Package("scx_mine"),
        sched_args: &["--slice", "5"],
        kargs: &["isolcpus=1"],
        config_file: Some("mine.toml"),
        manifest_dir: "/p/mine",
        ..Scheduler::EEVDF
    };

    const PLAIN: TestCase = TestCase::new(
        "t",
        Location {
            file: "t.rs",
            line: 1,
        },
        |_| Ok(AssertResult::pass()),
    );

    const BENCH: Payload = Payload {
        name: "bench",
        source: PayloadSource::Package("mine_bench"),
        include_files: &["c", "/b"],
        manifest_dir: "/p/mine",
        ..Payload::NONE
    };

    const LOAD: Payload = Payload {
        name: "load",
        source: PayloadSource::Binary("./load.sh"),
        ..BENCH
    };

    static TEST: TestCase = TestCase {
        scheduler: &MINE,
        topology: Topology::constant(1, 2, 2, 1),
        memory_mib: 1024,
        kaslr: false,
        watchdog_timeout_s: Some(7),
        extra_sched_args: &["-v"],
        extra_include_files: &["data/a", "/b"],
        payload: Some(&BENCH),
        workloads: &[&LOAD],
        ..PLAIN
    };

    static ON_HOST: TestCase = TestCase {
        host_only: true,
        ..PLAIN
    };

    fn settings() -> Settings {
        Settings::new(Host::default(), "/proc/self/exe", "/p")
    }

    #[test]
    fn everything_that_makes_the_machine_is_told() {
        let told = of(&Case::base(&TEST, None), &settings());
        assert_eq!(
            (told.case.as_str(), told.test.as_str(), told.memory_mib),
            ("ktstr/t", "t", 1024)
        );
        assert_eq!(told.topology, Some(TEST.topology));
        assert_eq!(told.kernel_args, ["isolcpus=1", "nokaslr"]);
        assert_eq!(
            told.include_files,
            [PathBuf::from("/p/data/a"), "/b".into(), "/p/mine/c".into()]
        );
        let [bench, load] = &told.programs[..] else {
            panic!("{told:?}")
        };
        assert!(matches!(&bench.program, ProgramSource::Package(it) if it.name == "mine_bench"));
        let path = ProgramSource::Path("/p/mine/./load.sh".into());
        assert_eq!((load.name.as_str(), &load.program), ("load", &path));
        assert!(!told.writes_maps);
        assert_eq!((told.duration_s, told.watchdog_timeout_s), (12, Some(7)));
        let scheduler = told.scheduler.as_ref().unwrap();
        let ProgramSource::Package(package) = &scheduler.program else {
            panic!("{scheduler:?}")
        };
        assert_eq!(
            (package.name.as_str(), package.dir.as_path()),
            ("scx_mine", Path::new("/p/mine"))
        );
        assert_eq!(scheduler.config_file, Some("/p/mine/mine.toml".into()));
        let args = SchedulerStart::Program(["--slice", "5", "-v"].map(str::to_owned).to_vec());
        assert_eq!(scheduler.spec.start, args);
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<CaseMachine>(&json).unwrap(), told);
    }

    #[test]
    fn a_program_in_place_of_the_package_is_told_and_what_has_none() {
        let settings = Settings {
            scheduler: Some("other".into()),
            ..settings()
        };
        let told = of(&Case::base(&TEST, None), &settings);
        let program = told.scheduler.unwrap().program;
        assert_eq!(program, ProgramSource::Path("/p/other".into()));

        let on_host = of(&Case::base(&ON_HOST, None), &settings);
        assert_eq!((on_host.topology, on_host.scheduler), (None, None));
        let builtin = Scheduler {
            source: SchedulerSource::KernelBuiltin {
                enable: &["true"],
                disable: &[],
            },
            ..MINE
        };
        assert_eq!(super::program(&builtin, &settings), ProgramSource::Kernel);
    }
}
