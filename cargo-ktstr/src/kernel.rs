//! `kernel list`, `kernel build`, `kernel clean`.

use std::fmt::Write;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ktstr_core::host::{Host, HostCpus, Reservation};
use ktstr_core::{CpuSet, env};
use ktstr_kernel::{
    Cache, CacheEntry, CleanOptions, EntryState, ExtraKconfig, KernelSpec, Metadata, Release,
    Releases, ResolvedKernel,
};
use serde_json::{Value, json};

use crate::cli::{Kernel, KernelBuild, KernelClean, KernelCommand, KernelList};
use crate::doctor::cache;
use crate::failure::{CommandResult, Failure, one_line};
use crate::progress::Reporter;
use crate::remedy::worded;
use crate::resolve::{self, Fetching};
use crate::terminal::{print, say, tilde};

/// How long to wait for host CPUs that tests have alone.
const CPU_WAIT: Duration = Duration::from_secs(900);

pub(crate) fn run(arguments: &Kernel, program: &'static str) -> CommandResult {
    match &arguments.command {
        KernelCommand::List(arguments) => list(arguments, program),
        KernelCommand::Build(arguments) => build(arguments, program),
        KernelCommand::Clean(arguments) => clean(arguments),
    }
}

fn list(arguments: &KernelList, program: &'static str) -> CommandResult {
    if let Some(range) = &arguments.kernel {
        return preview(range, arguments, program);
    }
    let cache = cache()?;
    let entries = cache.list()?;
    // Whatever its age: a list asks nobody.
    let releases = resolve::remote(false)?.cached_releases();
    let releases = releases.as_ref();
    if arguments.json {
        let kernels = entries.iter().map(|entry| entry_json(entry, releases));
        let json = json!({
            "cache": cache.kernels_dir(),
            "kernels": kernels.collect::<Vec<_>>(),
        });
        return print(format!("{json:#}\n").as_bytes());
    }
    let printed = print(table(&cache, &entries, releases, program).as_bytes());
    let mut stale = entries.iter().filter(|entry| entry.is_stale()).peekable();
    if stale.peek().is_some() {
        let extra = if stale.any(has_extra) {
            " (add --extra-kconfig PATH for those that are marked (extra kconfig) too)"
        } else {
            ""
        };
        say(format_args!(
            "warning: (stale kconfig) marks kernels whose configuration is another version of ktstr's. They are built again when asked for by name, or at once: {program} kernel build --force --kernel VERSION{extra}"
        ));
    }
    printed
}

/// Whether the series of a kernel gets no more releases; `None` where that is not known here.
fn is_eol(metadata: &Metadata, releases: Option<&Releases>) -> Option<bool> {
    let Release { major, minor, .. } = Release::of_kernel(&metadata.version)?;
    releases?.is_eol((major, minor))
}

/// The releases that a range stands for.
fn preview(range: &str, arguments: &KernelList, program: &'static str) -> CommandResult {
    let spec = KernelSpec::parse(range, &Host::of_this_process())?;
    if !matches!(spec, KernelSpec::Range { .. }) {
        return Err(Failure::new(format!(
            "`{range}` is not a range; --kernel of `kernel list` takes one, such as 6.12..6.14"
        )));
    }
    let fetching = Fetching {
        include_eol: arguments.include_eol,
        ..Fetching::default()
    };
    let resolver = resolve::resolver(resolve::build_options(None)?, fetching)?;
    let releases = resolver.releases(&spec, &Reporter::new(program))?;
    let versions: Vec<String> = releases.iter().map(ToString::to_string).collect();
    let text = if arguments.json {
        format!("{:#}\n", json!({ "range": range, "versions": versions }))
    } else {
        versions
            .iter()
            .fold(String::new(), |text, version| text + version + "\n")
    };
    print(text.as_bytes())
}

fn has_extra(entry: &CacheEntry) -> bool {
    let metadata = entry.metadata();
    metadata.is_some_and(|metadata| metadata.extra_kconfig.is_some())
}

