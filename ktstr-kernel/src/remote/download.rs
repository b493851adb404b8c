//! One large file, in as many pieces as it takes.

use std::path::Path;
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED};

use super::attempts::{AttemptError, RateMonitor, Retries};
use super::error::FetchError;
use super::http::{Client, RangeRequest};
use super::part::{Part, PartFacts};
use crate::progress::{Event, Progress, Transfer};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// Longest entity tag that is kept, bytes.
const LONGEST_TAG: usize = 256;

/// A file to fetch. The caller holds the lock of its name.
#[derive(Clone, Copy)]
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) address: &'a str,
    /// Its name, for events.
    pub(super) name: &'a str,
    /// Where it will be.
    pub(super) target: &'a Path,
    /// Its SHA-256, where that is known.
    pub(super) expected: Option<&'a str>,
    pub(super) progress: &'a dyn Progress,
}

impl Download<'_> {
    /// Fetches it and returns its SHA-256. A file that is not the expected one is fetched once more from its start.
    pub(super) fn run(&self) -> Result<String, FetchError> {
        let start = Instant::now();
        let result = self.verified(start);
        if result.is_err() {
            self.tell(Transfer::Failed);
        }
        result
    }

    fn verified(&self, start: Instant) -> Result<String, FetchError> {
        let mut is_second = false;
        loop {
            let mut part = Part::open(self.target, self.address)
                .map_err(|error| FetchError::io(self.target, error))?;
            if let Err(error) = self.complete(&mut part) {
                return Err(given_up(part, error));
            }
            let io = |error| FetchError::io(self.target, error);
            let found = part.sha256().map_err(io)?;
            let expected = self.expected.unwrap_or(&found);
            if found == expected {
                let size = part.done();
                part.commit(self.target).map_err(io)?;
                let took = start.elapsed();
                self.tell(Transfer::Finished { size, took });
                return Ok(found);
            }
            part.discard().map_err(io)?;
            if is_second {
                return Err(FetchError::Checksum {
                    address: self.address.to_owned(),
                    expected: expected.to_owned(),
                    found,
                });
            }
            is_second = true;
            let why = "it has a wrong checksum";
            let wait = Duration::ZERO;
            self.tell(Transfer::Retrying { why, wait });
        }
    }

    /// Tries until all of it is there.
    fn complete(&self, part: &mut Part) -> Result<(), FetchError> {
        let options = self.client.options();
        let mut retries = Retries::new(options.tries, options.backoff);
        while !part.is_whole() {
            let before = part.done();
            match self.transfer(part) {
                Ok(()) => break,
                Err(failed) => {
                    let further = part.done().saturating_sub(before);
                    retries.again(failed, further, self.name, self.progress)?;
                }
            }
        }
        Ok(())
    }

    /// One request for all that is missing.
    fn transfer(&self, part: &mut Part) -> Result<(), AttemptError> {
        let known = part.facts().cloned();
        let range = known.as_ref().map(|facts| RangeRequest {
            from: part.done(),
            of: facts.validator.as_deref(),
        });
        let response = self.client.get(self.address, range)?;
        let io = |error| FetchError::io(self.target, error);
        let headers = response.headers();
        match (response.status().as_u16(), &known) {
            (206, Some(facts)) if goes_on(headers, part.done(), facts.total) => {}
            (200, _) => part.begin(self.facts(headers)).map_err(io)?,
            // The file changed, or the server answers something else.
            _ => {
                part.reset().map_err(io)?;
                let why = "the rest is not available";
                return Err(AttemptError::temporary(FetchError::unreachable(
                    self.address,
                    why,
                )));
            }
        }
        let total = part.whole_size();
        let limit = self.client.options().size_limit;
        if total.is_some_and(|total| total > limit) {
            return Err(self.too_large(limit).into());
        }
        let done = part.done();
        self.tell(Transfer::Started { done, total });
        self.check_space(part, total)?;
        self.receive(part, response.into_body(), limit)
    }

    fn receive(&self, part: &mut Part, body: Body, limit: u64) -> Result<(), AttemptError> {
        let mut body = body.into_reader();
        let mut buffer = vec![0; 128 << 10];
        let mut rate = RateMonitor::default();
        let mut told = Instant::now();
        loop {
            let n = self
                .client
                .read(self.address, &mut body, &mut buffer, &mut rate)?;
            if n == 0 {
                break;
            }
            if part.done() + n as u64 > limit {
                return Err(self.too_large(limit).into());
            }
            if part.done() == 0 {
                self.check_kind(&buffer[..n])?;
            }
            part.write(&buffer[..n])
                .map_err(|error| self.not_written(part, error))?;
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                let done = part.done();
                self.tell(Transfer::Advanced { done });
            }
        }
        let missing = part.whole_size().is_some_and(|total| total != part.done());
        if missing {
            let why = "the connection broke off";
            return Err(AttemptError::temporary(FetchError::unreachable(
                self.address,
                why,
            )));
        }
        Ok(())
    }

    /// What the server says of the whole file.
    fn facts(&self, headers: &HeaderMap) -> PartFacts {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak tag may stand for other bytes.
        let tag = text(ETAG).filter(|tag| tag.starts_with('"'));
        let validator = tag.or_else(|| text(LAST_MODIFIED));
        PartFacts {
            address: self.address.to_owned(),
            validator: validator
                .filter(|text| text.len() <= LONGEST_TAG)
                .map(str::to_owned),
            total: text(CONTENT_LENGTH).and_then(|size| size.parse().ok()),
        }
    }

    /// Whether it starts as its name promises.
    fn check_kind(&self, start: &[u8]) -> Result<(), FetchError> {
        let magic: &[u8] = if Path::new(self.name)
            .extension()
            .is_some_and(|end| end == "xz")
        {
            b"\xfd7zXZ\0"
        } else {
            b"\x1f\x8b"
        };
        let n = start.len().min(magic.len());
        if start[..n] == magic[..n] {
            return Ok(());
        }
        let what = what_instead(start);
        let why = format!("{what} instead of {}", self.name);
        Err(FetchError::content(self.address, why))
    }

    fn check_space(&self, part: &Part, total: Option<u64>) -> Result<(), FetchError> {
        let Some(total) = total else {
            return Ok(());
        };
        let dir = self.target.parent().unwrap_or(self.target);
        let Ok(found) = rustix::fs::statvfs(dir) else {
            return Ok(());
        };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let needed = total.saturating_sub(part.done());
        if needed <= free {
            return Ok(());
        }
        Err(FetchError::NoSpace {
            dir: dir.to_owned(),
            name: self.name.to_owned(),
            needed: Some(needed),
        })
    }

    fn not_written(&self, part: &Part, error: std::io::Error) -> FetchError {
        match FetchError::io(part.path(), error) {
            FetchError::NoSpace { dir, .. } => FetchError::NoSpace {
                dir,
                name: self.name.to_owned(),
                needed: part
                    .whole_size()
                    .map(|total| total.saturating_sub(part.done())),
            },
            other => other,
        }
    }

    fn too_large(&self, limit: u64) -> FetchError {
        FetchError::too_large(self.address, "release", limit)
    }

    fn tell(&self, state: Transfer<'_>) {
        let name = self.name;
        self.progress.event(Event::Transfer { name, state });
    }
}

/// What is there stays for the next time where that can go on from it.
fn given_up(part: Part, error: FetchError) -> FetchError {
    let is_no_use = matches!(
        error,
        FetchError::NoSpace { .. } | FetchError::TooLarge { .. } | FetchError::Content { .. }
    );
    if is_no_use || part.facts().is_none() {
        let _ = part.discard();
    }
    error
}

/// Whether an answer goes on after `done` bytes of a file of `total` bytes.
fn goes_on(headers: &HeaderMap, done: u64, total: Option<u64>) -> bool {
    let range = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let parsed = range.and_then(|range| {
        let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let size: Option<u64> = size.parse().ok();
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, size))
    });
    parsed.is_some_and(|(first, last, size)| {
        let is_same = size.is_none() || total.is_none() || size == total;
        // All that is missing, not a piece of it.
        let is_rest = size
            .or(total)
            .is_none_or(|size| last.checked_add(1) == Some(size));
        first == done && is_same && is_rest
    })
}

/// What a server sent instead of something else, by its first bytes.
pub(super) fn what_instead(start: &[u8]) -> &'static str {
    match start.trim_ascii_start().first() {
        Some(b'<') => "a web page",
        Some(_) => "something else",
        None => "nothing",
    }
}
