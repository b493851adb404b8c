//! An HTTP server on the loopback device that serves what it is given, and misbehaves on demand.
//!
//! It is a file of its own, without any other, so that tests of other crates can have it by `#[path]`.

#![allow(dead_code, reason = "each of them uses some of it")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Most connections at a time; further ones are closed.
const CONNECTIONS: usize = 64;
/// Longest head of a request, bytes.
const HEAD: u64 = 16 << 10;
/// How long anything may take, so that a test that hangs ends some day.
const PATIENCE: Duration = Duration::from_secs(120);

/// What goes wrong with one answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status instead of the file.
    Status(u16),
    /// Nothing more after so many bytes of the body; before its head when 0.
    Stall(usize),
    /// As [`Fault::Stall`], until [`Server::release`].
    Hold(usize),
    /// The connection is closed after so many bytes of the body.
    Truncate(usize),
    /// One byte is another.
    Corrupt,
    /// The head announces one byte more than there is.
    Longer,
    /// The head announces one byte less than there is.
    Shorter,
    /// So many bytes at a time, with a pause after each.
    Drip(usize, Duration),
    /// The whole file, whatever part of it is asked for.
    NoRange,
    /// A part that starts one byte later than asked for.
    WrongRange,
    /// No announced size; the end of the connection is the end of the file.
    Unsized,
    /// No announced size, nor a tag or date; the connection is closed after so many bytes.
    UnsizedTruncate(usize),
    /// To another path of this server, or another address.
    Redirect(String),
    /// Zeros after the file, for ever.
    Endless,
    /// This status, and the wish to be asked again later: the value of `Retry-After`.
    Later(u16, String),
    /// The file, packed by these bytes of gzip.
    Gzip(Vec<u8>),
    /// Something else instead of the file.
    Instead(&'static str, Vec<u8>),
    /// Bytes that are no HTTP.
    NoHttp(Vec<u8>),
}

/// A request, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path; of `CONNECT`, host and port.
    pub(crate) path: String,
    /// From which byte on it was asked for.
    pub(crate) from: Option<u64>,
    /// If it is still this one.
    pub(crate) if_range: Option<String>,
    /// What was answered; 0 before that.
    pub(crate) status: u16,
    /// How many bytes of the body were handed to the system.
    pub(crate) sent: u64,
}

/// The server; it ends, with all its connections, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Arc<[u8]>>,
    /// What goes wrong next with a path, and how often.
    faults: HashMap<String, Vec<(Fault, usize)>>,
    requests: Vec<Request>,
    connections: HashMap<usize, TcpStream>,
    released: bool,
    ended: bool,
}

