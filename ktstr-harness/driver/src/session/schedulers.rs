//! Builds the schedulers of a session, each once, before the first test starts.
//!
//! Test binaries ask for them while nextest lists their tests (`dispatch/prepare.rs` of ktstr-harness is the other side).
//! When the first binary asks, `cargo nextest list` is run, once, to know which tests will run.

mod selected;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_vmm::child::end_with_us;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use ktstr_harness::dispatch::BuildRequest;
use ktstr_harness::runner::Coverage;
use ktstr_harness::runner::build::{self, BuildWatch, Builds, Package};

use super::event::{SessionEvent, SessionObserver};
use crate::nextest::Listing;
use selected::Selected;

/// How long a binary may take to say what it needs: it knows that when it connects.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest request that is read, in bytes: more than the names of any binary's cases take.
const LIMIT: u64 = 64 << 20;

/// Builds the schedulers that test binaries ask for.
pub(super) struct SchedulerBuilds<'o> {
    observer: &'o dyn SessionObserver,
    listener: UnixListener,
    name: String,
    builds: Builds,
    /// Whose cargo builds.
    host: Host,
    /// More arguments for `cargo build`.
    args: Vec<OsString>,
    /// Where what is built is put, where coverage is measured.
    coverage: Option<Coverage>,
    over: AtomicBool,
    /// The process that runs at the moment: nextest's list, or a build.
    child: Mutex<Option<Pid>>,
}

impl Drop for SchedulerBuilds<'_> {
    fn drop(&mut self) {
        self.builds.forget();
    }
}

impl<'o> SchedulerBuilds<'o> {
    /// Listens at the abstract socket `name`, which the session tells its test binaries.
    pub(super) fn new(
        name: String,
        builds: Builds,
        host: Host,
        args: Vec<OsString>,
        coverage: Option<Coverage>,
        observer: &'o dyn SessionObserver,
    ) -> io::Result<Self> {
        Ok(Self {
            observer,
            listener: UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?,
            name,
            builds,
            host,
            args,
            coverage,
            over: AtomicBool::new(false),
            child: Mutex::new(None),
        })
    }

    /// Name of the abstract socket.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Serves one binary after another until [`SchedulerBuilds::stop`]; `list` prints nextest's list of the tests that will
    /// run. A binary is answered, by the end of its connection, when its builds are done.
    pub(super) fn serve(&self, list: &mut Command) {
        let mut selected = None;
        let mut built = BTreeSet::new();
        while let Ok((stream, _)) = self.listener.accept() {
            if self.is_over() {
                return;
            }
            // A build runs code of the package: only this user may ask for one.
            let is_ours = |peer: rustix::net::UCred| peer.uid == geteuid();
            if !socket_peercred(&stream).is_ok_and(is_ours) {
                continue;
            }
            let Some(needs) = read(&stream) else { continue };
            let selected = selected.get_or_insert_with(|| self.selected(list));
            for package in selected.needed(&needs) {
                if self.is_over() {
                    return;
                }
                if built.insert(package.clone()) {
                    self.build(package);
                }
            }
        }
    }

    fn build(&self, package: &Package) {
        let tell = |event: SessionEvent<'_>| self.observer.event(event);
        tell(SessionEvent::SchedulerBuildStarted { package });
        let watch = Watched {
            builds: self,
            package,
        };
        let program = build::build(package, &self.host, &self.args, &watch);
        if let (Some(coverage), Ok(program)) = (&self.coverage, &program)
            && let Err(error) = coverage.add_program(program)
        {
            let place = &coverage.schedulers();
            tell(SessionEvent::SchedulerNotMeasured {
                package,
                place,
                error: &error,
            });
        }
        tell(SessionEvent::SchedulerBuildEnded {
            package,
            program: program.as_deref().map_err(String::as_str),
        });
        self.builds.keep(package, program);
    }

