//! What the benchmarks share: medians, a line per figure, the kernel, a user's project.
//!
//! ```
//! use ktstr_benches::{figure, median, ms, timed};
//!
//! let parse = median(5, || timed(|| assert!("1n2l4c1t".parse::<ktstr_core::Topology>().is_ok())));
//! figure("parsing a topology", &ms(parse), "below 1 ms");
//! ```
//!
//! `cargo bench -p ktstr-benches` (or `make bench`) runs them all. Figures that depend on the machine are
//! stated against something measured in the same run.

pub mod bare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_kernel::Cache;

/// Prints one figure: what was measured, what came out, what is wanted.
pub fn figure(what: &str, value: &str, goal: &str) {
    println!("{what:<58} {value:>12}   goal {goal}");
}

/// Milliseconds with as many digits as matter.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 1.0 {
        format!("{ms:.3} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

/// The middle one of `values`.
///
/// # Panics
/// When there are none.
pub fn middle<T: Ord>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values.swap_remove(values.len() / 2)
}

/// The middle of what `measure` takes, over `count` runs.
pub fn median(count: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    middle((0..count).map(|_| measure()))
}

/// How long `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// The kernel to boot: an image in `KTSTR_KERNEL`, else the newest of the cache.
///
/// # Panics
/// When there is none.
pub fn kernel() -> PathBuf {
    if let Some(image) = std::env::var_os(env::KERNEL).filter(|image| !image.is_empty()) {
        return PathBuf::from(image);
    }
    let root = env::cache_root(&Host::of_this_process()).expect("a cache directory");
    let newest = Cache::new(root).newest().expect("a cache that can be read");
    let entry =
        newest.expect("a cached kernel: run `make kernel` first, or set KTSTR_KERNEL to an image");
    entry.kernel().expect("a whole cache entry").image
}

/// The root of this workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("benches lies in the workspace")
        .to_owned()
}

/// Makes a project in `dir` as a user would: one test file, `ktstr-harness` as the only dependency.
///
/// Its test says `BODY` as the first thing it does.
pub fn make_user_project(dir: &Path) -> std::io::Result<()> {
    let harness = workspace().join("ktstr-harness");
    fs::create_dir_all(dir.join("tests"))?;
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lib]\npath = \"lib.rs\"\n\n\
             [[test]]\nname = \"sched\"\nharness = false\n\n\
             [dev-dependencies]\nktstr-harness = {{ path = {:?} }}\n\n[workspace]\n",
            harness.display()
        ),
    )?;
    // The versions that the workspace was tested with.
    fs::copy(workspace().join("Cargo.lock"), dir.join("Cargo.lock"))?;
    fs::write(dir.join("lib.rs"), "")?;
    fs::write(
        dir.join("tests/sched.rs"),
        "use ktstr_harness::prelude::*;\n\n\
         ktstr_harness::main!();\n\n\
         #[ktstr_test(duration_s = 1)]\n\
         fn first(_: &Ctx) -> Result<AssertResult> {\n    \
             println!(\"BODY\");\n    Ok(AssertResult::pass())\n}\n",
    )
}

/// Cargo, run in `dir` with a target directory of its own below it.
pub fn cargo_in(dir: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"));
    cargo
}
