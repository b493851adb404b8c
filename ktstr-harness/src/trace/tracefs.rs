//! A trace instance of our own: buffers, events and the files to read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::decode::Decoder;
use super::error::TraceError;
use super::function::Function;
use super::page::PageLayout;

/// The kernel's own events that are always watched.
const EVENTS: [&str; 3] = ["sched_switch", "sched_wakeup", "sched_wakeup_new"];

/// What a watch needs of a kernel.
const REMEDY: &str = "the kernel needs CONFIG_FTRACE and tracefs";

/// A CPU's ring buffer, in KiB: what fits into the bounds when all of them share 64 MiB.
const ALL_BUFFERS_KIB: u32 = 64 << 10;
const BUFFER_KIB: (u32, u32) = (128, 1 << 10);

/// From so much of a buffer on, reading it is due.
const READ_PERCENT: &str = "25";

/// Events that are defined for a watch have names that begin so.
const AFFINITY_EVENT: &str = "affinity";

/// What becomes a CPU's tasks or a task's CPUs in the kernel: every change of a task's CPUs goes through it.
const AFFINITY_FUNCTION: &str = "set_cpus_allowed_common";

/// An instance with its events, which exist as long as this does.
#[derive(Debug)]
pub(super) struct Instance {
    tracing: PathBuf,
    dir: PathBuf,
    /// Of the events that were defined for it.
    group: String,
    defined: Vec<String>,
    pub(super) buffer_kib: u32,
}

