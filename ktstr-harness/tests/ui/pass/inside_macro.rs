//! Tests that a `macro_rules!` macro writes.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test, registry};

macro_rules! with_llcs {
    ($($name:ident $llcs:literal $seconds:expr;)*) => {$(
        #[ktstr_test(llcs = $llcs, duration_s = $seconds)]
        fn $name(_ctx: &Ctx) -> Result<AssertResult> {
            Ok(AssertResult::pass())
        }
    )*};
}

with_llcs! {
    one 1 2 + 3;
    two 2 6;
}

fn main() {
    let tests = registry::tests().unwrap();
    let shapes: Vec<_> = tests
        .iter()
        .map(|test| (test.name, test.topology.llcs(), test.duration_s))
        .collect();
    assert_eq!(shapes, [("one", 1, 5), ("two", 2, 6)]);
}
