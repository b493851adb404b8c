//! What a program of somebody else's does with ktstr: it looks at the host, resolves kernels, runs a session, and reads
//! records back, each with plain values. `DIR` has a project, programs and kernel images that stand in for real ones.

use std::env::{args_os, join_paths};
use std::error::Error;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use ktstr_driver::doctor::{Request, examine};
use ktstr_driver::{
    KernelChoice, LocksReport, RunSummary, Session, SessionError, SessionEvent, lock_places,
    replay_args,
};
use ktstr_harness::runner::FailureArtifacts;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Event, KernelSpec, Progress, ResolvedKernel, Resolver,
};
use ktstr_render::{Style, locks};
use ktstr_vmm::CancelToken;

/// Progress of its own.
struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: Event<'_>) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("name a directory")?;
    let path = join_paths([dir.join("bin"), "/usr/bin".into(), "/bin".into()])?;
    let host = Host {
        root: dir.join("root"),
        path: path.clone(),
        env: [
            ("PATH".into(), path),
            ("KTSTR_CACHE_DIR".into(), dir.join("cache").into()),
            ("KTSTR_LOCK_DIR".into(), dir.join("locks").into()),
            ("KTSTR_RUN_EPOCH".into(), "embedded".into()),
        ]
        .into(),
        dir: dir.clone(),
    };
    let cache = Cache::new(dir.join("cache"));
    let project = dir.join("project");

    let report = examine(&Request {
        host: &host,
        cache: &cache,
        dir: &project,
        is_root: false,
    });
    let nextest = report
        .checks
        .iter()
        .find(|check| check.name == "cargo-nextest");
    println!("doctor: {}", nextest.map_or("?", |check| &check.detail));

    let kernels = kernels(&host, &cache, &dir)?;
    run(&host, &project, kernels)?;
    records(&project)?;

    let places = lock_places(&host, &project);
    // The locks that this kernel knows of.
    let host = Host {
        root: "/".into(),
        ..host
    };
    let report = LocksReport::read(&places, &host)?;
    let style = Style::new("embedder", None, Some(dir));
    print!("{}", locks::text(&report, &style));
    Ok(())
}

fn kernels(host: &Host, cache: &Cache, dir: &Path) -> Result<Vec<ResolvedKernel>, Box<dyn Error>> {
    let spec = |name: &str| {
        let id = dir.join(name).display().to_string();
        KernelSpec::parse(&id, host)
    };
    let options = BuildOptions {
        base_config: BaseConfig::Lean,
        ..BuildOptions::from_env(host)?
    };
    let resolver = Resolver::new(cache.clone(), options);
    let mut ready =
        |_: &KernelSpec, kernel: &ResolvedKernel| println!("kernel: {}", kernel.version);
    Ok(resolver.resolve_all(
        &[spec("bzImage-a")?, spec("bzImage-b")?],
        &Quiet,
        &mut ready,
    )?)
}

fn run(host: &Host, project: &Path, kernels: Vec<ResolvedKernel>) -> Result<(), SessionError> {
    let watch = |event: SessionEvent<'_>| match event {
        SessionEvent::NextestStarted { .. } => println!("session: started"),
        SessionEvent::NextestOutput { line, .. } => {
            println!("session: {}", String::from_utf8_lossy(line));
        }
        SessionEvent::NextestEnded { status } => println!("session: {status}"),
        _ => {}
    };
    let Ok(cancel) = CancelToken::new() else {
        panic!("no descriptor is left");
    };
    let report = Session::new(host.clone(), project)
        .kernels(kernels)
        .nextest_args(["-E", "test(x)"])
        .prepare(KernelChoice::Given, &watch)?
        .run(&watch, &cancel)?;
    println!(
        "session: exit code {}, {}",
        report.exit_code,
        report.tally()
    );
    Ok(())
}

fn records(project: &Path) -> Result<(), Box<dyn Error>> {
    let run = RunSummary::latest(&project.join("target/ktstr/r")).ok_or("no records")?;
    for record in run.failures() {
        let evidence = FailureArtifacts::of(record)?.unwrap_or_default();
        let args = replay_args(&record.sidecar, &[]);
        println!(
            "failure: {}: {} ({})",
            record.sidecar.case,
            evidence.kernel_log,
            args.join(" ".as_ref()).display()
        );
    }
    Ok(())
}