    /// Ends [`SchedulerBuilds::serve`] and a build that is under way.
    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        if let Ok(child) = self.child.lock()
            && let Some(child) = *child
        {
            let _ = kill_process(child, Signal::TERM);
        }
        let address = SocketAddr::from_abstract_name(&self.name);
        let _ = address.and_then(|address| UnixStream::connect_addr(&address));
    }

    fn started(&self, child: &Child) {
        let pid = Pid::from_child(child);
        if let Ok(mut running) = self.child.lock() {
            *running = Some(pid);
        }
        // It may have been too late for `stop`.
        if self.is_over() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn ended(&self) {
        if let Ok(mut running) = self.child.lock() {
            *running = None;
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn selected(&self, list: &mut Command) -> Selected {
        self.observer.event(SessionEvent::ListStarted);
        list.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        end_with_us(list, Signal::TERM);
        let listed = list.spawn().and_then(|mut child| {
            self.started(&child);
            let mut json = Vec::new();
            let read = child
                .stdout
                .take()
                .map(|mut out| out.read_to_end(&mut json));
            self.ended();
            let status = child.wait()?;
            read.transpose()?;
            Ok((status.success(), Listing::parse(&json)))
        });
        match listed {
            Ok((true, Ok(listing))) => Selected::Listed(listing),
            _ => Selected::Unknown,
        }
    }
}

/// Tells the session of one build.
struct Watched<'b> {
    builds: &'b SchedulerBuilds<'b>,
    package: &'b Package,
}

impl BuildWatch for Watched<'_> {
    fn started(&self, child: &Child) {
        self.builds.started(child);
    }

    fn said(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.builds
            .observer
            .event(SessionEvent::SchedulerBuildOutput {
                package: self.package,
                line,
            });
    }

    fn ended(&self) {
        self.builds.ended();
    }
}

fn read(stream: &UnixStream) -> Option<BuildRequest> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut json = Vec::new();
    stream.take(LIMIT).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;
    use std::thread;

    use super::selected::tests::needs;
    use super::*;
    use crate::Silent;

    /// A builder of its own, and where its results are.
    fn builder<'o>(
        runs: &std::path::Path,
        name: &str,
        observer: &'o dyn SessionObserver,
    ) -> SchedulerBuilds<'o> {
        let name = format!("ktstr-test-{}-{name}", std::process::id());
        SchedulerBuilds::new(
            name,
            Builds::new(runs, "1"),
            Host::of_this_process(),
            Vec::new(),
            None,
            observer,
        )
        .unwrap()
    }

    fn ask(builder: &SchedulerBuilds<'_>, json: &[u8]) {
        let address = SocketAddr::from_abstract_name(&builder.name).unwrap();
        let mut stream = UnixStream::connect_addr(&address).unwrap();
        stream.write_all(json).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it hangs up");
    }

    #[test]
    fn whoever_asks_is_answered_when_the_build_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let case = r#"{"ktstr/b": {"kind": null, "ignored": false, "filter-match": {"status": "matches"}}}"#;
        let json = crate::nextest::tests::list(&[("p::x", case)]);
        fs::write(dir.path().join("list.json"), json).unwrap();
        let told = Mutex::new(Vec::new());
        let observer = |event: SessionEvent<'_>| {
            let text = match event {
                SessionEvent::ListStarted => "list".to_owned(),
                SessionEvent::SchedulerBuildStarted { package } => {
                    format!("build {}", package.name)
                }
                SessionEvent::SchedulerBuildEnded { package, program } => {
                    format!("{} built: {}", package.name, program.is_ok())
                }
                other => format!("{other:?}"),
            };
            told.lock().unwrap().push(text);
        };
        let builder = builder(dir.path(), "answer", &observer);
        let mut list = Command::new("cat");
        list.arg(dir.path().join("list.json"));
        thread::scope(|scope| {
            let served = scope.spawn(|| builder.serve(&mut list));
            ask(&builder, b"neither json nor a request");
            ask(&builder, &serde_json::to_vec(&needs(Some("p::x"))).unwrap());
            // Its sources are not there, which every test of it will be told.
            let done =
                fs::read_to_string(dir.path().join(".builds/scheduler-one-dev-1.json")).unwrap();
            assert!(
                done.contains("its sources are not at /no/such/place"),
                "{done}"
            );
            assert!(!dir.path().join(".builds/scheduler-two-dev-1.json").exists());
            builder.stop();
            served.join().unwrap();
        });
        let expected = ["list", "build one", "one built: false"];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    #[test]
    fn a_build_does_not_outlive_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let builder = builder(dir.path(), "stop", &Silent);
        // Nextest's list, as one that never comes.
        let marker: PathBuf = dir.path().join("started");
        let mut list = Command::new("sh");
        list.args(["-c", r#"echo >"$0"; exec sleep 1000"#])
            .arg(&marker);
        thread::scope(|scope| {
            let served = scope.spawn(|| builder.serve(&mut list));
            let asked = scope.spawn(|| {
                ask(&builder, &serde_json::to_vec(&needs(Some("p::x"))).unwrap());
            });
            while !marker.exists() {
                thread::yield_now();
            }
            builder.stop();
            served.join().unwrap();
            asked.join().unwrap();
        });
    }
}
