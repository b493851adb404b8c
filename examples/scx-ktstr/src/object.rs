//! The BPF side: loading it with its switches, attaching it, and what it says about its end.

use std::fmt;
use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapCore, MapFlags, Object, ObjectBuilder, OpenObject};

use crate::options::{MAX_CGROUP_NAME, Options};

/// The compiled `bpf/main.bpf.c`; empty where there was no clang to compile it.
#[cfg(not(bpf_left_out))]
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scheduler.bpf.o"));
#[cfg(bpf_left_out)]
const OBJECT: &[u8] = &[];

/// Whether there is something to load.
pub(crate) const IS_BUILT_IN: bool = !OBJECT.is_empty();

/// Names in the object.
const OPS: &str = "ktstr";
const SWITCHES: &str = ".rodata.ktstr";
const EXIT_RECORD: &str = ".data.exit";

/// `SCX_OPS_ENQ_LAST` of the kernel: a task that is alone on its CPU passes through `enqueue` too.
const ENQ_LAST: u64 = 1 << 1;

/// `SCX_OPS_SWITCH_PARTIAL` of the kernel: tasks that do not ask for `SCHED_EXT` stay where they are.
const SWITCH_PARTIAL: u64 = 1 << 3;

/// The kernel moves every task to its own scheduler before it calls `exit`.
const EXIT_LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// What goes wrong between the program and the kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error(
        "the scheduler was left out of this build for want of clang; install clang-19 and build again"
    )]
    LeftOut,
    #[error("opening the BPF object: {0}; its build is broken")]
    Open(#[source] libbpf_rs::Error),
    #[error("the BPF object has no fitting `{0}`; bpf/ and src/object.rs disagree")]
    Layout(&'static str),
    #[error(
        "loading the BPF object: {0}; it takes root and a kernel with CONFIG_SCHED_CLASS_EXT and CONFIG_DEBUG_INFO_BTF"
    )]
    Load(#[source] libbpf_rs::Error),
    #[error("attaching: {0}; see the kernel's log, and whether another scheduler is enabled")]
    Attach(#[source] libbpf_rs::Error),
    #[error("reading the exit record: {0}")]
    Record(#[source] libbpf_rs::Error),
    #[error("the kernel did not end the scheduler within {} s of being told to", EXIT_LIMIT.as_secs())]
    NoEnd,
}

/// A scheduler that the kernel has verified.
pub(crate) struct Loaded(Object);

/// An enabled scheduler. Dropping it disables it.
pub(crate) struct Attached {
    link: Link,
    object: Object,
}

impl Loaded {
    /// Has the kernel verify the scheduler that `options` describe; what it says goes to stderr.
    pub(crate) fn new(options: &Options, loader: u32) -> Result<Self, ObjectError> {
        if !IS_BUILT_IN {
            return Err(ObjectError::LeftOut);
        }
        // libelf wants it aligned, as allocations are and constants of bytes are not.
        let object = OBJECT.to_vec();
        let mut open = ObjectBuilder::default()
            .open_memory(&object)
            .map_err(ObjectError::Open)?;
        write(&mut open, SWITCHES, 0, &switches(options, loader))?;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags =
            flag(needs_every_task(options), ENQ_LAST) | flag(options.partial, SWITCH_PARTIAL);
        write(&mut open, OPS, 0, &flags.to_ne_bytes())?;
        if let Some(timeout) = options.timeout {
            let millis = timeout.as_millis() as u32;
            write(&mut open, OPS, 8, &millis.to_ne_bytes())?;
        }
        for mut program in open.progs_mut() {
            match program.name().to_str() {
                Some("rejected") => {
                    program.set_autoload(options.fail_verify && !options.verifier_loop);
                }
                Some("long_way") => program.set_autoload(options.verifier_loop),
                _ => {}
            }
        }
        open.load().map(Self).map_err(ObjectError::Load)
    }

    /// Enables it.
    pub(crate) fn attach(self) -> Result<Attached, ObjectError> {
        let Self(mut object) = self;
        let link = {
            let mut ops = object
                .maps_mut()
                .find(|map| map.name() == OPS)
                .ok_or(ObjectError::Layout(OPS))?;
            ops.attach_struct_ops().map_err(ObjectError::Attach)?
        };
        Ok(Attached { link, object })
    }
}

impl Attached {
    /// How it ended, if it has.
    pub(crate) fn exit(&self) -> Result<Option<Exit>, ObjectError> {
        exit(&self.object)
    }

    /// Takes it out of force.
    pub(crate) fn detach(self) -> Result<Exit, ObjectError> {
        let Self { link, object } = self;
        drop(link);
        let begin = Instant::now();
        loop {
            if let Some(exit) = exit(&object)? {
                return Ok(exit);
            }
            if begin.elapsed() >= EXIT_LIMIT {
                return Err(ObjectError::NoEnd);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Faults that have to get hold of every task.
fn needs_every_task(options: &Options) -> bool {
    options.stall_after.is_some()
        || options.wrong_cpu
        || options.crowd
        || options.idle_cpu.is_some()
        || !options.burn.is_zero()
        || options.starve.is_some()
        || options.pin.is_some()
}

/// `struct switches` of `bpf/faults.h`.
fn switches(options: &Options, loader: u32) -> Vec<u8> {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let numbers = [
        nanos(options.slice),
        // 0 is never.
        options.stall_after.map_or(0, |after| nanos(after).max(1)),
        options.error_after.unwrap_or(0),
        nanos(options.burn),
        options.wrong_cpu.into(),
        options.crowd.into(),
        needs_every_task(options).into(),
        options.fail_verify.into(),
        options.ignore_weights.into(),
        options.refuse_after.unwrap_or(0),
        loader.into(),
        // 0 is none.
        options.idle_cpu.map_or(0, |cpu| u64::from(cpu) + 1),
    ];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
    for cgroup in [&options.starve, &options.burn_cgroup, &options.pin] {
        let mut name = [0; MAX_CGROUP_NAME + 1];
        let cgroup = cgroup.as_deref().unwrap_or_default().as_bytes();
        name[..cgroup.len()].copy_from_slice(cgroup);
        bytes.extend(name);
    }
    bytes
}

/// Writes into a map before it is loaded.
fn write(
    open: &mut OpenObject,
    map: &'static str,
    at: usize,
    bytes: &[u8],
) -> Result<(), ObjectError> {
    let layout = ObjectError::Layout(map);
    let Some(mut map) = open.maps_mut().find(|found| found.name() == map) else {
        return Err(layout);
    };
    match map.initial_value_mut() {
        Some(value) if value.len() >= at + bytes.len() => {
            value[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        _ => Err(layout),
    }
}

fn exit(object: &Object) -> Result<Option<Exit>, ObjectError> {
    let layout = ObjectError::Layout(EXIT_RECORD);
    let Some(map) = object.maps().find(|map| map.name() == EXIT_RECORD) else {
        return Err(layout);
    };
    let record = map
        .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
        .map_err(ObjectError::Record)?
        .ok_or(layout)?;
    Exit::read(&record)
}

/// How the kernel ended a scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// `enum scx_exit_kind` of the kernel.
    pub(crate) kind: u32,
    code: i64,
    reason: String,
    message: String,
}

impl Exit {
    /// `SCX_EXIT_UNREG`: somebody in user space wanted it so.
    const UNREG: u32 = 64;

    /// Reads `exit_record` of `bpf/main.bpf.c`; `None` while nothing is recorded.
    fn read(record: &[u8]) -> Result<Option<Self>, ObjectError> {
        let record: &[u8; 16 + 128 + 1024] = record
            .try_into()
            .map_err(|_| ObjectError::Layout(EXIT_RECORD))?;
        let number =
            |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("4 bytes"));
        if number(0) == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            kind: number(4),
            code: i64::from_ne_bytes(record[8..16].try_into().expect("8 bytes")),
            reason: text(&record[16..144]),
            message: text(&record[144..]),
        }))
    }

    /// Whether it ended because its program let it go.
    pub(crate) fn is_by_request(&self) -> bool {
        self.kind == Self::UNREG
    }
}

/// One line, whatever the kernel's text holds.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kind {} ({}), code {}, message {:?}",
            self.kind, self.reason, self.code, self.message
        )
    }
}

