//! The macros of `ktstr-harness`, which re-exports them: [`macro@ktstr_test`] declares a test, [`declare_scheduler!`] a
//! scheduler to run it under.
//!
//! ```ignore
//! use ktstr_harness::prelude::*;
//!
//! declare_scheduler!(MINE, {
//!     name = "mine",
//!     binary_path = "/usr/bin/scx_mine",
//! });
//!
//! #[ktstr_test(llcs = 2, scheduler = MINE, not_stuck)]
//! fn under_mine(ctx: &Ctx) -> Result<AssertResult> {
//!     scenarios::steady(ctx)
//! }
//!
//! ktstr_harness::main!();
//! ```
//!
//! `keys` and `checks` are the tables of what can be set, `parse`, `value` and `function` read a use of the
//! attribute, `validate` looks for contradictions in it and `expand` writes the code that registers the test.

mod checks;
mod declaration;
mod declare;
mod errors;
mod expand;
mod field;
mod function;
mod key;
mod keys;
mod parse;
mod payload;
mod validate;
mod value;

use proc_macro2::TokenStream;
use quote::quote;

use crate::checks::{documented, value_column, with_checks};
use crate::declaration::Declaration;
use crate::errors::Errors;
use crate::function::Function;
use crate::parse::Settings;

/// Makes a function a test that runs inside a virtual machine.
///
/// The function has the form `fn name(ctx: &Ctx) -> Result<AssertResult>` and stays as it is; beside
/// it, the test is registered under the function's name. The test target that holds it needs
/// `harness = false` in `Cargo.toml` and `ktstr_harness::main!();` in the file. Where the former is
/// missing, `cargo test` fails with the lines to add.
///
/// ```ignore
/// use ktstr_harness::prelude::*;
///
/// #[ktstr_test(llcs = 2, cores = 4, threads = 2, duration_s = 5, not_stuck, max_gap_ms = 500)]
/// fn siblings_share_a_core(ctx: &Ctx) -> Result<AssertResult> {
///     scenarios::steady(ctx)
/// }
/// ```
///
/// # Values
///
/// A key is given at most once. Numbers may be literals or constant expressions; a constant out of
/// range fails to compile as well. A flag is switched by its bare name, by `true` or by `false`.
///
/// # The machine
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `numa_nodes` | count | 1 | NUMA nodes |
/// | `llcs` | count | 1 | last-level caches of the whole machine, a multiple of `numa_nodes` |
/// | `cores` | count | 2 | cores of each last-level cache |
/// | `threads` | count | 1 | hardware threads of each core |
/// | `memory_mib` | MiB | 256 | guest memory at least; large machines get more by themselves |
/// | `kaslr` | flag | true | let the guest kernel choose its address at random |
/// | `extra_include_files` | array of strings | `[]` | host files that the guest finds below `/include-files/` |
///
/// `llcs` x `cores` x `threads` is the number of CPUs, 512 at most.
///
/// # Variants
///
/// Beside this machine, the base variant, a test has a variant for each gauntlet preset that these
/// bounds let through. All of them are inclusive.
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `min_llcs`, `max_llcs` | count | 1, 12 | last-level caches |
/// | `min_numa_nodes`, `max_numa_nodes` | count | 1, 1 | NUMA nodes |
/// | `min_cpus`, `max_cpus` | count | 1, 192 | CPUs |
/// | `requires_smt` | flag | false | only presets with more than one thread per core |
///
/// # Time
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `duration_s` | seconds | 12 | how long scenarios keep their workers busy |
///
/// # Checks
///
/// A test without checks fails only when its body, the scheduler or the kernel does. The kernel does when it reports a
/// fault of its own while scheduler and body run, or is tainted meanwhile; `allow_kernel_warnings` names what is
/// expected (`"taint O"` is that of an out-of-tree module).
///
/// | key | value | default | |
/// |---|---|---|---|
#[doc = with_checks!(documented)]
///
/// The last six are seen by init while the body runs: four are sampled, and `max_wasted_ms` and `max_wake_to_run_ms` come
/// from a trace of all switches and wake-ups. Where the kernel does not provide a value, or loses events of the trace,
/// the check is inconclusive.
///
/// `false` is more than leaving a flag out: it turns the check off where a default would turn it on.
///
/// # The scheduler
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `scheduler` | constant | the kernel's own | a scheduler that [`declare_scheduler!`] declared |
/// | `extra_sched_args` | array of strings | `[]` | arguments of its program, behind its own |
/// | `config` | text | | content of the file that the scheduler is declared to take (`config_file_def`) |
/// | `watchdog_timeout_s` | seconds | the scheduler's | how long a task may wait before the kernel ejects it |
/// | `allow_restarts` | flag | false | the kernel may end it because of CPU hotplug, where its program starts it again |
/// | `expect_scx_bpf_error_contains` | string | | it must be ejected with an error that contains this |
///
/// | `bpf_map_write` | array of `MapWrite` | `[]` | values that are written into its maps while the test runs |
///
/// A scheduler that dies, stalls or is ejected fails the test. Topology, constraints and checks that a test
/// does not give come from the scheduler.
///
/// # Programs
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `payload` | constant | | the program that the test is about, which [`declare_payload!`] declared |
/// | `workloads` | array of constants | `[]` | programs that run beside it |
///
/// They are packed into the guest with their libraries. The body starts them: `execute_payload` all of them, an
/// operation of a step (`Op::start`) one. A program that is declared and never started makes the test inconclusive.
///
/// # The host
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `performance_mode` | flag | false | each CPU of the machine on a host CPU of its own; needs KVM and one host CPU more, else the test is skipped |
/// | `no_perf_mode` | flag | false | says that it needs none |
/// | `cpu_budget` | count | CPUs + 1 | how many host CPUs the machine may use outside performance mode |
/// | `post_vm` | function | | `fn(&FinishedRun<'_>) -> Result<()>`, called on the host when the machine is gone; its error or panic fails the test |
/// | `cleanup_budget_ms` | milliseconds | | the machine must be gone so soon after its guest has reported |
///
/// # The verdict
///
/// | key | value | default | |
/// |---|---|---|---|
/// | `expect_err` | flag | false | the test must fail; it fails when it passes |
/// | `allow_inconclusive` | flag | false | an ending without a verdict counts as a pass |
/// | `allow_kernel_warnings` | array of strings | `[]` | reports of the kernel against itself (`WARNING: …`, lockdep, stalls) whose line contains one of these do not fail the test |
/// | `auto_repro` | flag | true | when the scheduler dies, run the test again and show what led there; not with `expect_err` |
/// | `host_only` | flag | false | run the body on the host, without a machine |
/// | `ignore` | flag | false | run only when ignored tests are asked for, as with every `demo_*` test |
///
/// `expect_err` and `allow_inconclusive` go together: an inconclusive ending is no failure, so only
/// the latter says what becomes of it.
///
/// # Contradictions
///
/// These do not compile, and the error names the keys:
/// - `llcs` that do not divide evenly over `numa_nodes`, and more than 512 CPUs;
/// - a lower bound above its upper bound, given or default: no preset would be left;
/// - a bound, or `requires_smt`, that the test's own machine breaks. Default bounds do not count here:
///   `numa_nodes = 2` is fine, and then no two-node preset is a variant unless `max_numa_nodes` is
///   raised;
/// - `auto_repro` switched on with `expect_err`;
/// - `allow_restarts` or `bpf_map_write` without a scheduler that is loaded;
/// - two programs of one name among `payload` and `workloads`;
/// - `performance_mode` with `no_perf_mode` or `cpu_budget`;
/// - `host_only` with any key that describes a machine, its variants, or what happens in it or after it.
#[proc_macro_attribute]
pub fn ktstr_test(
    attribute: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(attribute.into(), &item.into()).into()
}

