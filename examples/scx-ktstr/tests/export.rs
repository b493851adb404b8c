//! Exported tests on what stands for bare metal: a machine with a shell, in which `rig.sh` starts them one by one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ktstr_core::Topology;
use ktstr_core::host::{Commit, Host};
use ktstr_driver::{ExportError, TestMachine};
use ktstr_harness::Checks;
use ktstr_harness::protocol::{Ending, GuestRequest, RunSpec};
use ktstr_harness::runner::{MachinePlan, RunEvent, Runner, Settings};
use ktstr_vmm::CancelToken;
use ktstr_vmm::initramfs::{Initramfs, Pack};

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;

/// Programs of the machine: what scripts of exported tests need, and what `rig.sh` does with them.
const PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "gzip",
    "mkfifo",
    "mktemp",
    "rm",
    "rmdir",
    "sha256sum",
    "sleep",
    "stat",
    "tail",
    "tar",
    "uname",
    "cp",
    "dd",
    "env",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mount",
    "setpriv",
    "setsid",
    "umount",
];

const EXPORTED: &[&str] = &[
    "passes",
    "fails",
    "is_inconclusive",
    "passes_under_it",
    "fails_under_it",
    "takes_long",
    "is_too_wide",
];

/// The case of the test `name`, as its binary tells it.
fn found(name: &str) -> TestMachine {
    let binary = case::example("exported");
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&binary)
        .args(["--machines", "--include-ignored", "--exact", name])
        .current_dir(&dir)
        .env_remove("KTSTR_KERNEL_LIST")
        .env_remove("KTSTR_SESSION")
        .output()
        .unwrap();
    let machine = serde_json::from_slice(&output.stdout).unwrap();
    TestMachine {
        binary,
        dir,
        machine,
    }
}

/// Exports `name` to `dir`.
fn export(name: &str, dir: &Path) -> Result<PathBuf, ExportError> {
    let mut found = found(name);
    // Without debug information, which is most of it: the machine, emulated at worst, unpacks it many times.
    let stripped = dir.join("exported");
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, &found.binary])
        .status();
    if status.is_ok_and(|status| status.success()) {
        found.binary = stripped;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_scx-ktstr"));
    let program = found.machine.scheduler.as_ref().map(|_| program);
    let commit = Commit::parse("abc1234");
    let output = dir.join(format!("{name}.run"));
    let cancel = CancelToken::new().unwrap();
    let exported = found.export(program, &[], commit.as_ref(), &output, &cancel)?;
    assert_eq!(
        (exported.case, exported.include_files),
        (
            format!("ktstr/{name}"),
            usize::from(name.starts_with("passes"))
        )
    );
    let size = fs::metadata(&output).unwrap().len();
    assert!((1..size).contains(&exported.archive_bytes));
    Ok(output)
}

/// The last line that `rig.sh` prints.
const END: &str = "@@@ end";

/// What `rig.sh` printed of one case.
#[derive(Debug, Default)]
struct Tried {
    said: String,
    code: i32,
    left: Vec<String>,
}

fn parse(text: &str) -> BTreeMap<String, Tried> {
    let mut all: BTreeMap<String, Tried> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().take_while(|line| *line != END) {
        let Some(word) = line.strip_prefix("@@@ ") else {
            if let Some(tried) = all.get_mut(&name) {
                tried.said.push_str(line);
                tried.said.push('\n');
            }
            continue;
        };
        if let Some(code) = word.strip_prefix("exit ") {
            all.get_mut(&name).unwrap().code = code.parse().unwrap();
        } else if let Some(left) = word.strip_prefix("left: ") {
            all.get_mut(&name).unwrap().left.push(left.to_owned());
        } else {
            word.clone_into(&mut name);
            all.insert(name.clone(), Tried::default());
        }
    }
    all
}

/// What came of each case in the machine; `None` where the scheduler was left out of the build.
fn in_a_machine() -> Option<BTreeMap<String, Tried>> {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return None;
    }
    case::kernel()?;
    let dir = tempfile::tempdir().unwrap();
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig.sh")];
    files.extend(
        EXPORTED
            .iter()
            .map(|name| export(name, dir.path()).unwrap()),
    );
    let mut root = Initramfs::builder()
        .directory("/mnt", 0o755)
        .directory("/media", 0o755)
        .executable(
            env!("CARGO_BIN_EXE_scx-ktstr"),
            "/bin/scx-ktstr",
            Pack::Whole,
        );
    for name in PROGRAMS {
        let program = case::program_in_path(name).unwrap_or_else(|| panic!("no {name}"));
        root = root.executable(program, Path::new("/bin").join(name), Pack::Whole);
    }
    let topology = Topology::constant(1, 2, 2, 1);
    let plan = MachinePlan {
        memory_mib: 2048,
        include_files: files,
        root,
        ..MachinePlan::new(topology)
    };
    let request = GuestRequest::Run(Box::new(RunSpec {
        test: "rig".to_owned(),
        topology,
        duration: Duration::from_secs(1),
        limit: Duration::from_secs(1500),
        checks: Checks::NONE,
        env: Vec::new(),
        scheduler: None,
        probes: None,
        allow_kernel_warnings: Vec::new(),
    }));
    let mut settings = Settings::read(Host::of_this_process()).unwrap();
    settings.binary = case::example("exported");
    let mut said = String::new();
    let mut observer = |event: RunEvent<'_>| {
        if let RunEvent::BodyOutput(text) = event {
            eprint!("{text}");
            said.push_str(text);
        }
    };
    let cancel = CancelToken::new().unwrap();
    let outcome = Runner::new(settings)
        .run(&plan, &request, &mut observer, &cancel)
        .unwrap();
    let report = outcome.body_report().unwrap_or_else(|| {
        panic!("{:?}\n{}\n{said}", outcome.end, outcome.console);
    });
    assert!(
        matches!(&report.ending, Ending::Returned(_)) && said.lines().any(|line| line == END),
        "{:?}\n{said}",
        report.ending
    );
    Some(parse(&said))
}

