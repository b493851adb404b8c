//! Fetching the tarball of a release, and checking it.

use std::sync::Arc;

use ktstr_core::host::LockMode;

use super::checksums::{Checksums, LIST_LIMIT};
use super::download::{Download, what_instead};
use super::downloads::{InUse, Record};
use super::error::FetchError;
use super::mirror::tarball_name;
use super::{Inner, SourceTarball, lock};
use crate::progress::{Event, Progress};
use crate::release::Release;

impl Inner {
    pub(super) fn tarball(
        &self,
        release: Release,
        progress: &dyn Progress,
    ) -> Result<SourceTarball, FetchError> {
        let name = tarball_name(release);
        let address = self.mirror.tarball(release);
        let is_enough = |record: &Record| {
            record.address == address
                && (record.verified || release.rc.is_some() || self.client.options().skip_sha256)
        };
        let mut fetched = None;
        // Between the two locks another process may remove it, so that this may take several rounds.
        loop {
            let lock = self.downloads.lock(&name, LockMode::Shared, progress)?;
            let record = self.downloads.record(&name).filter(is_enough);
            if let Some(record) = record
                && (fetched.as_ref() == Some(&record) || self.is_intact(&name, &record)?)
            {
                if !record.verified {
                    tell_of_no_checksum(&name, release, progress);
                }
                return Ok(SourceTarball {
                    path: self.downloads.path(&name),
                    sha256: record.sha256,
                    verified: record.verified,
                    _in_use: Arc::new(InUse::new(lock)),
                });
            }
            drop(lock);
            let _lock = self.downloads.lock(&name, LockMode::Exclusive, progress)?;
            match self.downloads.record(&name).filter(is_enough) {
                Some(record) if self.is_intact(&name, &record)? => {}
                _ => fetched = Some(self.fetch(release, &name, &address, progress)?),
            }
        }
    }

    fn is_intact(&self, name: &str, record: &Record) -> Result<bool, FetchError> {
        Ok(self.downloads.sha256(name)?.as_ref() == Some(&record.sha256))
    }

    /// Fetches a tarball whose lock we have, unless what is there is what it should be.
    fn fetch(
        &self,
        release: Release,
        name: &str,
        address: &str,
        progress: &dyn Progress,
    ) -> Result<Record, FetchError> {
        let expected = self.expected(release, name, address, progress)?;
        let sha256 = match self.downloads.sha256(name)? {
            Some(found) if expected.as_ref() == Some(&found) => found,
            found => {
                if found.is_some() {
                    let note = format!("{name}: the kept copy is not usable; fetching it again");
                    progress.event(Event::Note(&note));
                    self.downloads.remove(name)?;
                }
                let download = Download {
                    client: &self.client,
                    address,
                    name,
                    target: &self.downloads.path(name),
                    expected: expected.as_deref(),
                    progress,
                };
                download
                    .run()
                    .map_err(|error| self.perhaps_no_release(release, error))?
            }
        };
        let record = Record {
            address: address.to_owned(),
            sha256,
            verified: expected.is_some(),
        };
        self.downloads.set_record(name, &record)?;
        Ok(record)
    }

    /// The published checksum of a tarball; `None` where none is published or wanted.
    fn expected(
        &self,
        release: Release,
        name: &str,
        address: &str,
        progress: &dyn Progress,
    ) -> Result<Option<String>, FetchError> {
        let Some(list) = self.mirror.checksums(release) else {
            return Ok(None);
        };
        if self.client.options().skip_sha256 {
            return Ok(None);
        }
        let no_checksum = || {
            // Where there is no such release, that is the error to report.
            let there = self.client.get(address, None);
            match there {
                Err(failed) => self.perhaps_no_release(release, failed.error),
                Ok(_) => FetchError::NoChecksum {
                    address: list.clone(),
                    name: name.to_owned(),
                },
            }
        };
        let sums = match self.checksums(&list, name, progress) {
            Err(FetchError::Status { status: 404, .. }) => return Err(no_checksum()),
            sums => sums?,
        };
        match sums.of(name) {
            Some(sum) => Ok(Some(sum.to_owned())),
            None => Err(no_checksum()),
        }
    }

    /// A list of checksums, which has `name` if the server's has.
    fn checksums(
        &self,
        address: &str,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<Arc<Checksums>, FetchError> {
        // Threads wait here for the one that fetches.
        let mut known = lock(&self.checksums);
        if let Some(sums) = known.get(address)
            && sums.of(name).is_some()
        {
            return Ok(sums.clone());
        }
        let tries = self.client.options().tries;
        let text = self
            .client
            .small(address, "sha256sums.asc", LIST_LIMIT, tries, progress)?;
        let sums = Checksums::parse(&text).map_err(|why| match what_instead(&text) {
            "something else" => FetchError::content(address, why),
            what => FetchError::content(address, format!("{what} instead of checksums")),
        })?;
        let sums = Arc::new(sums);
        known.insert(address.to_owned(), sums.clone());
        Ok(sums)
    }

    /// An error that says that there is no such release, where that is it.
    fn perhaps_no_release(&self, release: Release, error: FetchError) -> FetchError {
        let FetchError::Status {
            address,
            status: 404,
            ..
        } = error
        else {
            return error;
        };
        let known = self.cached_index();
        FetchError::NoRelease {
            release,
            address,
            newest: known.and_then(|known| known.newest_of((release.major, release.minor))),
        }
    }
}

fn tell_of_no_checksum(name: &str, release: Release, progress: &dyn Progress) {
    let note = if release.rc.is_some() {
        format!("{name}: not verified: kernel.org publishes no checksums of release candidates")
    } else {
        format!("{name}: not verified: checksums are skipped")
    };
    progress.event(Event::Note(&note));
}
