//! HTTP requests.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use flate2::read::MultiGzDecoder;
use ureq::http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, Timeout};

use super::attempts::{AttemptError, RateMonitor, Retries};
use super::error::FetchError;
use super::mirror::Mirror;
use super::options::{ProxySetting, RemoteOptions};
use crate::progress::Progress;
use crate::text::line;

/// How many redirects are followed, one after the other.
const REDIRECTS: u32 = 5;
/// The part of a file that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangeRequest<'a> {
    /// From this byte on.
    pub(super) from: u64,
    /// If it is still the same file: its entity tag or date.
    pub(super) of: Option<&'a str>,
}

/// Sends requests to the servers of one mirror.
pub(super) struct Client {
    options: RemoteOptions,
    proxy: Option<Proxy>,
    https_only: bool,
    /// Made when it is first needed: reading the system's certificates takes a while.
    agent: Mutex<Option<Agent>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Client");
        debug
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(mirror: &Mirror, options: RemoteOptions) -> Result<Self, FetchError> {
        let https_only = mirror.is_encrypted();
        let setting = if https_only {
            options.https_proxy.as_ref()
        } else {
            options.http_proxy.as_ref()
        };
        let setting = setting.filter(|_| !mirror.is_loopback());
        let proxy = setting.map(|setting| proxy(setting, &options.no_proxy));
        Ok(Self {
            proxy: proxy.transpose()?,
            https_only,
            options,
            agent: Mutex::default(),
        })
    }

    pub(super) fn options(&self) -> &RemoteOptions {
        &self.options
    }