/// Name, exit code, texts that have to be there.
const EXPECTED: &[(&str, i32, &[&str])] = &[
    (
        "help",
        0,
        &[
            "Test:       passes (ktstr/passes)",
            "Commit:     abc1234",
            "--check",
        ],
    ),
    (
        "usage",
        64,
        &["ktstr: --nonsense: no such option; see --help"],
    ),
    (
        "usage_duration",
        64,
        &["ktstr: --duration 0: give a number of seconds, 1 to 86400"],
    ),
    (
        "check",
        0,
        &[
            "ok      root\n",
            "ok      sched_ext (6.",
            "ok      no other scheduler is attached\n",
            "ok      cgroup2 at /sys/fs/cgroup\n",
            "ok      topology: needed 1 NUMA nodes with 2 last-level caches each, 2 cores per cache",
            "ok      archive (",
        ],
    ),
    (
        "passes",
        0,
        &[
            "the body runs in /sys/fs/cgroup/ktstr-run.",
            "second ran on 2-3",
            "ktstr: pass ktstr/passes (",
        ],
    ),
    ("quiet", 0, &["ktstr: pass ktstr/passes ("]),
    (
        "passes_under_it",
        0,
        &[
            "watchdog_timeout_s: no kernel lets it be set from outside",
            "ktstr: pass ktstr/passes_under_it (",
        ],
    ),
    (
        "fails",
        1,
        &[
            "ktstr_test 'fails' [sched=eevdf] [topo=1n1l1c1t] failed:\n  panic: on purpose at",
            "ktstr: fail ktstr/fails (",
        ],
    ),
    (
        "fails_quietly",
        1,
        &["ktstr: fail ktstr/fails (", "on purpose"],
    ),
    (
        "inconclusive",
        2,
        &[
            "was inconclusive:",
            "ktstr: inconclusive ktstr/is_inconclusive (",
        ],
    ),
    (
        "fails_under_it",
        1,
        &[
            "BUG SUMMARY: SCX_EXIT_ERROR_BPF",
            "--- scheduler log ---",
            "--- sched_ext dump ---",
            "--- kernel log ---",
        ],
    ),
    (
        "too_wide",
        7,
        &[
            "ktstr: topology: needed 1 NUMA nodes with 8 last-level caches each, 1 cores per cache",
            "found 1 NUMA nodes, 2 last-level caches",
        ],
    ),
    ("cut", 9, &["ktstr: this file is damaged: it has "]),
    (
        "flipped",
        9,
        &["ktstr: this file is damaged: the checksum of its archive is wrong; copy it again"],
    ),
    (
        "full",
        10,
        &[
            "ktstr: /mnt/small: the test could not be unpacked, which takes ",
            "set TMPDIR",
        ],
    ),
    (
        "noexec",
        8,
        &["ktstr: the test binary does not run here", "set TMPDIR"],
    ),
    ("nowhere", 10, &["ktstr: /mnt/none is no directory"]),
    ("no_root", 3, &["ktstr: not root; run it with sudo"]),
    (
        "no_root_check",
        3,
        &["FAILED  not root; run it with sudo\n", "ok      cgroup2"],
    ),
    (
        "attached",
        6,
        &["ktstr: another scheduler is attached: ktstr (sched_ext is enabled); stop it first"],
    ),
    (
        "no_sched_ext",
        4,
        &["ktstr: no sched_ext in this kernel (6."],
    ),
    (
        "no_cgroup2",
        5,
        &["ktstr: no cgroup2 at /sys/fs/cgroup (tmpfs is there)"],
    ),
    ("piped", 8, &["ktstr: this script has to be a file"]),
    (
        "sigint",
        130,
        &[
            "enabled before",
            "ktstr: interrupted by SIGINT; nothing of the run is left",
        ],
    ),
    (
        "sigterm",
        143,
        &["enabled before", "ktstr: interrupted by SIGTERM"],
    ),
    (
        "script_killed",
        137,
        &["enabled before", "ktstr: interrupted by SIGTERM"],
    ),
    ("runner_killed", 137, &["enabled before"]),
    (
        "scheduler_killed",
        1,
        &[
            "enabled before",
            "it was gone before the test ended: its program was killed by signal 9",
        ],
    ),
];

#[test]
#[ignore = "one machine for some ten minutes: make test-export"]
fn every_way_out_of_an_exported_test_leaves_nothing_behind() {
    let Some(mut all) = in_a_machine() else {
        return;
    };
    let mut wrong = Vec::new();
    for (name, code, texts) in EXPECTED {
        let tried = all.remove(*name).unwrap_or_default();
        let missing: Vec<_> = texts
            .iter()
            .filter(|text| !tried.said.contains(**text))
            .collect();
        if tried.code != *code || !missing.is_empty() || !tried.left.is_empty() {
            wrong.push(format!(
                "{name}: exit {} instead of {code}, missing {missing:?}, left {:?}:\n{}",
                tried.code, tried.left, tried.said
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn what_no_other_machine_can_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = export("runs_on_the_host", dir.path()).unwrap_err();
    assert!(matches!(error, ExportError::HostOnly { .. }), "{error}");
    assert!(!dir.path().join("runs_on_the_host.run").exists());
    let error = export("writes_into_maps", dir.path()).unwrap_err();
    assert!(matches!(error, ExportError::MapWrites { .. }), "{error}");
    assert!(error.to_string().contains("(`bpf_map_write`)"), "{error}");
    assert!(!dir.path().join("writes_into_maps.run").exists());
}
