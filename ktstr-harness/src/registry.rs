//! The tests that are linked into this binary.

use std::collections::BTreeMap;

use crate::{Scheduler, TestCase, scheduler};

/// A registered test; `#[ktstr_test]` submits one.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered(pub TestCase);

inventory::collect!(Registered);

/// Two tests of one name.
#[derive(Debug, thiserror::Error)]
#[error("two tests are called `{name}`: {first} and {second}; rename one of them")]
pub struct DuplicateName {
    name: &'static str,
    first: crate::test::Location,
    second: crate::test::Location,
}

/// What to do about a target that libtest runs: `target` is rustc's name for it, `test_dir` is set for integration
/// tests, `program` for programs.
#[doc(hidden)]
pub fn needs_harness_false(target: &str, test_dir: Option<&str>, program: Option<&str>) -> String {
    let what_to_do = match (test_dir, program) {
        (Some(_), _) => format!(
            "Add to Cargo.toml (if the file's name has hyphens, so has this one):\n\n\
             [[test]]\nname = \"{target}\"\nharness = false\n\n\
             and end the file with `ktstr_harness::main!();`\n"
        ),
        (None, Some(program)) => format!(
            "These tests are in the sources of the program `{program}`, whose own `main` runs there.\n\
             Move them to a file in `tests/`, and add to Cargo.toml:\n\n\
             [[test]]\nname = \"NAME-OF-THE-FILE\"\nharness = false\n\n\
             and end the file with `ktstr_harness::main!();`\n"
        ),
        (None, None) => format!(
            "These tests are in the sources of the library `{target}`. Move them to a file in `tests/`, with\n\n\
             [[test]]\nname = \"NAME-OF-THE-FILE\"\nharness = false\n\n\
             in Cargo.toml and `ktstr_harness::main!();` at the end of the file. Or, if the library has no tests \
             of libtest's\n(`#[test]`), which would not run any more, add to Cargo.toml:\n\n\
             [lib]\nharness = false\n\n\
             and end the library's root with:\n\n\
             #[cfg(test)]\nktstr_harness::main!();\n"
        ),
    };
    format!("libtest runs this target, and it cannot run ktstr tests\n\n{what_to_do}")
}

/// Every registered test, by name.
pub fn tests() -> Result<Vec<&'static TestCase>, DuplicateName> {
    by_name(
        inventory::iter::<Registered>
            .into_iter()
            .map(|registered| &registered.0),
    )
}

/// Every declared scheduler, by name; one that is declared in several files comes once.
pub fn schedulers() -> Vec<&'static Scheduler> {
    let mut named: BTreeMap<&str, &Scheduler> = BTreeMap::new();
    for registered in inventory::iter::<scheduler::Registered> {
        named.insert(registered.0.name, &registered.0);
    }
    named.into_values().collect()
}

fn by_name(
    tests: impl Iterator<Item = &'static TestCase>,
) -> Result<Vec<&'static TestCase>, DuplicateName> {
    let mut named: BTreeMap<&str, &TestCase> = BTreeMap::new();
    for test in tests {
        if let Some(other) = named.insert(test.name, test) {
            // The linker's order means nothing.
            let mut places = [other.location, test.location];
            places.sort_by_key(|place| (place.file, place.line));
            return Err(DuplicateName {
                name: test.name,
                first: places[0],
                second: places[1],
            });
        }
    }
    Ok(named.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AssertResult;
    use crate::test::Location;

    const fn case(name: &'static str, line: u32) -> TestCase {
        TestCase::new(name, Location { file: "t.rs", line }, |_| {
            Ok(AssertResult::pass())
        })
    }

    #[test]
    fn what_libtest_cannot_run_is_told_where_it_is() {
        let file = needs_harness_false("sched", Some("/t/tmp"), None);
        assert!(
            file.contains("[[test]]\nname = \"sched\"\nharness = false\n"),
            "{file}"
        );
        assert!(!file.contains("[lib]"), "{file}");
        let library = needs_harness_false("user", None, None);
        assert!(
            library.contains("the library `user`. Move them to"),
            "{library}"
        );
        let lines = "[lib]\nharness = false\n\nand end the library's root with:\n\n#[cfg(test)]\nktstr_harness::main!();\n";
        assert!(library.ends_with(lines), "{library}");
        let program = needs_harness_false("tool", None, Some("tool"));
        assert!(
            program.contains("the program `tool`") && !program.contains("[lib]"),
            "{program}"
        );
    }

    #[test]
    fn sorts_and_refuses_twins() {
        static CASES: [TestCase; 3] = [case("b", 1), case("a", 2), case("b", 3)];
        let names: Vec<_> = by_name(CASES[..2].iter())
            .unwrap()
            .iter()
            .map(|t| t.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        let error = by_name(CASES.iter()).unwrap_err().to_string();
        assert_eq!(
            error,
            "two tests are called `b`: t.rs:1 and t.rs:3; rename one of them"
        );
    }
}
