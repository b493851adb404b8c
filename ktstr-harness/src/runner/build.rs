//! Builds schedulers that are cargo packages, each once in a run: the process that needs it first builds it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ktstr_core::host::files::write_atomic;
use ktstr_core::host::{Host, LockError, LockFile, LockMode};
use ktstr_vmm::CancelToken;
use ktstr_vmm::child::end_with_us;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::cancel;
use super::coverage::Coverage;
use super::result::RunError;

/// How long to wait for another process's build of the same package: longer than any takes.
const WAIT: Duration = Duration::from_secs(3600);

/// Where the results of builds are kept, beside the run directories.
const BUILDS: &str = ".builds";

/// What to do where nothing can be built: the end of an error.
const INSTEAD: &str = "; or set KTSTR_SCHEDULER to a program that is built already";

/// Why there is no program, without what to do instead for a scheduler.
pub(super) fn without_instead(why: &str) -> &str {
    why.strip_suffix(INSTEAD).unwrap_or(why)
}

/// Age at which a result belongs to no run that is still going.
const LEFTOVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A cargo package with a scheduler's program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Name of the package.
    pub name: String,
    /// Cargo profile to build it with.
    pub profile: String,
    /// A directory of the workspace that has it.
    pub dir: PathBuf,
}

/// The results of the builds of one run, shared by its processes.
#[derive(Debug, Clone)]
pub struct Builds {
    /// Where run directories are.
    runs: PathBuf,
    /// Name of the run: a later one builds again.
    run: String,
}

/// The result of a build, as it is stored for other processes.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    run: String,
    package: Package,
    program: Result<PathBuf, String>,
}

/// Watches a build.
pub trait BuildWatch: Sync {
    /// Cargo runs as `child`.
    fn started(&self, child: &Child) {
        let _ = child;
    }

    /// Cargo printed a line.
    fn said(&self, line: &[u8]);

    /// Cargo has closed its output and is about to be waited for.
    fn ended(&self) {}
}

impl Builds {
    /// Of the run called `run`, whose run directories are in `runs`.
    pub fn new(runs: impl Into<PathBuf>, run: impl Into<String>) -> Self {
        let (runs, run) = (runs.into(), run.into());
        Self { runs, run }
    }

    /// The program of `package`, or one line on why there is none. Builds it by the cargo of `host` unless another process
    /// of this run has, or is about to; `failed` gets all that cargo printed where the build failed. With `coverage` the
    /// program is built and kept as that says.
    pub fn program(
        &self,
        package: &Package,
        host: &Host,
        coverage: Option<&Coverage>,
        failed: &mut dyn FnMut(&str),
        cancel: &CancelToken,
    ) -> Result<Result<PathBuf, String>, RunError> {
        self.once(package, cancel, |package| {
            let said = Said::new(cancel);
            let mut args = vec!["--quiet".into()];
            args.extend(coverage.into_iter().flat_map(Coverage::cargo_args));
            let program = build(package, host, &args, &said);
            if let (Some(coverage), Ok(program)) = (coverage, &program)
                && let Err(error) = coverage.add_program(program)
            {
                let place = coverage.schedulers();
                failed(&format!("coverage: {}: {error}\n", place.display()));
            }
            if program.is_err() && !cancel.is_cancelled() {
                failed(&String::from_utf8_lossy(&said.text()));
            }
            program
        })
    }

