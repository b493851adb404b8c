//! The cgroup of a run: what is in it when the run ends is killed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;

use super::{BareMetalError, set_up};
use crate::cgroup::CgroupTree;
use crate::guest::CGROUP_ROOT;

/// The cgroup in it that scheduler and body start in: one that passes controllers on has no processes of its own.
const LEAF: &str = "ktstr-run";

/// Controllers that the root may have to pass on.
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// How long killed processes may take to be gone.
const LIMIT: Duration = Duration::from_secs(10);

/// A cgroup below the root. It is removed, with all that is in it, when dropped at the latest.
#[derive(Debug)]
pub(super) struct RunCgroup {
    path: PathBuf,
    /// Where this process comes from.
    home: PathBuf,
    /// Controllers that the root did not pass on before.
    added: Vec<String>,
    removed: bool,
}

impl RunCgroup {
    /// Makes the cgroup `name`, confined to `cpus` where the machine has more `online`.
    pub(super) fn create(
        name: &str,
        cpus: &CpuSet,
        online: &CpuSet,
    ) -> Result<Self, BareMetalError> {
        let root = Path::new(CGROUP_ROOT);
        let home = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let home = home.lines().find_map(|line| line.strip_prefix("0::/"));
        let refused = |error| set_up("cgroup")(io::Error::other(error));
        let before = controllers(root);
        let is_confined = cpus != online;
        let needed: &[&str] = if is_confined { &["cpuset"] } else { &[] };
        let tree = CgroupTree::new(root);
        tree.enable_controllers(needed).map_err(refused)?;
        let added = controllers(root);
        let added = added.into_iter().filter(|name| !before.contains(name));
        let path = root.join(name);
        let cgroup = Self {
            path: path.clone(),
            home: root.join(home.unwrap_or_default()),
            added: added.collect(),
            removed: false,
        };
        let told = || path.display().to_string();
        fs::create_dir(&path).map_err(set_up(told()))?;
        if is_confined {
            fs::write(path.join("cpuset.cpus"), cpus.to_string()).map_err(set_up(told()))?;
        }
        CgroupTree::new(&path)
            .enable_controllers(needed)
            .map_err(refused)?;
        fs::create_dir(path.join(LEAF)).map_err(set_up(told()))?;
        Ok(cgroup)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves this process there, so that all that it starts is there.
    pub(super) fn enter(&mut self) -> Result<(), BareMetalError> {
        let procs = self.path.join(LEAF).join("cgroup.procs");
        fs::write(&procs, "0").map_err(set_up(procs.display().to_string()))
    }

    /// Moves this process back, and kills all others. Tells what is still there.
    pub(super) fn end_all(&mut self) -> Result<(), String> {
        let back = fs::write(self.home.join("cgroup.procs"), "0");
        // Its own may be gone meanwhile.
        if let Err(error) =
            back.or_else(|_| fs::write(Path::new(CGROUP_ROOT).join("cgroup.procs"), "0"))
        {
            return Err(format!(
                "{}: it cannot be left: {error}",
                self.path.display()
            ));
        }
        let begin = Instant::now();
        loop {
            self.kill();
            let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
            if !events.lines().any(|line| line == "populated 1") {
                return Ok(());
            }
            if begin.elapsed() >= LIMIT {
                let path = self.path.display();
                return Err(format!("{path}: processes are left that cannot be killed"));
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Kills what is in it.
    fn kill(&self) {
        if fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Kernels before 5.14 have no such file.
        for dir in tree(&self.path) {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            let pids = procs.lines().filter_map(|pid| pid.parse().ok());
            for pid in pids.filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Ends all that is in it and removes it.
    pub(super) fn remove(&mut self) -> Result<(), String> {
        self.removed = true;
        let ended = self.end_all();
        let begin = Instant::now();
        let gone = loop {
            // Deepest first.
            let dirs = tree(&self.path);
            let removed: Vec<io::Result<()>> = dirs.iter().rev().map(fs::remove_dir).collect();
            match removed.into_iter().collect::<io::Result<()>>() {
                Ok(()) => break Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => break Ok(()),
                Err(error) if begin.elapsed() >= LIMIT || ended.is_err() => {
                    let path = self.path.display();
                    break Err(format!("{path} could not be removed: {error}"));
                }
                Err(_) => sleep(Duration::from_millis(5)),
            }
        };
        for name in &self.added {
            // Refused where somebody else came to need it.
            let _ = fs::write(
                Path::new(CGROUP_ROOT).join(SUBTREE_CONTROL),
                format!("-{name}"),
            );
        }
        ended.and(gone)
    }
}

impl Drop for RunCgroup {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.remove();
        }
    }
}

/// What the cgroup at `path` passes on.
fn controllers(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path.join(SUBTREE_CONTROL)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// `path` and all directories below, parents first.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut dirs = vec![path.to_owned()];
    let mut at = 0;
    while let Some(dir) = dirs.get(at) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
        dirs.extend(below);
        at += 1;
    }
    dirs
}