impl Server {
    /// Starts one that has nothing yet.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// The address that paths are appended to; without a slash at its end.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves `bytes` at `path`, which starts with a slash.
    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes: Vec<u8> = bytes.into();
        self.state().files.insert(path.to_owned(), bytes.into());
    }

    /// No longer serves `path`.
    pub(crate) fn remove(&self, path: &str) {
        self.state().files.remove(path);
    }

    /// Lets the next `times` answers to requests for `path` go wrong, after what was ordered before. The path `CONNECT` is
    /// for requests to lead to another host.
    pub(crate) fn fault(&self, path: &str, fault: Fault, times: usize) {
        let mut state = self.state();
        let faults = state.faults.entry(path.to_owned()).or_default();
        faults.push((fault, times));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// Lets [held](Fault::Hold) answers go on, also future ones.
    pub(crate) fn release(&self) {
        self.state().released = true;
        self.shared.changed.notify_all();
    }

    /// Every request there was for `path`.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let state = self.state();
        let of_path = state.requests.iter().filter(|request| request.path == path);
        of_path.cloned().collect()
    }

    /// How many requests there were in all.
    pub(crate) fn count(&self) -> usize {
        self.state().requests.len()
    }

    /// How many bytes of `path` were sent in all.
    pub(crate) fn sent(&self, path: &str) -> u64 {
        let requests = self.requests(path);
        requests.iter().map(|request| request.sent).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut state = self.state();
            state.ended = true;
            for stream in state.connections.values() {
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

    /// Waits until the state is as asked for, the server ends, or patience does.
    fn wait(&self, until: impl Fn(&State) -> bool) {
        let go_on = |state: &mut State| !state.ended && !until(state);
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, go_on);
        drop(waited);
    }

    fn sleep(&self, time: Duration) {
        let start = Instant::now();
        let go_on = |state: &mut State| !state.ended && start.elapsed() < time;
        let waited = self.changed.wait_timeout_while(self.state(), time, go_on);
        drop(waited);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for (id, stream) in listener.incoming().enumerate() {
        let mut state = shared.state();
        if state.ended {
            break;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else {
            continue;
        };
        if state.connections.len() >= CONNECTIONS {
            continue;
        }
        state.connections.insert(id, copy);
        drop(state);
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // Whoever asks may go away at any time.
            let _ = serve(stream, &shared);
            shared.state().connections.remove(&id);
        }));
        threads.retain(|thread| !thread.is_finished());
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Answers the one request of a connection, and closes it.
fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut answer = Answer {
        stream,
        shared,
        number: 0,
    };
    loop {
        let Some(request) = read_request(&mut reader)? else {
            return Ok(());
        };
        let is_connect = request.method == "CONNECT";
        let key = if is_connect { "CONNECT" } else { &request.path };
        let (fault, file) = {
            let mut state = shared.state();
            let fault = next_fault(&mut state, key);
            let file = state.files.get(&request.path).cloned();
            state.requests.push(request.clone());
            answer.number = state.requests.len() - 1;
            (fault, file)
        };
        if !is_connect {
            let result = answer.file(&request, fault.as_ref(), file);
            let _ = answer.stream.shutdown(Shutdown::Both);
            return result;
        }
        if let Some(Fault::Status(status)) = fault {
            return answer.status(status);
        }
        // We are the proxy and the host behind it.
        answer.head(200, "")?;
    }
}

fn next_fault(state: &mut State, path: &str) -> Option<Fault> {
    let faults = state.faults.get_mut(path)?;
    let (fault, times) = faults.iter_mut().find(|(_, times)| *times > 0)?;
    *times -= 1;
    Some(fault.clone())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    // A proxy is given whole addresses.
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        from: None,
        if_range: None,
        status: 0,
        sent: 0,
    };
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(request));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value
                    .strip_prefix("bytes=")
                    .and_then(|v| v.strip_suffix('-'));
                request.from = from.and_then(|from| from.parse().ok());
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
}

struct Answer<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    /// Which request it is to.
    number: usize,
}

