//! `shell`: a shell or a command in a machine, at this process's terminal or with its streams.

mod guardian;
mod raw;
mod signals;

use std::env::current_dir;
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use ktstr_driver::Session;
use ktstr_driver::kernels::{self, KernelOptions, KernelsError};
use ktstr_driver::shell::GdbSocket;
use ktstr_driver::shell::{
    Shell as Run, ShellControl, ShellEnd, ShellError, ShellExit, ShellOutcome, ShellScheduler,
    ShellStreams,
};
use ktstr_driver::{NextestStreams, TestMachine};
use ktstr_harness::runner::RunEvent;
use ktstr_kernel::BaseConfig;
use ktstr_render::progress::Reporter;
use ktstr_render::shell as text;
use ktstr_vmm::CancelToken;
use rustix::termios::isatty;

use crate::Context;
use crate::cli::{Shell, ShellMachine};
use crate::failure::Failure;
use crate::terminal::{reporter, tell};
use raw::RawTerminal;
use signals::Signals;

pub(crate) use guardian::become_guardian;

/// The exit status where the shell has none: what `timeout` and `docker run` have for a failure of their own.
const FAILED: u8 = 125;

/// `cargo ktstr shell`.
pub(crate) fn run(arguments: &Shell, context: &Context) -> ExitCode {
    status(|| {
        let reporter = reporter(&context.style);
        let mut shell = unprepared(&arguments.machine, context)?;
        if let Some(test) = &arguments.test {
            let session = Session::new(context.host.clone(), current_dir()?)
                .release(arguments.release)
                .streams(NextestStreams::Foreground)
                .nextest_args(arguments.nextest_args.iter().cloned());
            let mut found = session.machines(test, &reporter, &CancelToken::new()?)?;
            let is_elsewhere = |it: &TestMachine| it.binary != found[0].binary;
            if found.iter().any(is_elsewhere) {
                let (program, binary) = (&context.style.program, found[0].binary.display());
                tell(format_args!(
                    "{program}: several test binaries have `{test}`; this is that of {binary}, -- -p PACKAGE names another\n"
                ));
            }
            shell = shell.on_machine_of(found.swap_remove(0))?;
        }
        in_machine(shell, &arguments.machine, context, &reporter)
    })
}

/// `ktstr shell`.
pub(crate) fn run_standalone(arguments: &ShellMachine, context: &Context) -> ExitCode {
    status(|| {
        let shell = unprepared(arguments, context)?;
        in_machine(shell, arguments, context, &reporter(&context.style))
    })
}

fn status(run: impl FnOnce() -> Result<u8, Failure>) -> ExitCode {
    ExitCode::from(run().unwrap_or_else(|failure| {
        tell(failure.text());
        FAILED
    }))
}

/// The shell that `arguments` describe, of which nothing was looked for.
fn unprepared(arguments: &ShellMachine, context: &Context) -> Result<Run, Failure> {
    let dir = current_dir()?;
    let mut shell = Run::new(context.host.clone(), dir.clone());
    if let Some(topology) = arguments.topology {
        shell.topology = topology;
    }
    shell.memory_mib = arguments.memory_mib.unwrap_or(0);
    shell.include_files.clone_from(&arguments.include_files);
    if let Some(profile) = &arguments.profile {
        shell.scheduler_profile.clone_from(profile);
    }
    if let Some(scheduler) = &arguments.scheduler {
        let args = arguments.sched_arg.clone();
        let profile = &shell.scheduler_profile;
        shell.scheduler = Some(ShellScheduler::named(scheduler, args, &dir, profile)?);
    }
    shell.host_root = arguments.host_root;
    shell.command.clone_from(&arguments.exec);
    shell.backend = arguments.backend;
    shell.no_perf_mode = arguments.no_perf_mode;
    shell.cpu_cap = arguments.cpu_cap;
    shell.verbose_console = arguments.dmesg;
    Ok(shell)
}

