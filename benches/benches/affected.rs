//! How long it takes to tell what a change affects, in a workspace of 60 packages and 40 schedulers that was built once.
//! What asks the test binaries for their schedulers is left out: it builds them first.

#[path = "../../ktstr-harness/driver/tests/support/monorepo.rs"]
#[allow(dead_code, reason = "the tests of affected use all of it")]
mod monorepo;

use std::process::Command;

use ktstr_benches::{figure, median, ms, timed};
use ktstr_core::host::Host;
use ktstr_driver::affected::Impact;
use ktstr_driver::baseline::BaselineRequest;

use monorepo::Monorepo;

/// Runs of each.
const ROUNDS: usize = 21;

fn main() {
    let repo = Monorepo::new();
    let binaries = repo.binaries();
    let host = Host::of_this_process();
    let request = BaselineRequest {
        base: Some("main".to_owned()),
        ..BaselineRequest::default()
    };
    let examine = || Impact::examine(&host, repo.root(), &request, &["--offline".into()]);
    let metadata = median(ROUNDS, || {
        timed(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args([
                "metadata",
                "--offline",
                "--all-features",
                "--format-version",
                "1",
            ]);
            let output = command.current_dir(repo.root()).output();
            assert!(output.expect("cargo runs").status.success());
        })
    });
    figure("cargo metadata of 60 packages", &ms(metadata), "-");
    let unchanged = median(ROUNDS, || timed(|| assert!(examine().is_nothing())));
    figure(
        "affected: 60 packages, nothing changed",
        &ms(unchanged),
        "1 s",
    );
    repo.change("include/pair.bpf.h");
    let header = median(ROUNDS, || {
        timed(|| assert_eq!(examine().select(&binaries).schedulers.len(), 2))
    });
    figure("affected: a header that two include", &ms(header), "1 s");
    for n in 0..monorepo::SCHEDULERS {
        repo.change(&format!("scheds/{}/src/main.rs", monorepo::sched(n)));
        repo.change(&format!("scheds/{}/src/bpf/main.bpf.h", monorepo::sched(n)));
    }
    let all = median(ROUNDS, || {
        timed(|| assert_eq!(examine().select(&binaries).schedulers.len(), 40))
    });
    figure("affected: 81 files of all schedulers", &ms(all), "1 s");
}
