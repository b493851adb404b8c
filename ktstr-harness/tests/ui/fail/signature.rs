//! Functions that are no tests, and what is no function.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test]
fn no_argument() -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test]
fn two_arguments(_ctx: &Ctx, _more: u32) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test]
fn by_value(_ctx: Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test]
fn nothing_returned(_ctx: &Ctx) {}

#[ktstr_test]
async fn eventually(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test]
unsafe extern "C" fn foreign(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test]
fn generic<T: Default>(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

struct Suite;

impl Suite {
    #[ktstr_test]
    fn method(&self) -> Result<AssertResult> {
        Ok(AssertResult::pass())
    }
}

#[ktstr_test]
struct NoFunction;

fn main() {}
