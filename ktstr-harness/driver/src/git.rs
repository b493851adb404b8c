//! Git, asked about a work tree.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::host::{Host, git_command};
use ktstr_core::text;

use crate::bounded::{self, Answer, Limits, NoAnswer};

/// A work tree of a large project, on a disk that is busy, is looked through well within this time.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(120),
    // A million paths of 256 bytes.
    output: 256 << 20,
};

/// The longest complaint of git that is shown, in characters.
const LONGEST: usize = 200;

/// Git does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// It could not be run, or was too slow.
    #[error("git {what}: {why}; see whether git is installed and `git {what}` works here")]
    NoAnswer {
        /// Its arguments.
        what: String,
        /// A clause that says what happened.
        why: String,
    },
    /// It failed.
    #[error("`git {what}` failed: {said}")]
    Failed {
        /// Its arguments.
        what: String,
        /// What it said, on one line; how it ended, where it said nothing.
        said: String,
    },
    /// It wrote what is no answer to the question.
    #[error("`git {what}` wrote something unexpected ({why}); this ktstr knows git 2.25 and later")]
    Odd {
        /// Its arguments.
        what: String,
        /// What is unexpected.
        why: String,
    },
}

/// The git of a host in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Git<'h> {
    host: &'h Host,
    dir: PathBuf,
}

impl<'h> Git<'h> {
    pub(crate) fn new(host: &'h Host, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { host, dir }
    }

    /// What git prints; an error where it fails.
    pub(crate) fn output<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Vec<u8>, GitError> {
        let answer = self.answer(args)?;
        if answer.status.success() {
            return Ok(answer.stdout);
        }
        Err(failed(args, &answer))
    }

    /// What git prints; `None` where it ends with exit code 1, which many of its commands mean "there is none" by.
    pub(crate) fn output_if_any<A: AsRef<OsStr>>(
        &self,
        args: &[A],
    ) -> Result<Option<Vec<u8>>, GitError> {
        let answer = self.answer(args)?;
        match answer.status.code() {
            Some(0) => Ok(Some(answer.stdout)),
            Some(1) => Ok(None),
            _ => Err(failed(args, &answer)),
        }
    }

    /// The commit that `revision` names, as its whole hash; `None` where it names none. A name that git would take as an
    /// option names none.
    pub(crate) fn commit(&self, revision: &str) -> Result<Option<String>, GitError> {
        if revision.is_empty() || revision.starts_with('-') || revision.contains('\0') {
            return Ok(None);
        }
        let args = [
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("{revision}^{{commit}}"),
        ];
        let answer = self.answer(&args)?;
        if !answer.status.success() {
            return Ok(None);
        }
        hash(&answer.stdout)
            .map(Some)
            .ok_or_else(|| odd(&args, "no hash"))
    }

    /// The root of the work tree around the directory.
    pub(crate) fn work_tree(&self) -> Result<PathBuf, GitError> {
        let args = ["rev-parse", "--show-toplevel"];
        let mut path = self.output(&args)?;
        if path.last() == Some(&b'\n') {
            path.pop();
        }
        let path = PathBuf::from(OsString::from_vec(path));
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(odd(&args, "no path"))
        }
    }

    fn answer<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Answer, GitError> {
        let mut command = git_command(self.host, &self.dir);
        // What it says goes into errors. A monitor of the project's may tell less than there is.
        command
            .args(["-c", "core.fsmonitor=false"])
            .args(args)
            .env("LC_ALL", "C");
        let answer = bounded::answer(&mut command, LIMITS)
            .map_err(|why: NoAnswer| no_answer(args, why.to_string()))?;
        if !answer.is_whole {
            return Err(no_answer(args, "it writes too much".to_owned()));
        }
        Ok(answer)
    }
}

fn failed<A: AsRef<OsStr>>(args: &[A], answer: &Answer) -> GitError {
    let said = text::plain(&String::from_utf8_lossy(&answer.stderr));
    let said = text::cut(&text::line(&said), LONGEST);
    let what = words(args);
    if said.is_empty() {
        let said = answer.status.to_string();
        return GitError::Failed { what, said };
    }
    GitError::Failed { what, said }
}

/// Git wrote something that is no answer to `args`.
pub(crate) fn odd<A: AsRef<OsStr>>(args: &[A], why: &str) -> GitError {
    GitError::Odd {
        what: words(args),
        why: why.to_owned(),
    }
}

fn no_answer<A: AsRef<OsStr>>(args: &[A], why: String) -> GitError {
    let what = words(args);
    GitError::NoAnswer { what, why }
}

fn words<A: AsRef<OsStr>>(args: &[A]) -> String {
    let words: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect();
    text::line(&words.join(" "))
}

/// The one hash that git printed.
pub(crate) fn hash(printed: &[u8]) -> Option<String> {
    let hash = std::str::from_utf8(printed).ok()?.trim();
    let is_hash =
        [40, 64].contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| hash.to_owned())
}