    fn agent(&self) -> Result<Agent, FetchError> {
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = &*agent {
            return Ok(agent.clone());
        }
        let options = &self.options;
        let tls = TlsConfig::builder().root_certs(self.roots()?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // No redirect may lead to an unencrypted connection.
            .https_only(self.https_only)
            .tls_config(tls)
            .proxy(self.proxy.clone())
            .max_redirects(REDIRECTS)
            .user_agent(concat!("ktstr/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_send_request(Some(options.stall_timeout))
            .timeout_recv_response(Some(options.stall_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            // A body left unread would be the start of the next one's answer.
            .max_idle_connections(0)
            .build();
        Ok(agent.insert(config.new_agent()).clone())
    }

    fn roots(&self) -> Result<RootCerts, FetchError> {
        if !self.https_only {
            return Ok(RootCerts::WebPki);
        }
        let (found, file) = match &self.options.certificates {
            Some(file) => (
                rustls_native_certs::load_certs_from_paths(Some(file), None),
                Some(file),
            ),
            None => (rustls_native_certs::load_native_certs(), None),
        };
        let certificates: Vec<Certificate<'static>> = found
            .certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        match (certificates.is_empty(), file) {
            (false, _) => Ok(RootCerts::new_with_certs(&certificates)),
            (true, None) => Ok(RootCerts::WebPki),
            (true, Some(path)) => Err(FetchError::Certificates {
                path: path.clone(),
                why: found.errors.first().map_or_else(
                    || "there are no certificates in it".to_owned(),
                    |error| line(&error.to_string()),
                ),
            }),
        }
    }

    /// Asks for `address`, or the rest of it: an answer of status 200, 206 or 416.
    pub(super) fn get(
        &self,
        address: &str,
        rest: Option<RangeRequest<'_>>,
    ) -> Result<Response<Body>, AttemptError> {
        // Parts of a file can only be put together as they are.
        let mut request = self.agent()?.get(address);
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(RangeRequest { from, of }) = rest {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(of) = of {
                request = request.header(IF_RANGE, of);
            }
        }
        let response = request
            .call()
            .map_err(|error| self.attempt_error(address, &error))?;
        let status = response.status().as_u16();
        if matches!(status, 200 | 416) || (status == 206 && rest.is_some()) {
            return Ok(response);
        }
        let address = address.to_owned();
        let wait = retry_after(response.headers(), SystemTime::now());
        let wait = wait.filter(|wait| !wait.is_zero());
        Err(AttemptError {
            temporary: matches!(status, 408 | 425 | 429) || status >= 500,
            wait,
            error: FetchError::Status {
                address,
                status,
                wait,
            },
        })
    }

    /// Reads of an answer's body; `Ok(0)` is its end. `rate` is that of this answer.
    pub(super) fn read(
        &self,
        address: &str,
        body: &mut impl Read,
        buffer: &mut [u8],
        rate: &mut RateMonitor,
    ) -> Result<usize, AttemptError> {
        loop {
            let n = match body.read(buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.attempt_error(address, &error.into())),
            };
            let slow = rate.is_too_slow(n as u64, Instant::now(), &self.options);
            if n > 0 && slow {
                let seconds = self.options.stall_timeout.as_secs_f32();
                let why = format!("almost nothing came within {seconds} s");
                return Err(AttemptError::temporary(FetchError::unreachable(
                    address, why,
                )));
            }
            return Ok(n);
        }
    }

    /// Fetches a small file, and decompresses it where a server or proxy compressed it; `name` is for events and errors.
    pub(super) fn small(
        &self,
        address: &str,
        name: &'static str,
        limit: u64,
        tries: u32,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, FetchError> {
        let mut retries = Retries::new(tries, self.options.backoff);
        loop {
            match self.small_once(address, name, limit) {
                Ok(bytes) => return decoded(bytes, address, name, limit),
                Err(failed) => retries.again(failed, 0, name, progress)?,
            }
        }
    }

    fn small_once(
        &self,
        address: &str,
        name: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, AttemptError> {
        let mut body = self.get(address, None)?.into_body().into_reader();
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        let mut rate = RateMonitor::default();
        loop {
            let n = self.read(address, &mut body, &mut buffer, &mut rate)?;
            if n == 0 {
                return Ok(bytes);
            }
            if bytes.len() as u64 + n as u64 > limit {
                return Err(FetchError::too_large(address, name, limit).into());
            }
            bytes.extend_from_slice(&buffer[..n]);
        }
    }

    fn attempt_error(&self, address: &str, error: &ureq::Error) -> AttemptError {
        use ureq::Error as E;
        let options = &self.options;
        let (why, temporary) = match error {
            E::Timeout(Timeout::Resolve | Timeout::Connect) => {
                let seconds = options.connect_timeout.as_secs_f32();
                (format!("no connection within {seconds} s"), true)
            }
            E::Timeout(_) => {
                let seconds = options.stall_timeout.as_secs_f32();
                (format!("nothing came within {seconds} s"), true)
            }
            E::HostNotFound => ("its host is not found".to_owned(), true),
            // What rustls does not like is in here, too.
            E::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                (line(&error.to_string()), false)
            }
            E::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ("the connection broke off".to_owned(), true)
            }
            E::Io(error) => (line(&error.to_string()), true),
            E::Protocol(error) => (
                format!("the answer is not HTTP ({})", line(&error.to_string())),
                true,
            ),
            E::BodyStalled | E::ConnectionFailed => (error.to_string(), true),
            E::TooManyRedirects => (format!("more than {REDIRECTS} redirects"), false),
            E::RequireHttpsOnly(_) => {
                ("it redirects to an address without https".to_owned(), false)
            }
            E::ConnectProxyFailed(why) => (format!("the proxy refuses ({})", line(why)), false),
            other => (line(&other.to_string()), false),
        };
        AttemptError {
            temporary,
            wait: None,
            error: FetchError::unreachable(address, why),
        }
    }
}

/// The proxy of a setting, but for hosts in `direct`.
fn proxy(setting: &ProxySetting, direct: &[String]) -> Result<Proxy, FetchError> {
    let error = |why| FetchError::Proxy {
        variable: setting.variable.clone(),
        why,
    };
    let given = Proxy::new(&setting.address).map_err(|_| error("its value is not an address"))?;
    let authority = given.uri().authority();
    let host = authority.map_or("", |authority| authority.as_str());
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.ends_with(']') || port.parse::<u16>().is_ok();
    if given.host().is_empty() || !port.is_none_or(is_port) {
        return Err(error("its value is not an address"));
    }
    let mut builder = Proxy::builder(given.protocol())
        .host(given.host())
        .port(given.port())
        .resolve_target(given.resolve_target());
    if let Some(name) = given.username() {
        builder = builder.username(name);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    for host in direct {
        let name = host.trim_start_matches('*').trim_start_matches('.');
        builder = match name {
            "" if host == "*" => builder.no_proxy("*"),
            "" => builder,
            name => builder.no_proxy(name).no_proxy(&format!(".{name}")),
        };
    }
    builder
        .build()
        .map_err(|_| error("its value is not an address"))
}

/// What a server asks for in seconds, or by a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => http_date(text)?.duration_since(now).ok(),
    }
}

/// Reads `Wed, 21 Oct 2015 07:28:00 GMT`, the one form in which dates are sent (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.trim().strip_suffix(" GMT")?.split_once(", ")?;
    let mut words = date.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// `bytes` without the gzip around them that a server or proxy put there, though it was asked not to.
fn decoded(
    bytes: Vec<u8>,
    address: &str,
    name: &'static str,
    limit: u64,
) -> Result<Vec<u8>, FetchError> {
    if !bytes.starts_with(b"\x1f\x8b") {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes.as_slice()).take(limit + 1);
    if decoder.read_to_end(&mut text).is_err() {
        return Err(FetchError::content(address, "damaged gzip data"));
    }
    if text.len() as u64 > limit {
        return Err(FetchError::too_large(address, name, limit));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wait(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        let now = humantime::parse_rfc3339("2015-10-21T07:00:00Z").unwrap();
        retry_after(&headers, now)
    }

    #[test]
    fn a_server_names_seconds_or_a_date() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait("3600"), seconds(3600));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), seconds(28 * 60));
        assert_eq!(wait("Wed, 21 Oct 2015 06:28:00 GMT"), None);
        for odd in ["soon", "-1", "", "Wed, 41 Oct 2015 07:28:00 GMT", "1e9"] {
            assert_eq!(wait(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_date_panics(text in "[A-Za-z]{0,3},? [0-9]{0,3} [A-Z]?[a-z]{0,3} [0-9]{0,5} [0-9:]{0,9} ?(GMT)?") {
            let _ = wait(&text);
        }
    }
}
