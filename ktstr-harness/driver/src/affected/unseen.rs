//! Packages whose changes git does not tell: those outside of the repository, and ignored ones.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::baseline::Baseline;
use crate::git::{Git, GitError, odd};

/// How many files are looked at. A package has fewer; what has more counts as changed.
const MOST: usize = 20_000;

/// When the oldest commit that is compared with was made, in seconds since 1970.
pub(super) fn time_of(git: &Git<'_>, baseline: &Baseline) -> Result<i64, GitError> {
    let mut args = vec!["show", "--no-patch", "--format=%ct", &baseline.commit];
    args.extend(baseline.other_merge_bases.iter().map(String::as_str));
    let printed = git.output(&args)?;
    let times = std::str::from_utf8(&printed).ok();
    let times = times.and_then(|text| text.split_whitespace().map(|time| time.parse().ok()).min());
    times.flatten().ok_or_else(|| odd(&args, "no time"))
}

/// Whether a file in `dir` may have changed at `time` or later: none has, if the system says so of each of them and of
/// their directories. Whoever copies files cannot set back what this looks at (`ctime`), as they can when files were
/// written.
pub(super) fn changed_since(dir: &Path, time: i64) -> bool {
    let mut left = MOST;
    changed(dir, time, &mut left)
}

fn changed(path: &Path, time: i64, left: &mut usize) -> bool {
    let Some(fewer) = left.checked_sub(1) else {
        return true;
    };
    *left = fewer;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return true;
    };
    if metadata.ctime() >= time {
        return true;
    }
    if !metadata.is_dir() {
        // A link tells nothing of what it leads to.
        return metadata.is_symlink();
    }
    let Ok(entries) = fs::read_dir(path) else {
        return true;
    };
    entries.into_iter().any(|entry| {
        entry.map_or(true, |entry| {
            let path = entry.path();
            let is_built = path.join("CACHEDIR.TAG").exists() || entry.file_name() == ".git";
            !is_built && changed(&path, time, left)
        })
    })
}
