//! Git servers on the loopback device: `git http-backend` behind HTTP, and `git daemon`; both misbehave on demand.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long anything may take, so that a test that hangs ends some day.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most bytes of a request.
const REQUEST: u64 = 1 << 20;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Web,
    /// As [`Kind::Web`], of the days before protocol version 2.
    OldWeb,
    Daemon,
}

/// A part of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The greeting; with a daemon, a whole connection.
    Greeting,
    /// The listing of references.
    Listing,
    /// The objects.
    Pack,
}

/// What goes wrong with one answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This status, and no more.
    Status(u16),
    /// Sent on to another address.
    Redirect(String),
    /// Nothing more after so many bytes.
    Stall(usize),
    /// As [`Fault::Stall`], until [`Server::release`].
    Hold(usize),
    /// The connection is closed after so many bytes; announced is all of it.
    Truncate(usize),
    /// The end comes after so many bytes, as if that were all.
    Short(usize),
    /// The byte so far from the end is another.
    Corrupt(usize),
    /// Something else instead.
    Instead(Vec<u8>),
    /// The same bytes, for ever.
    Endless(Vec<u8>),
    /// Something happens first.
    First(Arc<dyn Fn() + Send + Sync>),
}

/// The server; it ends, with all its connections, when dropped.
pub(crate) struct Server {
    kind: Kind,
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    kind: Kind,
    root: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What goes wrong with the answers that come after so many more.
    faults: Vec<(Step, usize, Fault)>,
    /// The same, and with all that follow.
    lasting: Option<(Step, usize, Fault)>,
    /// How many answers went wrong for that.
    struck: usize,
    /// Whether an answer was sent in part.
    halted: bool,
    steps: Vec<Step>,
    /// How long answers were, as they should have been.
    sizes: Vec<(Step, usize)>,
    connections: Vec<TcpStream>,
    released: bool,
    ended: bool,
}

impl Server {
    /// Serves the repositories in the directory `root`.
    pub(crate) fn start(kind: Kind, root: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kind,
            root: root.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            kind,
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// The address of the repository in the directory `name`.
    pub(crate) fn url(&self, name: &str) -> String {
        let scheme = match self.kind {
            Kind::Web | Kind::OldWeb => "http",
            Kind::Daemon => "git",
        };
        format!("{scheme}://{}/{name}", self.address)
    }

    /// Lets an answer go wrong: the one after the `skipped` next of its step.
    pub(crate) fn fault(&self, step: Step, skipped: usize, fault: Fault) {
        self.shared.state().faults.push((step, skipped, fault));
    }

    /// Lets [held](Fault::Hold) answers go on.
    pub(crate) fn release(&self) {
        self.shared.state().released = true;
        self.shared.changed.notify_all();
    }

    /// As [`fault`](Self::fault), and so do all that follow until [`heal`](Self::heal): also those to requests that
    /// nobody waits for any more.
    pub(crate) fn lasting_fault(&self, step: Step, skipped: usize, fault: Fault) {
        let mut state = self.shared.state();
        state.lasting = Some((step, skipped, fault));
        state.struck = 0;
    }

    /// Whether the lasting fault did any harm yet.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.state().struck > 0
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut state = self.shared.state();
        state.faults.clear();
        state.lasting = None;
    }

    /// Whether it has sent a part of an answer that it [holds](Fault::Hold).
    pub(crate) fn is_holding(&self) -> bool {
        self.shared.state().halted
    }

    /// How often it was asked for this.
    pub(crate) fn count(&self, step: Step) -> usize {
        let state = self.shared.state();
        state.steps.iter().filter(|other| **other == step).count()
    }

