//! Tests that need no machine, and end as their surroundings say; `tests/records.rs` runs them.

use std::env::var_os;
use std::fs;
use std::time::Duration;

use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(host_only)]
fn passes(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only)]
fn fails(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail("mine", "as it is meant to"))
}

/// Fails unless there is a file where the variable says.
#[ktstr_test(host_only)]
fn needs_a_file(_: &Ctx) -> Result<AssertResult> {
    let there = var_os("ON_HOST_FILE").is_some_and(|path| fs::exists(path).unwrap_or(false));
    Ok(if there {
        AssertResult::pass()
    } else {
        AssertResult::fail("file", "it is not there")
    })
}

#[ktstr_test(host_only)]
fn skips(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::skip("no such device"))
}

#[ktstr_test(host_only)]
fn gives_no_signal(_: &Ctx) -> Result<AssertResult> {
    let mut result = AssertResult::pass();
    result.verdict.at_most_ratio("this per that", 0.0, 0.0, 0.5);
    Ok(result)
}

#[ktstr_test(host_only, ignore)]
fn never_ends(_: &Ctx) -> Result<AssertResult> {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

mod deep {
    pub(crate) mod er {
        use ktstr_harness::prelude::*;

        #[ktstr_test(host_only)]
        fn is_deep(_: &Ctx) -> Result<AssertResult> {
            Ok(AssertResult::pass())
        }
    }
}

/// A machine of its own, which only some of what is tested here comes to.
#[ktstr_test(duration_s = 1, max_cpus = 8)]
fn in_a_machine(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}
