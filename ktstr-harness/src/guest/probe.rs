//! Probes on the kernel's side of a scheduler, in a trace instance of their own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ktstr_vmm::BoundedLog;

use super::trace::TRACING;
use crate::probe::{
    EXIT_EVENT, GROUP, ProbePlan, ProbeReport, ProbedFunction, STOP_EVENT, TRACE_LIMIT, program_of,
    trampoline_of,
};

/// The ring buffers of all CPUs together, in KiB; they keep the newest.
const BUFFERS_KIB: u32 = 4 << 10;

/// The ring buffer of one CPU, in KiB.
const BUFFER_KIB: (u32, u32) = (64, 1 << 10);

/// How long defining probes may take: 30 ms each with 4 emulated CPUs, 100 ms with 64, on a host that does nothing else.
/// Against hanging only: with some of them missing a call that matters may be missing.
const ARM_LIMIT: Duration = Duration::from_secs(120);

/// How long the recording may take to read: emulated, tens of microseconds for each line.
const READ_LIMIT: Duration = Duration::from_secs(40);

/// What is recorded of a task, as `name=field`. Its name comes last: it may contain anything.
const TASK: &[(&str, &str)] = &[
    ("pid", "pid"),
    ("cpu", "thread_info.cpu"),
    ("slice", "scx.slice"),
    ("vtime", "scx.dsq_vtime"),
    ("flags", "scx.flags:x32"),
    ("name", "comm:string"),
];

/// Armed probes.
#[derive(Debug)]
pub(super) struct Probes {
    instance: PathBuf,
    report: ProbeReport,
}

impl Probes {
    /// Arms what can be armed of `plan` on a machine of `cpus`; whatever fails is in the report.
    ///
    /// Before the scheduler starts: it may fail within milliseconds.
    pub(super) fn arm(plan: &ProbePlan, cpus: u32) -> Self {
        let tracing = Path::new(TRACING);
        let mut probes = Self {
            instance: tracing.join("instances").join(GROUP),
            report: ProbeReport::default(),
        };
        probes.report.problem = probes.try_arm(plan, cpus, tracing).err();
        probes
    }

    fn try_arm(&mut self, plan: &ProbePlan, cpus: u32, tracing: &Path) -> Result<(), String> {
        let offers = fs::read_to_string(tracing.join("README"))
            .map_err(|error| format!("tracefs: {error}; the kernel needs CONFIG_FTRACE"))?;
        needs(&offers)?;
        let fail = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        fs::create_dir(&self.instance).map_err(fail("a trace instance"))?;
        let size = (BUFFERS_KIB / cpus.max(1)).clamp(BUFFER_KIB.0, BUFFER_KIB.1);
        self.set("buffer_size_kb", &size.to_string())
            .map_err(fail("its buffer"))?;
        // One clock for all CPUs. Where it is refused the default is nearly as good.
        let _ = self.set("trace_clock", "mono");

        let mut events = OpenOptions::new()
            .append(true)
            .open(tracing.join("dynamic_events"))
            .map_err(fail("dynamic_events"))?;
        let mut define = |line: &str| events.write_all(line.as_bytes()).is_ok();
        let exit = plan.exits.iter().any(|name| {
            let args = "kind=kind:u32 code=exit_code:s64";
            define(&format!("f:{GROUP}/{EXIT_EVENT} {name} {args}"))
                || define(&format!("p:{GROUP}/{EXIT_EVENT} {name} {args}"))
        });
        if !exit {
            return Err("this kernel does not let the end of a scheduler be probed".to_owned());
        }
        for (index, name) in plan.stops.iter().enumerate() {
            let event = format!("{STOP_EVENT}{index}");
            if define(&format!("f:{GROUP}/{event} {name}"))
                || define(&format!("p:{GROUP}/{event} {name}"))
            {
                // A condition makes the kernel write the event itself first; this one always holds.
                let _ = self.set_event(&event, "trigger", "traceoff if common_pid >= 0");
            }
        }
        let deadline = Instant::now() + ARM_LIMIT;
        for (index, function) in plan.functions.iter().enumerate() {
            self.report.late |= Instant::now() >= deadline;
            let armed = (!self.report.late).then(|| arm(index, function, &mut define));
            self.report.armed.push(armed.flatten());
        }
        if self.report.armed.iter().all(Option::is_none) {
            return Err("this kernel let none of the functions be probed".to_owned());
        }
        if !plan.only.is_empty() {
            let is_it = |name: &String| format!("name == \"{name}\"");
            let filter = plan.only.iter().map(is_it).collect::<Vec<_>>().join(" || ");
            for index in 0..plan.functions.len() {
                let _ = self.set_event(&format!("e{index}"), "filter", &filter);
                let _ = self.set_event(&format!("r{index}"), "filter", &filter);
            }
        }
        self.set(&format!("events/{GROUP}/enable"), "1")
            .map_err(fail("switching the probes on"))
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.instance.join(file), value)
    }

    fn set_event(&self, event: &str, file: &str, value: &str) -> io::Result<()> {
        self.set(&format!("events/{GROUP}/{event}/{file}"), value)
    }

    /// Records the program and the callbacks of the enabled scheduler.
    pub(super) fn note_scheduler(&mut self, pid: Option<i32>) {
        self.report.scheduler_pid = pid;
        if let Ok(symbols) = File::open("/proc/kallsyms") {
            self.report.callbacks = callbacks(BufReader::new(symbols));
        }
    }

    /// The report: with the recording, where that is `wanted`.
    pub(super) fn into_report(mut self, wanted: bool) -> ProbeReport {
        let _ = self.set("tracing_on", "0");
        if wanted && self.report.problem.is_none() {
            let read = File::open(self.instance.join("trace"))
                .and_then(|trace| newest(trace, Instant::now() + READ_LIMIT));
            match read {
                Ok((trace, cut)) => {
                    self.report.trace = trace;
                    self.report.cut = cut;
                }
                Err(error) => self.report.problem = Some(format!("the recording: {error}")),
            }
        }
        self.report
    }
}

