//! A scheduler under test, as data.

use ktstr_core::{Constraints, Preset, Topology};

use crate::Checks;

/// A scheduler that tests can run under; `declare_scheduler!` makes one, and registers it.
///
/// It is a plain constant. [`Scheduler::EEVDF`] is the kernel's own, which tests without a `scheduler` run under.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheduler {
    /// What it is called in results and on the command line.
    pub name: &'static str,
    /// Where it comes from.
    pub source: SchedulerSource,
    /// Arguments of its program; a test's `extra_sched_args` follow.
    pub sched_args: &'static [&'static str],
    /// Arguments of the guest's kernel.
    pub kargs: &'static [&'static str],
    /// Kernel settings, made before it starts: name as for `sysctl`, value.
    pub sysctls: &'static [(&'static str, &'static str)],
    /// Shape of the machine of tests that do not declare one.
    pub topology: Option<Topology>,
    /// Gauntlet presets that its tests accept, where they do not say otherwise, and that `cargo ktstr verifier` tries it
    /// on. Without any, tests get [`Constraints::DEFAULT`] and the verifier every preset.
    pub constraints: Option<Constraints>,
    /// Cgroup of the guest that its program runs in, made first; below the root where it does not say.
    pub cgroup_parent: Option<&'static str>,
    /// A file of the host that the guest finds beside the program, at [`Scheduler::CONFIG_FILE`].
    pub config_file: Option<&'static str>,
    /// How it is given a file whose content is a test's own.
    pub config_file_def: Option<ConfigFileDef>,
    /// Kernels that `cargo ktstr verifier` tries it on, of those of a session; all where nothing is said. Written as for
    /// `--kernel`: a version, a series or a range of them is compared with what the image says its version is, a path
    /// with that of the tree or image, a cache key with the cache entry.
    pub kernels: &'static [&'static str],
    /// Presets that `cargo ktstr verifier` does not try it on, of those within `constraints`.
    pub verifier_exclude_topologies: &'static [Preset],
    /// Reports of the kernel against itself that do not fail its tests and its cells of the verifier sweep: those whose
    /// line contains one of these.
    pub allow_kernel_warnings: &'static [&'static str],
    /// What its tests are judged by, where they do not say otherwise.
    pub assert: Checks,
    /// Where it is declared: what relative paths and cargo packages are looked for from.
    pub manifest_dir: &'static str,
}

/// Where a scheduler comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerSource {
    /// The kernel's own fair scheduler: nothing is loaded.
    Eevdf,
    /// A cargo package of the declaring crate's workspace, with a binary of the same name.
    Package(&'static str),
    /// A program of the host; relative to the declaring crate.
    Path(&'static str),
    /// Part of the kernel under test: shell commands that switch it on, and off again.
    KernelBuiltin {
        /// Each is run by `/bin/sh -c` in the guest, in order.
        enable: &'static [&'static str],
        /// Likewise.
        disable: &'static [&'static str],
    },
}

/// A configuration file whose content each test gives by its `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigFileDef {
    /// Arguments, parted by spaces; `{file}` in them stands for the path.
    pub arg: &'static str,
    /// Where the guest finds the file.
    pub path: &'static str,
}

impl ConfigFileDef {
    /// The arguments with the path in its place.
    pub(crate) fn args(self) -> impl Iterator<Item = String> {
        let words = self.arg.split_whitespace();
        words.map(move |word| word.replace("{file}", self.path))
    }
}

impl Scheduler {
    /// Where the guest finds the program.
    pub const PROGRAM: &'static str = "/scheduler/program";

    /// Where the guest finds `config_file`.
    pub const CONFIG_FILE: &'static str = "/scheduler/config";

    /// The kernel's own.
    pub const EEVDF: Self = Self {
        name: "eevdf",
        source: SchedulerSource::Eevdf,
        sched_args: &[],
        kargs: &[],
        sysctls: &[],
        topology: None,
        constraints: None,
        cgroup_parent: None,
        config_file: None,
        config_file_def: None,
        kernels: &[],
        verifier_exclude_topologies: &[],
        allow_kernel_warnings: &[],
        assert: Checks::NONE,
        manifest_dir: "",
    };

    /// Whether there is something to load and to watch.
    pub const fn is_loaded(&self) -> bool {
        !matches!(self.source, SchedulerSource::Eevdf)
    }

    /// Shape of the machine of a test that declares none.
    pub const fn base_topology(&self) -> Topology {
        match self.topology {
            Some(topology) => topology,
            None => Topology::constant(1, 1, 2, 1),
        }
    }

    /// Presets that a test accepts which says nothing about them.
    pub const fn base_constraints(&self) -> Constraints {
        match self.constraints {
            Some(constraints) => constraints,
            None => Constraints::DEFAULT,
        }
    }
}

/// A registered scheduler; `declare_scheduler!` submits one.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered(pub Scheduler);

inventory::collect!(Registered);
