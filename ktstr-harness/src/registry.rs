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
            // The linker's order is nobody's order.
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