/// Declares a scheduler that tests run under: a constant, registered for whoever lists schedulers.
///
/// ```ignore
/// use ktstr_harness::prelude::*;
///
/// declare_scheduler!(pub MINE, {
///     name = "mine",
///     binary = "scx_mine",
///     sched_args = ["--slice-us", "5000"],
///     topology = (1, 2, 4, 1),
///     assert = Checks { max_gap_ms: Some(500), ..Checks::NONE },
/// });
///
/// #[ktstr_test(scheduler = MINE, duration_s = 5)]
/// fn steady_under_mine(ctx: &Ctx) -> Result<AssertResult> {
///     scenarios::steady(ctx)
/// }
/// ```
///
/// | field | value | |
/// |---|---|---|
/// | `name` | string | what it is called; needed |
/// | `binary` | string | a package of this crate's workspace, built by cargo, with a binary of that name |
/// | `binary_path` | string | a program; relative to this crate |
/// | `kernel_builtin_enable`, `kernel_builtin_disable` | arrays of strings | shell commands in the guest, for one that the kernel brings |
/// | `sched_args` | array of strings | arguments of the program |
/// | `kargs` | array of strings | arguments of the guest's kernel |
/// | `sysctls` | array of pairs | `("kernel.name", "value")`, set before it starts |
/// | `topology` | four numbers in parentheses, or a `Topology` | NUMA nodes, LLCs, cores, threads of its tests' machine |
/// | `constraints` | `Constraints` | gauntlet presets that its tests accept, and that the verifier sweep tries |
/// | `cgroup_parent` | string | cgroup that the program runs in |
/// | `config_file_def` | (string, string) | an argument with `{file}` in it, and the path in the guest that replaces it: the file holds the test's `config`; tests without one run without the argument |
/// | `config_file` | string | a file that the guest finds at `/scheduler/config`; relative to this crate |
/// | `assert` | `Checks` | what its tests are judged by |
/// | `kernels` | array of strings | kernels that the verifier sweep tries it on, of those of a session; written as for `--kernel` |
/// | `verifier_exclude_topologies` | array of strings | presets that the verifier sweep leaves out |
/// | `allow_kernel_warnings` | array of strings | as the key of a test: for all of its tests and cells |
///
/// Exactly one of the ways to come by it is given. `KTSTR_SCHEDULER=/path` takes the place of `binary`.
#[proc_macro]
pub fn declare_scheduler(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let declaration = syn::parse_macro_input!(input as Declaration<declare::Use>);
    let expanded = declaration.expand();
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Declares a program that tests run in the guest: a constant.
///
/// ```ignore
/// use ktstr_harness::prelude::*;
///
/// declare_payload!(pub HACKBENCH, {
///     name = "hackbench",
///     binary = "hackbench",
///     args = ["--groups", "2", "--loops", "200"],
///     metrics = [PayloadMetric::pattern("time_s", "s", Better::Lower, "Time: {}")],
///     checks = [MetricCheck::at_most("time_s", 20.0)],
/// });
///
/// #[ktstr_test(llcs = 2, payload = HACKBENCH)]
/// fn messages_pass(ctx: &Ctx) -> Result<AssertResult> {
///     execute_payload(ctx, &[])
/// }
/// ```
///
/// | field | value | |
/// |---|---|---|
/// | `name` | string | what it is called in results: its cgroup and its metrics (`hackbench.time_s`) are; needed |
/// | `binary` | string | a program of the host's search path, or a path, relative to this crate |
/// | `package` | string | a package of this crate's workspace, built by cargo, with a binary of that name |
/// | `args` | array of strings | its arguments; `{duration_s}` and `{cpus}` in them stand for the test's duration and the machine's CPUs |
/// | `include_files` | array of strings | host files that the guest finds below `/include-files/`; relative to this crate |
/// | `exit_codes` | array of numbers | those that are fine, `[0]` unless given |
/// | `metrics` | array of `PayloadMetric` | what is read from its output: by a path in JSON, a key, or a pattern |
/// | `checks` | array of `MetricCheck` | bounds of these metrics; a test's own (`HACKBENCH.checked_by(&[…])`) replace them one by one |
/// | `time_limit_s` | seconds | how long it may take; one and a half times the test's duration and 5 s unless given |
/// | `skip_if_missing` | flag | where it is not installed, tests are skipped; they fail unless given |
///
/// Exactly one of `binary` and `package` is given.
#[proc_macro]
pub fn declare_payload(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let declaration = syn::parse_macro_input!(input as Declaration<payload::Use>);
    let expanded = declaration.expand();
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Calls the macro that it is given with the rows of the table of checks: for `ktstr-harness`, not part of the API.
#[doc(hidden)]
#[proc_macro]
pub fn check_table(then: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let (then, rows) = (TokenStream::from(then), with_checks!(quote));
    quote!(#then! { #rows }).into()
}

/// The function as it is, and its registration or what is wrong.
fn expand(attribute: TokenStream, function: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let settings = Settings::parse(attribute, &mut errors);
    let assertions = validate::validate(&settings, &mut errors);
    let parsed = Function::parse(function.clone(), &mut errors);
    match (errors.into_tokens(), parsed) {
        (Some(errors), _) => quote!(#function #errors),
        (None, Some(parsed)) => {
            let registration = expand::registration(parsed.name(), &settings, &assertions);
            // The return type is the form's, whether or not this test can fail.
            quote!(#[allow(clippy::unnecessary_wraps)] #function #registration)
        }
        (None, None) => unreachable!("a function that is no test was reported"),
    }
}

#[cfg(test)]
mod tests;
