use ktstr_harness::prelude::*;

declare_scheduler!(NAMELESS, { binary = "x" });
declare_scheduler!(NOWHERE, { name = "x" });
declare_scheduler!(TWICE, { name = "x", binary = "x", binary_path = "/x" });
declare_scheduler!(HALF, { name = "x", kernel_builtin_enable = ["echo 1"] });
declare_scheduler!(SLIP, { name = "x", binary = "x", sched_arg = ["-v"] });
declare_scheduler!(SPACED, { name = "x y", binary = "x" });
declare_scheduler!(ONE_KERNEL, { name = "x", binary = "x", kernels = "6.12" });
declare_scheduler!(EMPTY_KERNEL, { name = "x", binary = "x", kernels = ["6.12", ""] });
declare_scheduler!(ODD_PRESET, { name = "x", binary = "x",
    verifier_exclude_topologies = ["8cpu-2llc-smt", "8cpu-3llc-smt"] });
declare_scheduler!(REPEATED, { name = "x", binary = "x", name = "y" });
declare_scheduler!(FIXED, { name = "x", binary = "x", config_file_def = ("--config", "/run/x") });
declare_scheduler!(ADRIFT, { name = "x", binary = "x", config_file_def = ("{file}", "x") });
declare_scheduler!(ALONE, { name = "x", binary = "x", config_file_def = "/run/x" });
declare_scheduler!(SCALAR, { name = "x", binary = "x", sched_args = "-v" });

declare_scheduler!(WIDE, { name = "wide", binary = "x", topology = (1, 4, 2, 1) });

#[ktstr_test(scheduler = WIDE, max_llcs = 2)]
fn breaks_its_own_bound(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = WIDE, config = "x")]
fn configures_what_takes_no_file(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(config = "x")]
fn configures_eevdf(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = "wide")]
fn by_text(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = WIDE, host_only)]
fn without_a_machine(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
