//! Git over HTTP, by the crate that fetches tarballs.
//!
//! The protocol asks twice at most: a GET that greets, then POSTs. Each POST is sent when its answer is first read,
//! for only then is its body complete.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gix::error::{ErrorExt, message};
use gix_transport::Protocol;
use gix_transport::client::blocking_io;
use gix_transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse, Transport,
};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, BodyReader, ResponseExt};

use super::Address;
use super::meter::{Fault, Meter, Metered};

/// Redirections that are followed.
const REDIRECTS: u32 = 5;

/// More than any request for one commit takes.
const REQUEST_LIMIT: usize = 1 << 20;

/// A conversation with the repository at `address`; proxies are taken from the environment.
pub(super) fn connect(
    address: &Address,
    tls: bool,
    wait: Duration,
    meter: &Arc<Meter>,
) -> Box<dyn blocking_io::Transport + Send> {
    let config = Agent::config_builder()
        .https_only(tls)
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .timeout_connect(Some(wait))
        .timeout_recv_response(Some(meter.silence))
        .timeout_per_read(Some(meter.silence))
        .timeout_per_write(Some(meter.silence))
        .build();
    let client = Client {
        agent: config.new_agent(),
        meter: Arc::clone(meter),
        base: None,
    };
    let url = address.url().clone();
    Box::new(Transport::new_http(client, url, Protocol::V2, false))
}

#[derive(Debug)]
struct Client {
    agent: Agent,
    meter: Arc<Meter>,
    /// Where the first request was sent on to.
    base: Option<String>,
}

type Content = BufReader<Metered<BodyReader<'static>>>;

/// A request whose body is being written, or its answer.
struct Exchange {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    sent: Vec<u8>,
    answer: Option<(Cursor<String>, Content)>,
}

type Shared = Arc<Mutex<Exchange>>;

/// One end of an exchange.
enum Stream {
    /// The answer of a GET: it is there.
    Text(Cursor<String>),
    Content(Content),
    /// The answer of a POST, that is sent when it is first read.
    Later(Shared, Part, Vec<u8>, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Headers,
    Content,
}

/// Takes the body of a POST.
struct Request(Shared);

impl Client {
    /// Sorts an answer: what is no success is a fault.
    fn taken(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> io::Result<(Uri, Cursor<String>, Content)> {
        let answer = answer.map_err(|error| match error {
            ureq::Error::Timeout(_) => self.meter.fail(Fault::Silent),
            other => self.meter.fail(Fault::Network(other.to_string())),
        })?;
        let status = answer.status();
        match status.as_u16() {
            200 => {}
            401 | 403 | 407 => return Err(self.meter.fail(Fault::Login)),
            404 | 410 => {
                let why = format!("there is no repository (HTTP status {status})");
                return Err(self.meter.fail(Fault::Network(why)));
            }
            _ => {
                let why = format!("HTTP status {status}");
                return Err(self.meter.fail(Fault::Network(why)));
            }
        }
        let uri = answer.get_uri().clone();
        let mut headers = String::new();
        for (name, value) in answer.headers() {
            // Only this one is looked at.
            if name.as_str().eq_ignore_ascii_case("content-type")
                && let Ok(value) = value.to_str()
            {
                headers = format!("content-type: {value}\n");
            }
        }
        let reader = answer.into_body().into_reader();
        let content = BufReader::new(Metered::new(reader, Arc::clone(&self.meter)));
        Ok((uri, Cursor::new(headers), content))
    }
}

impl Exchange {
    fn answer(&mut self, part: Part) -> io::Result<&mut dyn Read> {
        if self.answer.is_none() {
            let mut request = self.client.agent.post(&self.url);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            // A POST that is sent on would lose its body.
            let request = request.config().max_redirects(0).build();
            let answer = request.send(self.sent.as_slice());
            let (_, headers, content) = self.client.taken(answer)?;
            self.answer = Some((headers, content));
        }
        let Some((headers, content)) = &mut self.answer else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        Ok(match part {
            Part::Headers => headers,
            Part::Content => content,
        })
    }
}

fn pairs(headers: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let lines = headers.into_iter();
    lines.filter_map(|line| pair(line.as_ref())).collect()
}

impl Http for Client {
    type Headers = Stream;
    type ResponseBody = Stream;
    type PostBody = Request;

    fn get(
        &mut self,
        url: &str,
        base: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Stream, Stream>> {
        let mut request = self.agent.get(url);
        for (name, value) in pairs(headers) {
            request = request.header(&name, &value);
        }
        let (uri, headers, content) = self
            .taken(request.call())
            .map_err(|error| error.and_raise(message("the server could not be asked")))?;
        self.base = sent_on(url, base, &uri.to_string());
        Ok(GetResponse {
            headers: Stream::Text(headers),
            body: Stream::Content(content),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Stream, Stream, Request>> {
        let exchange = Exchange {
            client: Client {
                agent: self.agent.clone(),
                meter: Arc::clone(&self.meter),
                base: None,
            },
            url: url.to_owned(),
            headers: pairs(headers),
            sent: Vec::new(),
            answer: None,
        };
        let shared = Arc::new(Mutex::new(exchange));
        let later = |part| Stream::Later(Arc::clone(&shared), part, Vec::new(), 0);
        Ok(PostResponse {
            headers: later(Part::Headers),
            body: later(Part::Content),
            post_body: Request(shared),
        })
    }

    fn configure(&mut self, _: &dyn Any) -> gix::Result<()> {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.base.clone()
    }
}

/// The base address after `url`, which starts with `base`, was sent on to `to`.
fn sent_on(url: &str, base: &str, to: &str) -> Option<String> {
    let tail = url.strip_prefix(base)?;
    let new = to.strip_suffix(tail)?;
    (to != url).then(|| new.to_owned())
}

impl Write for Request {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut exchange = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if exchange.sent.len() + bytes.len() > REQUEST_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        exchange.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = {
            let mut there = self.fill_buf()?;
            there.read(buffer)?
        };
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Text(text) => text.fill_buf(),
            Self::Content(content) => content.fill_buf(),
            Self::Later(shared, part, buffer, at) => {
                if *at == buffer.len() {
                    buffer.resize(16 << 10, 0);
                    let mut exchange = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let read = exchange
                        .answer(*part)
                        .and_then(|answer| answer.read(buffer));
                    buffer.truncate(*read.as_ref().unwrap_or(&0));
                    *at = 0;
                    read?;
                }
                Ok(&buffer[*at..])
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Text(text) => text.consume(amount),
            Self::Content(content) => content.consume(amount),
            Self::Later(_, _, buffer, at) => *at = buffer.len().min(*at + amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_follows_where_it_was_sent() {
        let base = "http://a/linux";
        let url = "http://a/linux/info/refs?service=git-upload-pack";
        let to = |to: &str| sent_on(url, base, to);
        assert_eq!(to(url), None);
        assert_eq!(
            to("https://b/x/linux.git/info/refs?service=git-upload-pack").as_deref(),
            Some("https://b/x/linux.git")
        );
        assert_eq!(to("https://b/login"), None);
    }
}