    /// Like [`Builds::program`], where `build` does it if nobody has.
    fn once(
        &self,
        package: &Package,
        cancel: &CancelToken,
        build: impl FnOnce(&Package) -> Result<PathBuf, String>,
    ) -> Result<Result<PathBuf, String>, RunError> {
        if let Some(program) = self.recall(package) {
            return Ok(program);
        }
        let what = format!("a build of {}", package.name);
        let lock = self.runs.join(".locks").join(file_name(package, ".lock"));
        let lock = cancel::wait_for_lock(cancel, WAIT, &mut || {}, |wait| {
            LockFile::acquire(&lock, LockMode::Exclusive, wait, &what)
        })?;
        let _lock = match lock {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Busy { .. }) => return Ok(Err(error.to_string())),
            // Cargo has locks of its own. Where nothing can be written it will say so better.
            Err(_) => None,
        };
        if let Some(program) = self.recall(package) {
            return Ok(program);
        }
        let program = build(package);
        // What was cancelled here is for others to build.
        cancel::check(cancel)?;
        self.keep(package, program.clone());
        Ok(program)
    }

    /// Stores the result of a build for the other processes of this run.
    pub fn keep(&self, package: &Package, program: Result<PathBuf, String>) {
        let file = self.file(package);
        let done = Done {
            run: self.run.clone(),
            package: package.clone(),
            program,
        };
        // Where it cannot be kept the next process asks cargo again, which then has nothing to build.
        if let (Some(dir), Ok(json)) = (file.parent(), serde_json::to_vec(&done)) {
            let _ = fs::create_dir_all(dir);
            remove(dir, |entry| {
                let age = entry.metadata()?.modified()?.elapsed();
                Ok(age.is_ok_and(|age| age > LEFTOVER))
            });
            let _ = write_atomic(&file, &json);
        }
    }

    /// Removes the results of this run, which is over. Those of runs that did not do so are removed later by age.
    pub fn forget(&self) {
        let end = self.run_suffix();
        remove(&self.runs.join(BUILDS), |entry| {
            Ok(entry.file_name().to_string_lossy().ends_with(&end))
        });
    }

    fn run_suffix(&self) -> String {
        format!("-{}.json", safe(&self.run))
    }

    /// The result of the build of `package` in this run; a program that has been deleted since is built again.
    fn recall(&self, package: &Package) -> Option<Result<PathBuf, String>> {
        let done: Done = serde_json::from_slice(&fs::read(self.file(package)).ok()?).ok()?;
        let is_same = done.run == self.run && done.package == *package;
        let is_there = |program: &PathBuf| program.is_file();
        (is_same && done.program.as_ref().map_or(true, is_there)).then_some(done.program)
    }

    fn file(&self, package: &Package) -> PathBuf {
        let name = file_name(package, &self.run_suffix());
        self.runs.join(BUILDS).join(name)
    }
}

/// Removes the files in `dir` that are `over`.
fn remove(dir: &Path, over: impl Fn(&fs::DirEntry) -> io::Result<bool>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if over(&entry).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Packages of one name and profile share a file: cargo's target directory has but one place for both as well.
fn file_name(package: &Package, suffix: &str) -> String {
    let (name, profile) = (safe(&package.name), safe(&package.profile));
    format!("scheduler-{name}-{profile}{suffix}")
}

fn safe(text: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    text.chars().map(safe).collect()
}

/// The cargo of `host`, as a command is called: `CARGO`, which cargo sets for its subcommands, else the one in `PATH`.
pub fn cargo(host: &Host) -> OsString {
    host.var("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Has the cargo of `host` build `package`, with more arguments, and gives its program, or one line on why there is none.
pub fn build(
    package: &Package,
    host: &Host,
    args: &[OsString],
    watch: &dyn BuildWatch,
) -> Result<PathBuf, String> {
    let Package { name, profile, dir } = package;
    if !dir.join("Cargo.toml").is_file() {
        return Err(format!(
            "the package `{name}` cannot be built, its sources are not at {}{INSTEAD}",
            dir.display()
        ));
    }
    let cargo = cargo(host);
    let mut command = host.command(&cargo);
    command
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(["-p", name, "--profile", profile])
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end_with_us(&mut command, Signal::TERM);
    let does_not_run = |error: io::Error| {
        format!(
            "{}: {error}; install Rust's cargo{INSTEAD}",
            cargo.display()
        )
    };
    let mut child = command.spawn().map_err(does_not_run)?;
    watch.started(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (messages, first_error) = thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.and_then(|stderr| follow(stderr, watch)));
        let mut messages = Vec::new();
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_end(&mut messages);
        }
        (messages, errors.join().ok().flatten())
    });
    watch.ended();
    let status = child.wait().map_err(does_not_run)?;
    if !status.success() {
        let first = first_error.unwrap_or_else(|| format!("it ended with {status}"));
        // Cargo's own errors are of packages and files that are not there; rustc's are of what is.
        let is_of_code =
            first.starts_with("error[") || first.starts_with("error: could not compile");
        let hint = if is_of_code { "" } else { INSTEAD };
        return Err(format!(
            "`cargo build -p {name} --profile {profile}` failed: {first}{hint}"
        ));
    }
    let programs = executables(&String::from_utf8_lossy(&messages));
    let named = programs.iter().find(|(binary, _)| binary == name);
    match (named, programs.as_slice()) {
        (Some((_, path)), _) | (None, [(_, path)]) => Ok(path.clone()),
        (None, []) => Err(format!("the package `{name}` has no binary")),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            Err(format!(
                "the package `{name}` has several binaries ({names}), none of its name"
            ))
        }
    }
}