/// Whether the kernel has what probes take, by what tracefs says about itself.
fn needs(offers: &str) -> Result<(), String> {
    let has = |word: &str| {
        offers
            .lines()
            .any(|line| line.trim_start().starts_with(word))
    };
    if !has("f[:") && !has("f[<") && !has("p[:") {
        return Err(
            "this kernel has no probe events; build it with CONFIG_FPROBE_EVENTS".to_owned(),
        );
    }
    if !has("<argname>[->field") {
        let config = "CONFIG_PROBE_EVENTS_BTF_ARGS";
        return Err(format!(
            "probe events of this kernel do not know types; build it with {config}"
        ));
    }
    Ok(())
}

/// Defines the events of one function, and gives the name it was found by.
fn arm(
    index: usize,
    function: &ProbedFunction,
    define: &mut dyn FnMut(&str) -> bool,
) -> Option<String> {
    let tasks = function.tasks.iter().map(|task| Some(task.as_str()));
    // The last resort records no task, only the call. Kprobes reach some functions that fprobes do not.
    let tasks: Vec<_> = tasks.chain([None]).collect();
    for name in &function.names {
        for task in &tasks {
            for (entry, exit) in [
                (
                    format!("f:{GROUP}/e{index} {name}"),
                    format!("f:{GROUP}/r{index} {name}%return"),
                ),
                (
                    format!("p:{GROUP}/e{index} {name}"),
                    format!("r:{GROUP}/r{index} {name}"),
                ),
            ] {
                let state = task.map(state_of).unwrap_or_default();
                let args = if task.is_some() || function.tasks.is_empty() {
                    function.args.join(" ")
                } else {
                    String::new()
                };
                if !define(&format!("{entry} {args} {state}")) {
                    continue;
                }
                let result = if function.returns { "ret=$retval" } else { "" };
                // A function that is about to run on may lack its end.
                define(&format!("{exit} {result} {state}"));
                return Some(name.clone());
            }
        }
    }
    None
}

/// What to record of the task that is `expression`.
fn state_of(expression: &str) -> String {
    let fields = TASK
        .iter()
        .map(|(name, field)| format!("{name}={expression}->{field}"));
    fields.collect::<Vec<_>>().join(" ")
}