/// Up to the NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_laid_out_like_the_struct() {
        let options = Options {
            stall_after: Some(Duration::ZERO),
            idle_cpu: Some(3),
            starve: Some("x".repeat(MAX_CGROUP_NAME)),
            burn_cgroup: Some("y".repeat(MAX_CGROUP_NAME)),
            pin: Some("z".to_owned()),
            ..Options::default()
        };
        let bytes = switches(&options, 7);
        assert_eq!(bytes.len(), 12 * 8 + 3 * 64);
        let number = |index: usize| &bytes[8 * index..8 * (index + 1)];
        assert_eq!(number(0), 20_000_000_u64.to_ne_bytes());
        assert_eq!(number(1), 1_u64.to_ne_bytes(), "0 would mean never");
        assert_eq!(number(6), 1_u64.to_ne_bytes());
        assert_eq!(number(10), 7_u64.to_ne_bytes());
        assert_eq!(number(11), 4_u64.to_ne_bytes());
        assert_eq!(bytes[12 * 8 + 62..12 * 8 + 65], *b"x\0y");
        assert_eq!(bytes[12 * 8 + 126..12 * 8 + 130], *b"y\0z\0");
        assert_eq!(bytes.last(), Some(&0));
    }

    #[test]
    fn exit_records_are_read() {
        let mut record = vec![0; 16 + 128 + 1024];
        assert_eq!(Exit::read(&record).unwrap(), None);
        assert!(Exit::read(&record[1..]).is_err());
        record[..4].copy_from_slice(&1_u32.to_ne_bytes());
        record[4..8].copy_from_slice(&1025_u32.to_ne_bytes());
        record[8..16].copy_from_slice(&(-1_i64).to_ne_bytes());
        record[16..21].copy_from_slice(b"error");
        record[144..].fill(b'\n');
        let exit = Exit::read(&record).unwrap().unwrap();
        assert!(!exit.is_by_request());
        let line = exit.to_string();
        assert!(
            line.starts_with("kind 1025 (error), code -1, message \"\\n"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