/// Runs the shell; returns the exit status.
fn in_machine(
    mut shell: Run,
    arguments: &ShellMachine,
    context: &Context,
    reporter: &Reporter,
) -> Result<u8, Failure> {
    if let Some(identifier) = &arguments.kernel {
        shell = on_kernel(shell, identifier, arguments, context, reporter)?;
    }
    let gdb = arguments
        .gdb
        .then(|| GdbSocket::new(&context.host))
        .transpose();
    let gdb = gdb.map_err(|error| {
        Failure::new(format!(
            "no directory for a debugger's socket: {error}; set TMPDIR to one"
        ))
    })?;
    if let Some(gdb) = &gdb {
        shell.gdb = Some(gdb.path());
    }
    let (input, output, error) = (stdin(), stdout(), stderr());
    if shell.command.is_none() && isatty(&input) {
        shell.terminal = Some(raw::size(&input));
    }
    let at_terminal = shell.terminal.is_some();
    let cancel = CancelToken::new()?;
    let control = Arc::new(ShellControl::new()?);
    let signals = Signals::watch(at_terminal, cancel.clone(), Arc::clone(&control))?;
    let streams = ShellStreams {
        input: input.as_fd(),
        output: output.as_fd(),
        error: error.as_fd(),
        console: shell.verbose_console.then(|| error.as_fd()),
        control: &control,
    };
    // A command in a script has standard error to itself, unless something goes wrong.
    let is_quiet = shell.command.is_some();
    let mut notes = Vec::new();
    let mut raw = None;
    let topology = shell.topology;
    let vmlinux = gdb.as_ref().and_then(|_| shell.symbols());
    let end = if at_terminal { "\r\n" } else { "\n" };
    let program = &context.style.program;
    let mut release = String::new();
    let mut observer = |event: RunEvent<'_>| match event {
        RunEvent::Note(note) if is_quiet || raw.is_some() => notes.push(note.to_owned()),
        RunEvent::Note(note) => tell(format_args!("{program}: {note}\n")),
        RunEvent::WaitingForHostCpus if !is_quiet || isatty(stderr()) => {
            tell(format_args!(
                "{program}: other machines have the host CPUs; waiting\n"
            ));
        }
        RunEvent::MachineStarting { .. } => {
            if let Some(gdb) = &gdb {
                tell(text::debugger(&gdb.command(vmlinux.as_deref()), program));
            }
        }
        RunEvent::SchedulerBuildFailed(log) => tell(log),
        RunEvent::SchedulerGone(note) => tell(format_args!("{program}: {note}{end}")),
        RunEvent::SchedulerLog(log) => tell(text::scheduler_log(log, end)),
        RunEvent::GuestReady { kernel_release } => kernel_release.clone_into(&mut release),
        RunEvent::BodyStarted => {
            if at_terminal {
                tell(text::greeting(&release, topology, program));
                raw = RawTerminal::enter(stdin());
            }
            signals.started(raw.as_ref().and_then(RawTerminal::modes));
        }
        _ => {}
    };
    let result = shell.run(streams, &mut observer, &cancel);
    let was_cut_off = !matches!(&result, Ok(outcome) if matches!(outcome.end, ShellEnd::Exited(_)));
    if let Some(raw) = raw.take() {
        raw.leave(was_cut_off);
    }
    let is_machines = |end: &ShellEnd| matches!(end, ShellEnd::Machine(_));
    if matches!(&result, Ok(outcome) if is_machines(&outcome.end)) {
        for note in notes {
            tell(format_args!("{program}: {note}\n"));
        }
    }
    match result {
        Ok(outcome) => Ok(ended(&outcome, program)),
        Err(ShellError::Cancelled) => match signals.ended_by() {
            Some(signal) => Ok(u8::try_from(128 + signal).unwrap_or(FAILED)),
            None => Err(ShellError::Cancelled.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The same on the kernel that `identifier` names, which is built first where that is needed.
fn on_kernel(
    shell: Run,
    identifier: &str,
    arguments: &ShellMachine,
    context: &Context,
    reporter: &Reporter,
) -> Result<Run, Failure> {
    let options = KernelOptions {
        base_config: arguments.base_config.map(BaseConfig::from),
        cpu_cap: arguments.cpu_cap,
        ..KernelOptions::default()
    };
    // Before any of a range is fetched and built.
    match kernels::releases(&context.host, identifier, false, reporter) {
        Ok(listed) if listed.versions.len() > 1 => {
            return Err(Failure::new(format!(
                "--kernel {identifier} names {} kernels, and a machine has one; give one of {}",
                listed.versions.len(),
                listed.versions.join(", ")
            )));
        }
        Ok(_) | Err(KernelsError::NotARange { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = |_: &_, _: &_| {};
    let kernels = kernels::resolve(&context.host, &[identifier], options, reporter, &mut ready)?;
    match &kernels[..] {
        [kernel] => Ok(shell.on_kernel(kernel)),
        _ => Err(Failure::new(format!(
            "--kernel {identifier} names {} kernels, and a machine has one",
            kernels.len()
        ))),
    }
}

/// Tells how it ended, where that is not for the shell to tell; the exit status.
fn ended(outcome: &ShellOutcome, program: &str) -> u8 {
    if let Some(told) = text::end(outcome, program) {
        tell(told);
    }
    match &outcome.end {
        ShellEnd::Exited(exit @ (ShellExit::Exited(_) | ShellExit::Killed { .. })) => {
            exit.status().unwrap_or(FAILED)
        }
        _ => FAILED,
    }
}