/// The callbacks that BPF programs implement, by the kernel's list of symbols.
fn callbacks(symbols: impl BufRead) -> Vec<String> {
    let (mut trampolines, mut programs) = (Vec::new(), Vec::new());
    for line in symbols.lines().map_while(Result::ok) {
        let Some(symbol) = line
            .strip_suffix("\t[bpf]")
            .and_then(|line| line.split(' ').next_back())
        else {
            continue;
        };
        trampolines.extend(trampoline_of(symbol));
        programs.extend(program_of(symbol));
    }
    // Older kernels do not name trampolines.
    let mut found = if trampolines.is_empty() {
        programs
    } else {
        trampolines
    };
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

/// The end of what `trace` gives until `deadline`, at most [`TRACE_LIMIT`] bytes; whether the deadline cut it.
fn newest(mut trace: impl Read, deadline: Instant) -> io::Result<(String, bool)> {
    let mut kept = BoundedLog::with_limits(0, TRACE_LIMIT);
    let mut chunk = [0; 16 << 10];
    let mut cut = false;
    loop {
        match trace.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => kept.push(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            cut = true;
            break;
        }
    }
    let text = String::from_utf8_lossy(&kept.into_bytes()).into_owned();
    Ok((text, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let readme = "\t  dynamic_events\n\t           f[:[<group>/][<event>]] <func-name>[%return] [<args>]\n";
        assert!(
            needs(readme)
                .unwrap_err()
                .contains("CONFIG_PROBE_EVENTS_BTF_ARGS")
        );
        let typed = format!("{readme}\t           <argname>[->field[->field|.field...]],\n");
        assert_eq!(needs(&typed), Ok(()));
        assert!(
            needs("nothing\n")
                .unwrap_err()
                .contains("CONFIG_FPROBE_EVENTS")
        );
    }

    #[test]
    fn the_first_that_can_be_probed_is_taken() {
        let function = ProbedFunction {
            names: vec!["newer".to_owned(), "older".to_owned()],
            tasks: vec!["p".to_owned(), "prev".to_owned()],
            args: vec!["dsq=dsq_id:x64".to_owned()],
            returns: true,
        };
        let mut defined = Vec::new();
        let name = arm(3, &function, &mut |line| {
            let takes = line.contains(" older") && line.contains("prev->pid");
            defined.extend(takes.then(|| line.to_owned()));
            takes
        });
        assert_eq!(name.as_deref(), Some("older"));
        assert_eq!(defined.len(), 2, "{defined:?}");
        assert!(defined[0].starts_with("f:ktstr/e3 older dsq=dsq_id:x64 pid=prev->pid cpu="));
        assert!(defined[1].starts_with("f:ktstr/r3 older%return ret=$retval pid=prev->pid "));
        assert!(defined[1].ends_with(" name=prev->comm:string"));
        assert_eq!(arm(0, &function, &mut |_| false), None);
    }

    #[test]
    fn callbacks_are_read_from_symbols() {
        let program = "ffffffffc0341114 t bpf_prog_061541e7311a2e3e_qmap_enqueue\t[bpf]\n";
        let trampoline = "ffffffffc03435a8 t bpf__sched_ext_ops_tick\t[bpf]\n";
        let other = "ffffffffb51878d0 T bpf_prog_free_init\n";
        assert_eq!(
            callbacks(format!("{other}{program}").as_bytes()),
            ["enqueue"]
        );
        assert_eq!(
            callbacks(format!("{program}{trampoline}").as_bytes()),
            ["tick"]
        );
    }

    #[test]
    fn a_recording_of_any_length_is_bounded_and_its_end_kept() {
        let flood = io::repeat(b'x').take(8 << 20).chain(&b"the end\n"[..]);
        let (text, cut) = newest(flood, Instant::now() + Duration::from_secs(60)).unwrap();
        assert!(text.len() < TRACE_LIMIT + 200 && text.ends_with("the end\n") && !cut);
        let (_, cut) = newest(io::repeat(b'x'), Instant::now()).unwrap();
        assert!(cut);
    }
}