fn table(
    cache: &Cache,
    entries: &[CacheEntry],
    releases: Option<&Releases>,
    program: &str,
) -> String {
    let mut text = format!("cache: {}\n", tilde(&cache.kernels_dir()));
    if entries.is_empty() {
        let _ = writeln!(
            text,
            "  no kernels yet; build one: {program} kernel build --kernel ../linux"
        );
        return text;
    }
    let longest = entries.iter().map(|entry| entry.key.as_str().len()).max();
    let width = longest.unwrap_or(0).max(48);
    let mut line = |key: &str, version: &str, source: &str, arch: &str, built: &str| {
        let line = format!("  {key:<width$} {version:<12} {source:<8} {arch:<7} {built}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line("KEY", "VERSION", "SOURCE", "ARCH", "BUILT");
    for entry in entries {
        match &entry.state {
            EntryState::Valid(metadata) => {
                let mut built = metadata.built.clone();
                for (is_marked, mark) in [
                    (entry.is_stale(), " (stale kconfig)"),
                    (has_extra(entry), " (extra kconfig)"),
                    (is_eol(metadata, releases) == Some(true), " (EOL)"),
                ] {
                    built.push_str(if is_marked { mark } else { "" });
                }
                let kind = metadata.source.kind();
                line(
                    entry.key.as_str(),
                    &metadata.version,
                    kind,
                    &metadata.arch,
                    &built,
                );
            }
            EntryState::Corrupt(why) => {
                let why = format!("(corrupt: {why})");
                line(entry.key.as_str(), "-", "-", "-", &why);
            }
            EntryState::OtherVersion(why) => {
                let why = format!("(from another ktstr version: {why})");
                line(entry.key.as_str(), "-", "-", "-", &why);
            }
        }
    }
    text
}

fn entry_json(entry: &CacheEntry, releases: Option<&Releases>) -> Value {
    let common = json!({ "key": entry.key, "dir": entry.dir, "stale": entry.is_stale() });
    let state = match &entry.state {
        EntryState::Valid(metadata) => json!({
            "state": "valid",
            "version": metadata.version,
            "eol": is_eol(metadata, releases),
            "source": metadata.source,
            "arch": metadata.arch,
            "built": metadata.built,
            "build_seconds": metadata.build_seconds,
            "config_origin": metadata.config_origin,
            "kconfig_hash": metadata.kconfig_hash,
            "extra_kconfig": metadata.extra_kconfig,
            "toolchain": metadata.toolchain,
            "image": entry.dir.join(&metadata.image.name),
            "vmlinux": entry.dir.join(&metadata.vmlinux.name),
            "config": entry.dir.join(&metadata.config.name),
        }),
        EntryState::Corrupt(why) => json!({ "state": "corrupt", "why": why }),
        EntryState::OtherVersion(why) => json!({ "state": "other_version", "why": why }),
    };
    let (Value::Object(mut all), Value::Object(state)) = (common, state) else {
        return Value::Null;
    };
    all.extend(state);
    Value::Object(all)
}

fn build(arguments: &KernelBuild, program: &'static str) -> CommandResult {
    let mut options = resolve::build_options(arguments.base_config)?;
    let extra = arguments.extra_kconfig.as_deref();
    options.extra_kconfig = extra.map(ExtraKconfig::read).transpose()?;
    if let Some(extra) = options.extra_kconfig.as_ref().filter(|it| it.is_empty()) {
        say(format_args!(
            "{program}: extra kconfig {} sets no option: the kernel is the one without it",
            extra.path().display()
        ));
    }
    options.force = arguments.force;
    options.clean = arguments.clean;
    // Held until all is built.
    let _cpus = match arguments.cpu_cap {
        Some(cap) => {
            options.jobs = cap as usize;
            let (cpus, reservation) = reserve(cap as usize)?;
            options.cpus = Some(cpus);
            Some(reservation)
        }
        None => None,
    };
    let fetching = Fetching {
        include_eol: arguments.include_eol,
        skip_sha256: arguments.skip_sha256,
    };
    let resolver = resolve::resolver(options, fetching)?;
    let reporter = Reporter::new(program);
    let mut printed = Ok(ExitCode::SUCCESS);
    let done = |kernel: &ResolvedKernel| {
        let result = print(kernel_text(kernel).as_bytes());
        if result.is_err() {
            printed = result;
        }
    };
    resolve::all(&arguments.kernel, &resolver, &reporter, done)?;
    printed
}

/// Shares `cap` host CPUs with whoever shares them too.
fn reserve(cap: usize) -> Result<(CpuSet, Reservation), Failure> {
    let host = HostCpus::read(Path::new("/"))?;
    let allowed = host.allowed.len();
    if cap > allowed {
        return Err(Failure::new(format!(
            "--cpu-cap asks for {cap} host CPUs and this process may use {allowed}; give fewer, see taskset -p"
        )));
    }
    let lock_dir = env::lock_dir(&Host::of_this_process());
    let start = std::process::id() as usize;
    Ok(Reservation::shared(&lock_dir, &host, cap, start, CPU_WAIT)?)
}

fn kernel_text(kernel: &ResolvedKernel) -> String {
    let key = match &kernel.cache_key {
        Some(key) => key.to_string(),
        None if kernel.dirty => {
            "none: not cached, as its sources are not a clean git commit".to_owned()
        }
        // Whatever is built has a configuration.
        None if kernel.config.is_none() => "none: an image is used as it is".to_owned(),
        None => "none: not cached".to_owned(),
    };
    format!("key:   {key}\nimage: {}\n", kernel.image.display())
}

fn clean(arguments: &KernelClean) -> CommandResult {
    let cache = cache()?;
    let plan = cache.plan_clean(&CleanOptions {
        keep: arguments.keep,
        corrupt_only: arguments.corrupt_only,
    })?;
    let mut text = format!("cache: {}\n", tilde(&cache.kernels_dir()));
    if plan.is_empty() {
        text.push_str("  nothing to remove\n");
        return print(text.as_bytes());
    }
    for entry in &plan.entries {
        let _ = match &entry.state {
            EntryState::Valid(_) | EntryState::OtherVersion(_) => {
                writeln!(text, "  {}", entry.key)
            }
            EntryState::Corrupt(why) => writeln!(text, "  {} (corrupt: {why})", entry.key),
        };
    }
    for build in &plan.builds {
        let _ = writeln!(text, "  {} (what a source tree is built in)", tilde(build));
    }
    print(text.as_bytes())?;
    // What is broken has no size that is written down.
    let size = Some(plan.size() >> 20).filter(|mib| *mib > 0);
    let size = size.map_or(String::new(), |mib| format!(" ({mib} MiB)"));
    let what = format!("{}{size}", counts(plan.entries.len(), plan.builds.len()));
    if !arguments.force && !confirmed(&what)? {
        say("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    let cleaned = cache.clean(&plan);
    for build in &cleaned.in_use {
        say(format_args!("{}: in use; it stays", tilde(build)));
    }
    let removed = counts(cleaned.entries.len(), cleaned.builds.len());
    let printed = print(format!("removed {removed}\n").as_bytes());
    let mut failure = Failure::default();
    for error in &cleaned.errors {
        failure.add(one_line(worded(error)));
    }
    failure.into_result(())?;
    printed
}

fn counts(kernels: usize, builds: usize) -> String {
    let kernels = count(kernels);
    match builds {
        0 => kernels,
        1 => format!("{kernels} and 1 build directory"),
        _ => format!("{kernels} and {builds} build directories"),
    }
}

fn count(kernels: usize) -> String {
    format!(
        "{kernels} {}",
        if kernels == 1 { "kernel" } else { "kernels" }
    )
}

/// Asks at the terminal; without one, that is an error.
fn confirmed(what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::new(format!(
            "kernel clean would remove {what}, and there is no terminal to ask at; add --force"
        )));
    }
    say(format_args!("Remove {what}? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
