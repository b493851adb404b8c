//! A test binary that dies before its `main` when it is a guest's init, as one does that was compiled for a newer CPU;
//! `tests/verdicts.rs` runs it.
#![allow(unsafe_code)]

use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(duration_s = 1)]
fn never_gets_there(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

/// Called by the C library before `main`.
// SAFETY: the section holds pointers to such functions.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::process::id() == 1 {
        // SAFETY: there is none; the fault is what this is for.
        unsafe {
            std::arch::asm!("ud2");
        }
    }
}
