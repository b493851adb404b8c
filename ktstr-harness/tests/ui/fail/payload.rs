//! Programs, writes into maps, functions of the host: declarations and keys that make no sense.

use ktstr_harness::prelude::*;

declare_payload!(NAMELESS, { binary = "x" });
declare_payload!(NOWHERE, { name = "x" });
declare_payload!(TWICE, { name = "x", binary = "x", package = "x" });
declare_payload!(SLIP, { name = "x", binary = "x", arg = ["-v"] });
declare_payload!(SPACED, { name = "x.y", binary = "x" });
declare_payload!(SCALAR, { name = "x", binary = "x", args = "-v" });
declare_payload!(NUMBERS, { name = "x", binary = "x", args = [1] });
declare_payload!(REPEATED, { name = "x", binary = "x", name = "y" });

const TIME: PayloadMetric = PayloadMetric::pattern("time", "s", Better::Lower, "Time: {}");

declare_payload!(NO_NUMBER, { name = "x", binary = "x",
    metrics = [PayloadMetric::pattern("time", "s", Better::Lower, "Time:")] });
declare_payload!(NO_PATH, { name = "x", binary = "x",
    metrics = [PayloadMetric::json("time", "s", Better::Lower, "time")] });
declare_payload!(TWINS, { name = "x", binary = "x", metrics = [TIME, TIME] });
declare_payload!(UNKNOWN, { name = "x", binary = "x", metrics = [TIME],
    checks = [MetricCheck::at_most("tome", 1.0)] });

declare_payload!(FINE, { name = "fine", binary = "fine", metrics = [TIME] });

#[ktstr_test(payload = FINE.checked_by(&[MetricCheck::at_least("tome", 1.0)]))]
fn checks_what_is_not_there(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(payload = FINE, workloads = [FINE])]
fn runs_one_twice(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(payload = "fine", workloads = FINE, bpf_map_write = 3, post_vm = 3, cleanup_budget_ms = 0)]
fn by_text(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(bpf_map_write = [MapWrite::number(".bss", "x", 1)])]
fn without_a_scheduler(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(post_vm = takes_nothing)]
fn calls_another_function(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn takes_nothing() {}

fn main() {}