/// Passes on what cargo prints, and returns its first line that begins with `error`.
fn follow(stderr: impl Read, watch: &dyn BuildWatch) -> Option<String> {
    let mut stderr = BufReader::new(stderr);
    let mut first = None;
    let mut line = Vec::new();
    while stderr
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        watch.said(&line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if first.is_none() && text.starts_with("error") {
            first = Some(text.to_owned());
        }
        line.clear();
    }
    first
}

/// Name and path of the binaries that cargo's messages tell of.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let binary = |line: &str| -> Option<(String, PathBuf)> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_binary = message.get("reason")? == "compiler-artifact"
            && message.pointer("/target/kind/0")? == "bin";
        let name = message.pointer("/target/name")?.as_str()?;
        let path = message.get("executable")?.as_str()?;
        is_binary.then(|| (name.to_owned(), PathBuf::from(path)))
    };
    messages.lines().filter_map(binary).collect()
}

/// Keeps what cargo prints, and ends cargo when the run is cancelled.
struct Said<'c> {
    text: Mutex<Vec<u8>>,
    cancel: &'c CancelToken,
    killer: Mutex<Option<Killer>>,
}

/// Ends a process when the run is cancelled, until it is dropped.
struct Killer {
    over: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Killer {
    fn of(pid: Pid, cancel: &CancelToken) -> io::Result<Self> {
        let over = CancelToken::new()?;
        let (cancel, seen) = (cancel.clone(), over.clone());
        let thread = thread::Builder::new().spawn(move || {
            if cancel::comes_first(&cancel, &seen) {
                let _ = kill_process(pid, Signal::TERM);
            }
        })?;
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.over.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<'c> Said<'c> {
    fn new(cancel: &'c CancelToken) -> Self {
        Self {
            text: Mutex::default(),
            cancel,
            killer: Mutex::default(),
        }
    }

    fn text(&self) -> Vec<u8> {
        self.text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn kill_by(&self, killer: Option<Killer>) {
        let mut slot = self.killer.lock().unwrap_or_else(PoisonError::into_inner);
        drop(std::mem::replace(&mut *slot, killer));
    }
}

impl BuildWatch for Said<'_> {
    fn started(&self, child: &Child) {
        let pid = Pid::from_child(child);
        // It is not waited for before `ended`: the number stays its own until the killer is gone. Where there is none, for
        // want of a descriptor or a thread, the build ends by itself.
        self.kill_by(Killer::of(pid, self.cancel).ok());
    }

    fn said(&self, line: &[u8]) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(line);
    }

    fn ended(&self) {
        self.kill_by(None);
    }
}

#[cfg(test)]
mod tests;
