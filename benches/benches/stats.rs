//! How long it takes to analyse the 10,000 records of a session, and how much memory that needs at most.

use std::fs;
use std::path::Path;

use ktstr_benches::{figure, median, ms, timed};
use ktstr_core::record::{
    CgroupStats, MachineSetup, Moment, Reading, RunDir, RunQueues, RunStore, Sampled, Sidecar,
    Timings,
};
use ktstr_core::{KernelLabel, Preset, Verdict};
use ktstr_driver::stats;

const RECORDS: usize = 10_000;

/// Samples in the timeline of a record, as many as a test of 12 seconds has.
const MOMENTS: usize = 48;

/// A record like those of real runs: 40 tests on 25 machines and 10 kernels, one in 50 of which failed.
fn record(n: usize) -> Sidecar {
    let (test, preset) = (n % 40, Preset::ALL[n / 40 % Preset::ALL.len()]);
    let label = KernelLabel::from_version(&format!("6.12.{}", n / 1000));
    let verdict = match n % 50 {
        0 => Verdict::fail(
            "max_gap_ms",
            format!("{n} > 500 in cgroup left, worker 3 (pid 61), on CPU 5"),
        ),
        _ => Verdict::pass(),
    };
    let noise = (n * 7919 % 1000) as f64 / 1000.0;
    let cgroup = CgroupStats {
        name: "left".to_owned(),
        workers: 8,
        work_type: Some("mixed".to_owned()),
        iterations: 41_209 + n as u64,
        cpu_time_s: 11.93 + noise,
        run_delay_s: Some(2.31 + noise),
        ..CgroupStats::default()
    };
    let moment = |at: usize| Moment {
        at_s: at as f64 * 0.25 + noise,
        runnable: vec![1; 8],
        local_dsq: vec![0; 8],
    };
    let names = [
        "cpu_time_s",
        "iterations_per_second",
        "max_gap_ms",
        "migrations",
        "run_delay_s",
        "work_units_per_second",
    ];
    let case = format!("gauntlet/test_number_{test}/{}/{label}", preset.name);
    Sidecar {
        epoch: "1767225600000000000-7".to_owned(),
        package: Some("user".to_owned()),
        target: Some("sched".to_owned()),
        binary_id: Some("user::sched".to_owned()),
        variant: preset.name.to_owned(),
        topology: Some(preset.topology),
        kernel_version: Some("6.12.1".to_owned()),
        kernel_label: Some(label),
        machine: Some(MachineSetup {
            memory_mib: 512,
            cpu_model: Some("qemu64".to_owned()),
            backend_version: None,
        }),
        backend: Some("qemu".to_owned()),
        performance_mode: Some(false),
        cgroups: vec![
            cgroup.clone(),
            CgroupStats {
                name: "right".to_owned(),
                ..cgroup
            },
        ],
        metrics: names
            .iter()
            .map(|name| ((*name).to_owned(), 100.0 + noise))
            .collect(),
        sampled: Some(Sampled {
            samples: MOMENTS as u64,
            wall_s: 12.0,
            cpu_s: 0.2,
            run_queues: Reading::Read(RunQueues {
                imbalance: Some(1.0 + noise),
                local_dsq: None,
            }),
            events: Reading::Absent("/sys/kernel/sched_ext/root/events: not there".to_owned()),
            timeline: (0..MOMENTS).map(moment).collect(),
        }),
        timings: Timings {
            wait_s: Some(noise),
            boot_s: Some(1.4),
            scenario_s: Some(12.0 + noise),
            teardown_s: Some(0.1),
        },
        started: "2026-01-01T00:00:00Z".to_owned(),
        finished: "2026-01-01T00:00:14Z".to_owned(),
        ..Sidecar::new(&format!("test_number_{test}"), &case, verdict)
    }
}

/// Writes the records; returns their size in bytes.
fn write(dir: &Path) -> u64 {
    let run = dir.join("6.12-abc1234");
    // The first one makes the directory what it is.
    RunDir::new(&run, "1767225600000000000-7")
        .write(&record(0), None::<&()>)
        .expect("a record");
    let mut size = 0;
    for n in 0..RECORDS {
        let record = record(n);
        let json = serde_json::to_vec_pretty(&record).expect("a record");
        size += json.len() as u64;
        fs::write(run.join(record.stem() + Sidecar::SUFFIX), json).expect("a record");
    }
    size
}

/// The most memory that this process had, in MiB.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.expect("the kernel tells the peak") / 1024.0
}

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let size = write(dir.path());
    let store = RunStore::new(dir.path());
    let time = median(9, || {
        timed(|| {
            let analysis = stats::analyze(&store).expect("an analysis");
            let session = analysis.session.expect("a session");
            assert_eq!(session.counts.all(), RECORDS);
        })
    });
    let what = format!(
        "stats over {RECORDS} records of {:.1} KiB",
        size as f64 / RECORDS as f64 / 1024.0
    );
    figure(&what, &ms(time), "1 s");
    figure(
        "the most memory it had",
        &format!("{:.1} MiB", peak_mib()),
        "100 MiB",
    );
}
