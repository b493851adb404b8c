//! Init of the host in `tests/nested.rs`: a machine that emulates SVM, whose kernel therefore has a real KVM.
//!
//! Loads the modules in `/modules` in order of their names, runs the command in `/command` (a word per line; `NAME=value`
//! lines before it are its environment), shows the records it left in `KTSTR_SIDECAR_DIR`, says how it ended, and turns
//! the machine off.

use std::fs::{self, File};
use std::io;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

fn main() {
    let said = match run() {
        Ok(status) => format!("{status}"),
        Err(error) => format!("failed: {error}"),
    };
    println!("nested host: {said}");
    // Reached only when there is no way to power off: then the machine's deadline ends it.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}

fn run() -> Result<std::process::ExitStatus, Box<dyn std::error::Error>> {
    for (kind, path) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("cgroup2", "/sys/fs/cgroup"),
        // KVM lists its machines there, and counts their exits.
        ("debugfs", "/sys/kernel/debug"),
    ] {
        fs::create_dir_all(path)?;
        mount(kind, path, kind, MountFlags::empty(), None)?;
    }
    let mut modules: Vec<_> = fs::read_dir("/modules")?.collect::<io::Result<_>>()?;
    modules.sort_by_key(fs::DirEntry::file_name);
    for module in modules {
        let path = module.path();
        finit_module(File::open(&path)?, c"", 0)
            .map_err(|errno| format!("{}: {errno}", path.display()))?;
    }
    let words = fs::read_to_string("/command")?;
    let mut words = words.lines().peekable();
    let mut environment = Vec::new();
    while let Some(pair) = words.next_if(|word| word.contains('=') && !word.starts_with('/')) {
        environment.extend(pair.split_once('='));
    }
    let program = words.next().ok_or("/command names no program")?;
    let records = environment
        .iter()
        .find(|(name, _)| *name == "KTSTR_SIDECAR_DIR")
        .map(|(_, dir)| *dir);
    let status = Command::new(program)
        .args(words)
        .envs(environment.iter().copied())
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .status()?;
    for record in records.map(fs::read_dir).transpose()?.into_iter().flatten() {
        println!("{}", fs::read_to_string(record?.path())?);
    }
    Ok(status)
}
