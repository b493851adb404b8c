//! The words of `shell`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use ktstr_core::Topology;
use ktstr_vmm::Backend;

use super::Base;

/// `cargo ktstr shell`: what `ktstr shell` takes, and tests.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    pub(crate) machine: ShellMachine,

    /// Take topology, memory, kernel arguments, include files and scheduler of this
    /// test: its function, the path of that, or a case such as ktstr/NAME.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topology", "memory_mib"])]
    pub(crate) test: Option<String>,

    /// Build the tests in release mode, to find the test.
    #[arg(long, requires = "test")]
    pub(crate) release: bool,

    /// Arguments for `cargo nextest list`, such as -p PACKAGE, to find the test.
    #[arg(last = true, value_name = "NEXTEST-ARGS", requires = "test")]
    pub(crate) nextest_args: Vec<OsString>,
}

/// What `ktstr shell` takes.
#[derive(Debug, Args)]
pub(crate) struct ShellMachine {
    /// Kernel to boot (see below). Without it, the first of these is used:
    /// `KTSTR_TEST_KERNEL`, `KTSTR_KERNEL`, the newest cached kernel, a built ./linux or
    /// ../linux, the host's own kernel.
    #[arg(long, value_name = "ID")]
    pub(crate) kernel: Option<String>,

    /// Base configuration for a source without a .config [default:
    /// `KTSTR_BASE_CONFIG`, else defconfig].
    #[arg(long, value_name = "BASE", value_enum)]
    pub(crate) base_config: Option<Base>,

    /// NUMA nodes, LLCs, cores per LLC and threads per core, such as 1,2,4,1 or
    /// 1n2l4c1t [default: 1,1,2,1].
    #[arg(long, value_name = "N,L,C,T", value_parser = topology)]
    pub(crate) topology: Option<Topology>,

    /// Memory in MiB; a machine has at least what its topology and files need.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: Option<u32>,

    /// Put this file or directory into /include-files, programs with their libraries;
    /// can be given several times.
    #[arg(short, long = "include-file", value_name = "FILE")]
    pub(crate) include_files: Vec<PathBuf>,

    /// Have the host's files as the root directory; what is written stays in the
    /// machine's memory. QEMU only.
    #[arg(long)]
    pub(crate) host_root: bool,

    /// Let gdb debug the machine's kernel, and print the line to type for it. QEMU only.
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Start this scheduler first: the path of a program, with a /, or a package of
    /// this project, which is built.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) scheduler: Option<PathBuf>,

    /// Argument for the scheduler; can be given several times.
    #[arg(
        long,
        value_name = "ARG",
        requires = "scheduler",
        allow_hyphen_values = true
    )]
    pub(crate) sched_arg: Vec<String>,

    /// Cargo profile to build the scheduler with [default: release].
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Run this command of /bin/sh instead of a shell, with standard input, output and
    /// error of this process.
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,

    /// Show the kernel's messages on standard error as they come.
    #[arg(long)]
    pub(crate) dmesg: bool,

    /// Backend to run the machine on: kvm or qemu [default: `KTSTR_BACKEND`, else KVM
    /// where it works].
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Backend>,

    /// Run the machine of a performance-mode test without performance mode.
    #[arg(long)]
    pub(crate) no_perf_mode: bool,

    /// Run the machine on N host CPUs; it is an error if there are fewer [default: one
    /// more than the machine has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu_cap: Option<u32>,
}

/// `1,2,4,1`, or the short form `1n2l4c1t`.
fn topology(text: &str) -> Result<Topology, String> {
    let numbers: Vec<&str> = text.split(',').map(str::trim).collect();
    let short = match numbers[..] {
        [nodes, llcs, cores, threads] => format!("{nodes}n{llcs}l{cores}c{threads}t"),
        [short] => short.to_owned(),
        _ => return Err("four numbers, such as 1,2,4,1".to_owned()),
    };
    short
        .parse()
        .map_err(|error: ktstr_core::ParseTopologyError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_topology_are_read() {
        let expected = Topology::new(1, 2, 4, 1).unwrap();
        for text in ["1,2,4,1", "1, 2, 4, 1", "1n2l4c1t"] {
            assert_eq!(topology(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "1,2,4",
            "1,2,4,1,1",
            "0,1,1,1",
            "2,3,1,1",
            "1,+2,4,1",
            "x",
        ] {
            assert!(topology(text).is_err(), "{text}");
        }
    }
}