impl Answer<'_> {
    fn file(
        &mut self,
        request: &Request,
        fault: Option<&Fault>,
        file: Option<Arc<[u8]>>,
    ) -> io::Result<()> {
        match fault {
            Some(Fault::Status(status)) => return self.status(*status),
            Some(Fault::Redirect(to)) => {
                return self.head(302, &format!("Location: {to}\r\nContent-Length: 0\r\n"));
            }
            Some(Fault::Later(status, when)) => {
                let fields = format!("Retry-After: {when}\r\nContent-Length: 0\r\n");
                return self.head(*status, &fields);
            }
            Some(Fault::Gzip(bytes)) => {
                let length = bytes.len();
                let fields = format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n");
                self.head(200, &fields)?;
                return self.send(bytes);
            }
            Some(Fault::NoHttp(bytes)) => return self.stream.write_all(bytes),
            Some(Fault::Instead(kind, bytes)) => {
                let length = bytes.len();
                self.head(
                    200,
                    &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n"),
                )?;
                return self.send(bytes);
            }
            Some(Fault::Stall(0)) => self.shared.wait(|_| false),
            Some(Fault::Hold(0)) => self.shared.wait(|state| state.released),
            _ => {}
        }
        let Some(file) = file else {
            return self.status(404);
        };
        let tag = tag(&file);
        let is_same = request
            .if_range
            .as_ref()
            .is_none_or(|wanted| *wanted == tag);
        let ignores = matches!(
            fault,
            Some(Fault::NoRange | Fault::Unsized | Fault::UnsizedTruncate(_) | Fault::Endless)
        );
        let from = request.from.filter(|_| is_same && !ignores);
        if from.is_some_and(|from| from >= file.len() as u64) {
            return self.status(416);
        }
        let mut start = from.map_or(0, |from| from as usize);
        if matches!(fault, Some(Fault::WrongRange)) && from.is_some() {
            start = (start + 1).min(file.len() - 1);
        }
        let body = &file[start..];
        let mut fields = String::new();
        if from.is_some() {
            let (last, size) = (file.len() - 1, file.len());
            let _ = write!(fields, "Content-Range: bytes {start}-{last}/{size}\r\n");
        }
        let length = match fault {
            Some(Fault::Longer) => Some(body.len() + 1),
            Some(Fault::Shorter) => Some(body.len().saturating_sub(1)),
            Some(Fault::Unsized | Fault::UnsizedTruncate(_) | Fault::Endless) => None,
            _ => Some(body.len()),
        };
        if let Some(length) = length {
            let _ = write!(fields, "Content-Length: {length}\r\n");
        }
        if !ignores {
            let _ = write!(fields, "ETag: {tag}\r\nAccept-Ranges: bytes\r\n");
        }
        self.head(if from.is_some() { 206 } else { 200 }, &fields)?;
        if request.method == "HEAD" {
            return Ok(());
        }
        self.body(body, fault)
    }

    fn body(&mut self, body: &[u8], fault: Option<&Fault>) -> io::Result<()> {
        let cut = |at: usize| at.min(body.len());
        match fault {
            Some(&Fault::Stall(at)) => {
                self.send(&body[..cut(at)])?;
                self.shared.wait(|_| false);
                Ok(())
            }
            Some(&Fault::Hold(at)) => {
                self.send(&body[..cut(at)])?;
                self.shared.wait(|state| state.released);
                self.send(&body[cut(at)..])
            }
            Some(&(Fault::Truncate(at) | Fault::UnsizedTruncate(at))) => {
                self.send(&body[..cut(at)])
            }
            Some(Fault::Corrupt) => {
                let mut body = body.to_vec();
                if let Some(last) = body.last_mut() {
                    *last ^= 1;
                }
                self.send(&body)
            }
            Some(&Fault::Drip(bytes, pause)) => {
                for piece in body.chunks(bytes.max(1)) {
                    self.send(piece)?;
                    self.shared.sleep(pause);
                }
                Ok(())
            }
            Some(Fault::Endless) => {
                self.send(body)?;
                while !self.shared.state().ended {
                    self.send(&[0; 16 << 10])?;
                }
                Ok(())
            }
            _ => self.send(body),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(16 << 10) {
            self.stream.write_all(piece)?;
            self.shared.state().requests[self.number].sent += piece.len() as u64;
        }
        Ok(())
    }

    fn status(&mut self, status: u16) -> io::Result<()> {
        let body = format!("<html><body>{status}</body></html>");
        let length = body.len();
        self.head(
            status,
            &format!("Content-Type: text/html\r\nContent-Length: {length}\r\n"),
        )?;
        self.stream.write_all(body.as_bytes())
    }

    fn head(&mut self, status: u16, fields: &str) -> io::Result<()> {
        self.shared.state().requests[self.number].status = status;
        let is_connect = status == 200 && fields.is_empty();
        let close = if is_connect {
            ""
        } else {
            "Connection: close\r\n"
        };
        write!(
            self.stream,
            "HTTP/1.1 {status} Status\r\n{close}{fields}\r\n"
        )
    }
}

/// An entity tag: other bytes have another.
fn tag(file: &[u8]) -> String {
    let hash = file.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:x}-{}\"", file.len())
}
