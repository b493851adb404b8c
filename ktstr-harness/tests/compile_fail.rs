//! What `#[ktstr_test]` takes, and how it refuses the rest.

#[test]
fn uses_of_the_attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