impl Instance {
    /// Makes one with buffers for `cpus` CPUs; nothing is recorded yet.
    pub(super) fn create(tracing: &Path, name: &str, cpus: usize) -> Result<Self, TraceError> {
        let dir = tracing.join("instances").join(name);
        fs::create_dir(&dir).map_err(|source| TraceError::file(&dir, source, REMEDY))?;
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX).max(1);
        let instance = Self {
            tracing: tracing.to_owned(),
            dir,
            group: name.replace('-', "_"),
            defined: Vec::new(),
            buffer_kib: (ALL_BUFFERS_KIB / cpus).clamp(BUFFER_KIB.0, BUFFER_KIB.1),
        };
        instance.set("buffer_size_kb", &instance.buffer_kib.to_string())?;
        instance.set("trace_clock", "mono")?;
        instance.set("buffer_percent", READ_PERCENT)?;
        Ok(instance)
    }

    /// Switches everything on that is to be watched, and learns how it is written.
    pub(super) fn enable(
        &mut self,
        functions: &[Function],
        migrations: bool,
    ) -> Result<Decoder, TraceError> {
        let mut decoder = Decoder::default();
        let mut files = Vec::new();
        let more = migrations.then_some("sched_migrate_task");
        for event in EVENTS.into_iter().chain(more) {
            let dir = format!("events/sched/{event}");
            decoder.learn(event, &self.read(&format!("{dir}/format"))?)?;
            files.push(dir);
        }
        // A kernel whose CPUs do not come and go has no such event.
        let hotplug = "events/cpuhp/cpuhp_enter";
        if let Ok(format) = self.read(&format!("{hotplug}/format")) {
            decoder.learn("cpuhp_enter", &format)?;
            files.push(hotplug.to_owned());
        }
        if self
            .define(AFFINITY_EVENT, AFFINITY_FUNCTION, "", "pid=p->pid")
            .is_ok()
        {
            let dir = format!("events/{}/{AFFINITY_EVENT}", self.group);
            decoder.learn_affinity(&self.read(&format!("{dir}/format"))?)?;
            files.push(dir);
        }
        for (index, function) in functions.iter().enumerate() {
            function.check()?;
            let event = format!("f{index}");
            let place = if function.at_return { "%return" } else { "" };
            self.define(&event, &function.name, place, &function.arguments())
                .map_err(|why| TraceError::Function {
                    function: function.to_string(),
                    why,
                })?;
            let dir = format!("events/{}/{event}", self.group);
            let format = self.read(&format!("{dir}/format"))?;
            decoder.learn_call(index, function.fields.len(), &format)?;
            files.push(dir);
        }
        for dir in files {
            self.set(&format!("{dir}/enable"), "1")?;
        }
        Ok(decoder)
    }

    /// Defines an event of a function: by fprobe, or by kprobe where that does not reach it. The error is the kernel's.
    fn define(
        &mut self,
        event: &str,
        function: &str,
        place: &str,
        arguments: &str,
    ) -> Result<(), String> {
        let group = &self.group;
        let by_kprobe = if place.is_empty() { "p" } else { "r" };
        let lines = [
            format!("f:{group}/{event} {function}{place} {arguments}"),
            format!("{by_kprobe}:{group}/{event} {function} {arguments}"),
        ];
        let mut why = None;
        for line in lines {
            match self.append(&line) {
                Ok(()) => {
                    self.defined.push(event.to_owned());
                    return Ok(());
                }
                // Of fprobe's words and kprobe's the former say more.
                Err(error) => why = why.or_else(|| Some(self.kernels_words(&error))),
            }
        }
        Err(why.unwrap_or_default())
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let path = self.tracing.join("dynamic_events");
        OpenOptions::new()
            .append(true)
            .open(path)?
            .write_all(line.as_bytes())
    }

    /// What the kernel last said was wrong.
    fn kernels_words(&self, error: &io::Error) -> String {
        let log = fs::read_to_string(self.tracing.join("error_log")).unwrap_or_default();
        let last = log
            .lines()
            .rev()
            .find_map(|line| line.split_once(": error: "));
        match last {
            Some((_, words)) => format!("{} ({error})", words.trim()),
            None => error.to_string(),
        }
    }

    /// The head of the buffer's pages.
    pub(super) fn page_layout(&self) -> Result<PageLayout, TraceError> {
        let path = self.tracing.join("events/header_page");
        // The kernel gives it to the first read alone, however short that is.
        let mut text = [0; 4096];
        let length = File::open(&path)
            .and_then(|mut file| file.read(&mut text))
            .map_err(|source| TraceError::file(&path, source, REMEDY))?;
        let text = String::from_utf8_lossy(&text[..length]);
        Ok(PageLayout::parse(&text)?)
    }

    /// The buffer of a CPU, to be read without waiting.
    pub(super) fn open(&self, cpu: u32) -> Result<File, TraceError> {
        let path = self.dir.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .map_err(|source| TraceError::file(&path, source, REMEDY))
    }

    /// Stops recording.
    pub(super) fn stop(&self) {
        let _ = self.set("tracing_on", "0");
    }

    /// Records that the kernel counted as lost on a CPU, and that its pages do not tell: it had no place to write to.
    pub(super) fn dropped(&self, cpu: u32) -> u64 {
        let stats = self
            .read(&format!("per_cpu/cpu{cpu}/stats"))
            .unwrap_or_default();
        let counts = stats.lines().filter_map(|line| {
            let (name, count) = line.split_once(": ")?;
            matches!(name, "commit overrun" | "dropped events")
                .then(|| count.trim().parse::<u64>().ok())?
        });
        counts.sum()
    }

    fn set(&self, file: &str, value: &str) -> Result<(), TraceError> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(|source| TraceError::file(&path, source, REMEDY))
    }

    fn read(&self, file: &str) -> Result<String, TraceError> {
        let path = self.dir.join(file);
        fs::read_to_string(&path).map_err(|source| TraceError::file(&path, source, REMEDY))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.dir);
        for event in &self.defined {
            let _ = self.append(&format!("-:{}/{event}", self.group));
        }
    }
}

/// Removes the instances of processes that have ended, and those of this one, of which none is in use any more.
pub(crate) fn remove_abandoned(tracing: &Path) {
    let instances = fs::read_dir(tracing.join("instances"))
        .into_iter()
        .flatten()
        .flatten();
    for entry in instances {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(super::session::INSTANCE);
        let pid = rest
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        let is_over =
            |pid: u32| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists();
        if !pid.is_some_and(is_over) {
            continue;
        }
        let group = name.replace('-', "_");
        let defined = fs::read_to_string(tracing.join("dynamic_events")).unwrap_or_default();
        let events = defined.lines().filter_map(|line| {
            let (_, event) = line.split_whitespace().next()?.split_once(':')?;
            let (of, event) = event.split_once('/')?;
            (of == group).then(|| event.to_owned())
        });
        drop(Instance {
            tracing: tracing.to_owned(),
            dir: entry.path(),
            group: group.clone(),
            defined: events.collect(),
            buffer_kib: 0,
        });
    }
}
