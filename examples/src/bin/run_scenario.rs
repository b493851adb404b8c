//! Runs one scenario in a machine, without nextest and without the CLI:
//! `cargo run --bin run_scenario -- [KERNEL-IMAGE]`.
//!
//! This is how a harness of one's own embeds ktstr: a test as a value, a run, a verdict with figures.

use std::error::Error;
use std::process::ExitCode;

use ktstr_core::KernelLabel;
use ktstr_core::host::Host;
use ktstr_harness::cases::{Case, NamedKernel};
use ktstr_harness::prelude::*;
use ktstr_harness::registry;
use ktstr_harness::runner::{RunEvent, Runner, Settings};
use ktstr_vmm::CancelToken;

/// Sleepers beside spinners on two LLCs; the run must not leave anybody behind.
#[ktstr_test(llcs = 2, cores = 2, duration_s = 3, max_gap_ms = 2000)]
fn sleepers_beside_spinners(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(
        ctx,
        &[
            CgroupDef::named("sleepers")
                .workers(4)
                .work(WorkType::mixed()),
            CgroupDef::named("spinners").workers(4).work(WorkType::Spin),
        ],
    )
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // In the machine this program is init, and does not come back from here.
    ktstr_harness::dispatch::enter_guest();

    let kernel = std::env::args_os().nth(1).map(|image| {
        let image = std::path::absolute(image)?;
        let label = KernelLabel::from_path(&image, false);
        Ok::<_, std::io::Error>(NamedKernel { label, image })
    });
    let [test] = registry::tests()?[..] else {
        return Err("one test is registered in this binary".into());
    };
    let case = Case::base(test, kernel.transpose()?);
    let mut observer = |event: RunEvent<'_>| match event {
        RunEvent::GuestReady { kernel_release } => println!("the guest runs {kernel_release}"),
        RunEvent::BodyOutput(text) => print!("{text}"),
        _ => {}
    };
    let runner = Runner::new(Settings::read(Host::of_this_process())?);
    let result = runner.run_case(&case, &mut observer, &CancelToken::new()?);

    let sidecar = &result.sidecar;
    println!(
        "{} on {}: {}",
        case.name,
        sidecar.kernel_version.as_deref().unwrap_or("?"),
        sidecar.verdict.outcome()
    );
    for cgroup in &sidecar.cgroups {
        println!(
            "  {:9} {} workers, {} iterations, longest gap {:.1} ms",
            cgroup.name, cgroup.workers, cgroup.iterations, cgroup.max_gap_ms
        );
    }
    for detail in sidecar.verdict.decisive() {
        println!("  {detail}");
    }
    Ok(ExitCode::from(sidecar.verdict.exit_code()))
}
