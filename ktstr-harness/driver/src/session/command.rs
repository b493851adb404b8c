//! The commands that a session starts, with all that is the session's.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_harness::cases::NamedKernel;
use ktstr_harness::dispatch::{SessionInfo, format_kernel_list};
use ktstr_harness::runner::own_epoch;

use super::Session;
use super::budget::Selected;
use super::error::SessionError;
use crate::{cargo, process};

impl Session {
    /// `cargo nextest list`, for JSON.
    pub(crate) fn list_command(&self, epoch: &str) -> Result<Command, SessionError> {
        let mut command = self.cargo_command(&self.build_host(), epoch)?;
        command.args(["nextest", "list"]);
        self.add_manner(&mut command);
        if let Some(measurement) = &self.coverage {
            command.args(measurement.list_args(&self.nextest_args));
        }
        command.args(["--message-format", "json"]);
        Ok(command)
    }

    /// `cargo nextest run`, or what runs it where coverage is measured, but for its arguments.
    pub(super) fn run_command(&self, epoch: &str) -> Result<Command, SessionError> {
        let mut command = self.cargo_command(&self.host, epoch)?;
        match &self.coverage {
            Some(measurement) => command.args(measurement.run_words()),
            None => command.args(["nextest", "run"]),
        };
        self.add_manner(&mut command);
        Ok(command)
    }

    fn add_manner(&self, command: &mut Command) {
        if self.release {
            command.arg("--release");
        }
        if let Some(profile) = &self.nextest_profile {
            command.args(["--profile", profile]);
        }
    }

    /// Cargo in the environment of `host`, without arguments.
    ///
    /// The environment has the variables of what the session decided that users set by hand as well. Tests are told by the
    /// [session's file](Session::info); this is for programs that tests start, and test programs that are not ktstr's.
    pub(crate) fn cargo_command(&self, host: &Host, epoch: &str) -> Result<Command, SessionError> {
        let mut command = process::command(host, cargo::program(host));
        command.current_dir(&self.dir);
        // An outer session has nothing to do with it, and tests are selected here.
        command
            .env_remove(env::SESSION)
            .env_remove(env::BUDGET_SECS);
        // Each test runs in the directory of its package.
        command.envs(env::paths(&self.host));
        command.env(env::RUN_EPOCH, epoch);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(backend) = self.backend {
            command.env(env::BACKEND, backend.name());
        }
        if let Some(cap) = self.cpu_cap {
            command.env(env::CPU_CAP, cap.to_string());
        }
        let switches = [
            (self.no_skip_mode, env::NO_SKIP_MODE),
            (self.no_perf_mode, env::NO_PERF_MODE),
        ];
        for (_, name) in switches.iter().filter(|(on, _)| *on) {
            command.env(name, "1");
        }
        let named = self.named_kernels()?;
        if let [first, ..] = named.as_slice() {
            command.env(env::KERNEL, &first.image);
            command.env(env::KERNEL_LIST, format_kernel_list(&named));
        }
        Ok(command)
    }

    /// What the tests are told, by one file.
    pub(super) fn info(
        &self,
        id: String,
        epoch: String,
        runs_dir: PathBuf,
        builder: Option<String>,
        selected: Option<Selected>,
    ) -> Result<SessionInfo, SessionError> {
        Ok(SessionInfo {
            id,
            epoch,
            runs_dir,
            kernels: self.named_kernels()?,
            commit: self.commit().cloned(),
            backend: self.backend,
            backend_works: self.backend_works,
            scheduler_profile: self.scheduler_profile.clone(),
            no_skip_mode: self.no_skip_mode,
            no_perf_mode: self.no_perf_mode,
            // A cap of 0 is in its variable, which no test takes.
            cpu_cap: self.cpu_cap.and_then(NonZeroU32::new),
            raw_verifier_log: self.raw_verifier_log,
            builder,
            selected,
            coverage: self.coverage.as_ref().map(|it| it.places().clone()),
        })
    }

    fn named_kernels(&self) -> Result<Vec<NamedKernel>, SessionError> {
        let mut named: Vec<NamedKernel> = Vec::new();
        for kernel in &self.kernels {
            let new = NamedKernel {
                label: kernel.label.clone(),
                image: kernel.image.clone(),
            };
            match named.iter().find(|other| other.label == new.label) {
                // Asked for twice, by whatever names.
                Some(other) if other.image == new.image => {}
                Some(other) => {
                    let (first, second) = (other.image.clone(), new.image);
                    return Err(SessionError::SameLabel {
                        label: new.label.to_string(),
                        first,
                        second,
                    });
                }
                None => named.push(new),
            }
        }
        Ok(named)
    }

    /// The epoch that the session's processes share: an outer one's where there is one.
    pub(crate) fn epoch(&self) -> String {
        let outer = self.host.var(env::RUN_EPOCH);
        outer
            .and_then(|value| value.into_string().ok())
            .filter(|epoch| !epoch.is_empty())
            .unwrap_or_else(own_epoch)
    }
}
