//! One commit, from the network to a repository of its own.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gix::open::Options;
use gix::progress::Discard;
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use gix::remote::ref_map::Options as RefMapOptions;

use super::error::{causes, is_no_space};
use super::meter::Meter;
use super::transport::connect;
use super::watch::watched;
use super::{FoundCommit, GitError, Repository};
use crate::progress::{Event, Progress, Transfer};

/// What is fetched is kept under this name.
const KEPT: &str = "refs/ktstr/fetched";

/// Largest single object, bytes: the kernel's largest file has 20 MB.
const OBJECT_LIMIT: &str = "gitoxide.objects.allocLimit=536870912";

/// A repository that has one commit.
pub(crate) struct Fetched {
    pub(super) objects: gix::Repository,
    /// Which: a reference may have moved since it was listed.
    pub(crate) commit: String,
}

impl Repository<'_> {
    /// Fetches the commit, without its history, to the directory `git`, which must not exist.
    pub(crate) fn fetch(
        &self,
        found: &FoundCommit,
        git: &Path,
        progress: &dyn Progress,
    ) -> Result<Fetched, GitError> {
        let name = match found.asked.split_once(' ') {
            Some((_, asked)) => format!("{} {asked}", self.address.name()),
            None => self.address.name(),
        };
        let tell = |state: Transfer<'_>| {
            let name = name.as_str();
            progress.event(Event::Transfer { name, state });
        };
        let start = Instant::now();
        tell(Transfer::Started {
            done: 0,
            total: None,
        });
        let limits = &self.access.limits;
        let meter = Meter::new(limits.silence, limits.fetch, limits.fetch_size);
        let fetched = self.receive(found, git, &meter, &tell);
        tell(match &fetched {
            Ok(_) => Transfer::Finished {
                size: meter.bytes(),
                took: start.elapsed(),
            },
            Err(_) => Transfer::Failed,
        });
        fetched
    }

    fn receive(
        &self,
        found: &FoundCommit,
        git: &Path,
        meter: &Arc<Meter>,
        tell: &(dyn Fn(Transfer<'_>) + Sync),
    ) -> Result<Fetched, GitError> {
        let local = |error: gix::Error| {
            let path = git.to_owned();
            if is_no_space(&error) {
                return GitError::NoSpace { path };
            }
            let source = std::io::Error::other(causes(&error));
            GitError::Write { path, source }
        };
        let repository = gix::ThreadSafeRepository::init_opts(
            git,
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            // Nothing of the user's configuration: it may name programs.
            Options::isolated().config_overrides([OBJECT_LIMIT]),
        )
        .map_err(local)?
        .to_thread_local();
        let source = found.name.as_deref().unwrap_or(&found.commit);
        let wanted = format!("+{source}:{KEPT}");
        let remote = repository
            .remote_at_without_url_rewrite(self.address.url().clone())
            .and_then(|remote| {
                let remote = remote.with_fetch_tags(Tags::None);
                remote.with_refspecs([gix::bstr::BStr::new(&wanted)], Direction::Fetch)
            })
            .map_err(local)?;
        let work = |stop: &std::sync::atomic::AtomicBool| {
            let line = connect(self, meter).ok_or_else(String::new)?;
            let connection = remote
                .to_connection_with_transport(line)
                .with_credentials(|_| Ok(None));
            let prepared = connection.prepare_fetch(Discard, RefMapOptions::default());
            let prepared = prepared.map_err(|error| meter.causes(&error))?;
            let one = NonZeroU32::MIN;
            let shallow = prepared.with_shallow(Shallow::DepthAtRemote(one));
            shallow
                .receive(Discard, stop)
                .map_err(|error| meter.causes(&error))
        };
        let ticking = || {
            tell(Transfer::Advanced {
                done: meter.bytes(),
            });
        };
        let (received, late) = watched(meter.deadline(), ticking, work);
        if let Err(why) = received {
            if late {
                meter.fail(super::meter::Fault::Late);
            }
            return Err(self.fetch_error(found, meter, git, why));
        }
        let commit = commit_of(&repository, found).map_err(|kind| GitError::NoCommit {
            url: self.url().to_owned(),
            reference: found.asked.clone(),
            kind,
        })?;
        Ok(Fetched {
            objects: repository,
            commit,
        })
    }

    fn fetch_error(&self, found: &FoundCommit, meter: &Meter, git: &Path, why: String) -> GitError {
        // As git's own server and the large hosts say it; by reference it would be another fault.
        let refusals = ["not our ref", "unadvertised object", "not advertised"];
        if found.name.is_none() && refusals.iter().any(|refusal| why.contains(refusal)) {
            return GitError::Refused {
                url: self.url().to_owned(),
                sha: found.commit.clone(),
                why,
            };
        }
        meter.error(&self.address, git, why)
    }
}

/// The commit that was fetched; the error is what else it is.
fn commit_of(repository: &gix::Repository, found: &FoundCommit) -> Result<String, String> {
    let missing = |()| "missing object".to_owned();
    let object = if found.name.is_some() {
        let mut kept = repository.find_reference(KEPT).map_err(|_| missing(()))?;
        let id = kept.peel_to_id().map_err(|_| missing(()))?;
        id.object().map_err(|_| missing(()))?
    } else {
        let id = gix::ObjectId::from_hex(found.commit.as_bytes()).map_err(|_| missing(()))?;
        repository.find_object(id).map_err(|_| missing(()))?
    };
    if object.kind != gix::object::Kind::Commit {
        return Err(object.kind.to_string());
    }
    Ok(object.id.to_string())
}