    /// How long each answer was of this step, bytes.
    pub(crate) fn sizes(&self, step: Step) -> Vec<usize> {
        let state = self.shared.state();
        let of_step = state.sizes.iter().filter(|(other, _)| *other == step);
        of_step.map(|(_, size)| *size).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            for stream in &state.connections {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends no more of an answer until then.
    fn halt(&self, until: impl Fn(&State) -> bool) {
        self.state().halted = true;
        self.wait(until);
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let go_on = |state: &mut State| !state.ended && !until(state);
        let state = self.state();
        drop(self.changed.wait_timeout_while(state, PATIENCE, go_on));
    }

    /// Notes that a step begins; returns what goes wrong with it.
    fn begins(&self, step: Step) -> Option<Fault> {
        let mut state = self.state();
        state.steps.push(step);
        let mut due = None;
        for (at, (of, skipped, _)) in state.faults.iter_mut().enumerate() {
            if *of != step {
                continue;
            }
            if *skipped == 0 {
                due.get_or_insert(at);
            } else {
                *skipped -= 1;
            }
        }
        let mut fault = due.map(|at| state.faults.remove(at).2);
        match &mut state.lasting {
            Some((of, 0, lasting)) if *of == step => {
                fault = Some(lasting.clone());
                state.struck += 1;
            }
            Some((of, skipped, _)) if *of == step => *skipped -= 1,
            _ => {}
        }
        drop(state);
        if let Some(Fault::First(action)) = &fault {
            action();
            return None;
        }
        fault
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else {
            continue;
        };
        let mut state = shared.state();
        if state.ended {
            break;
        }
        state.connections.push(copy);
        drop(state);
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // Whoever asks may go away at any time.
            let _ = match shared.kind {
                Kind::Web | Kind::OldWeb => web(&stream, &shared),
                Kind::Daemon => daemon(&stream, &shared),
            };
            let _ = stream.shutdown(Shutdown::Both);
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .stderr(Stdio::null());
    command
}

/// One connection to a git daemon.
fn daemon(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let fault = shared.begins(Step::Greeting);
    if let Some(Fault::Instead(_) | Fault::Endless(_) | Fault::Stall(0) | Fault::Truncate(0)) =
        fault
    {
        // Its request first: a connection with something unread in it is reset.
        let mut stream = stream;
        let _ = stream.read(&mut [0; 1024])?;
        return answer(stream, shared, &[], fault.as_ref());
    }
    let root = &shared.root;
    let mut base = std::ffi::OsString::from("--base-path=");
    base.push(root);
    let mut child = git()
        .args(["daemon", "--inetd", "--export-all"])
        .arg(base)
        .arg(root)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone()?)))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut left = match fault {
        Some(Fault::Truncate(at) | Fault::Stall(at) | Fault::Hold(at)) => at,
        _ => usize::MAX,
    };
    let mut output = child.stdout.take().unwrap();
    let mut buffer = [0; 8192];
    let mut size = 0;
    let copied = (|| {
        loop {
            let read = output.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            size += read;
            let mut stream = stream;
            let now = read.min(left);
            stream.write_all(&buffer[..now])?;
            if now < read {
                match fault {
                    Some(Fault::Stall(_)) => shared.halt(|_| false),
                    Some(Fault::Hold(_)) => {
                        shared.halt(|state| state.released);
                        left = usize::MAX;
                        stream.write_all(&buffer[now..read])?;
                        continue;
                    }
                    _ => {}
                }
                return Ok(());
            }
            left = left.saturating_sub(now);
        }
    })();
    shared.state().sizes.push((Step::Greeting, size));
    let _ = stream.shutdown(Shutdown::Both);
    let _ = child.kill();
    child.wait()?;
    copied
}

/// One request over HTTP.
fn web(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?).take(REQUEST);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut kind, mut protocol, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => kind = value,
            "git-protocol" => protocol = value,
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    if shared.kind == Kind::OldWeb {
        protocol.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    let step = match method {
        "GET" => Step::Greeting,
        _ if has(b"command=ls-refs") => Step::Listing,
        _ => Step::Pack,
    };
    let fault = shared.begins(step);
    let mut child = git()
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", kind)
        .env("CONTENT_LENGTH", length.to_string())
        .env("HTTP_GIT_PROTOCOL", protocol)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // A request is far smaller than a pipe.
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    let head = output.windows(4).position(|window| window == b"\r\n\r\n");
    let size = output.len() - head.map_or(0, |end| end + 4);
    shared.state().sizes.push((step, size));
    answer(stream, shared, &output, fault.as_ref())
}

/// Sends what a CGI program answered, or what goes wrong with it.
fn answer(
    mut stream: &TcpStream,
    shared: &Shared,
    output: &[u8],
    fault: Option<&Fault>,
) -> io::Result<()> {
    let is_web = shared.kind != Kind::Daemon;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = output.split_at(end.map_or(0, |end| end + 4));
    let head = String::from_utf8_lossy(head);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    let mut status = status.unwrap_or("200 OK").to_owned();
    let kind = head
        .lines()
        .find(|line| line.starts_with("Content-Type"))
        .unwrap_or("Content-Type: text/plain");
    let mut body = body.to_vec();
    let (mut more, mut end) = (String::new(), usize::MAX);
    let mut announced = None;
    match fault {
        Some(Fault::Status(other)) => {
            status = format!("{other} Told");
            body = b"<html>no</html>".to_vec();
            more.push_str("WWW-Authenticate: Basic realm=\"git\"\r\n");
        }
        Some(Fault::Redirect(to)) => {
            "302 Found".clone_into(&mut status);
            more = format!("Location: {to}\r\n");
            body.clear();
        }
        Some(Fault::Stall(at) | Fault::Hold(at)) => end = *at,
        Some(Fault::Truncate(at)) => {
            announced = Some(body.len());
            body.truncate(*at);
        }
        Some(Fault::Short(at)) => body.truncate(*at),
        Some(Fault::Corrupt(at)) => {
            let at = body.len() - 1 - at.min(&(body.len() - 1));
            body[at] ^= 0x55;
        }
        Some(Fault::Instead(other)) => body.clone_from(other),
        Some(Fault::Endless(_)) => body.clear(),
        Some(Fault::First(_)) | None => {}
    }
    if end == 0 {
        shared.wait(|state| state.released && matches!(fault, Some(Fault::Hold(_))));
    }
    if is_web {
        let endless = matches!(fault, Some(Fault::Endless(_)));
        let length = announced.unwrap_or(body.len());
        if !endless {
            let _ = write!(more, "Content-Length: {length}\r\n");
        }
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{kind}\r\n{more}\r\n");
        stream.write_all(head.as_bytes())?;
    }
    let end = end.min(body.len());
    stream.write_all(&body[..end])?;
    if end < body.len() {
        shared.halt(|state| state.released && matches!(fault, Some(Fault::Hold(_))));
        stream.write_all(&body[end..])?;
    }
    if let Some(Fault::Endless(bytes)) = fault {
        while !shared.state().ended {
            stream.write_all(bytes)?;
        }
    }
    Ok(())
}
