//! Which of the packages that a test binary asks for are needed by tests which will run.

use std::collections::BTreeSet;
use std::path::Path;

use ktstr_harness::dispatch::BuildRequest;
use ktstr_harness::runner::build::Package;

use crate::nextest::Listing;

/// Which tests will run.
pub(super) enum Selected {
    /// Those that the list selects.
    Listed(Listing),
    /// Nextest's list cannot be had: each test builds what it needs.
    Unknown,
}

impl Selected {
    /// The packages that are needed by cases which will run.
    pub(super) fn needed<'n>(&self, needs: &'n BuildRequest) -> impl Iterator<Item = &'n Package> {
        let running = match self {
            Self::Listed(listing) => running(listing, needs),
            Self::Unknown => BTreeSet::new(),
        };
        let needed = needs
            .packages
            .iter()
            .filter(move |(_, cases)| cases.iter().any(|case| running.contains(case.as_str())));
        needed.map(|(package, _)| package)
    }
}

/// The cases that will run of the binary that asks; of all binaries, where it cannot be told which one asks.
fn running<'l>(listing: &'l Listing, needs: &BuildRequest) -> BTreeSet<&'l str> {
    let binaries = || listing.binaries.iter();
    let is_it = |id: &str, path: &Path| match &needs.binary_id {
        Some(own) => own == id,
        None => path.canonicalize().is_ok_and(|path| path == needs.binary),
    };
    let known = binaries().any(|(id, binary)| is_it(id, &binary.path));
    binaries()
        .filter(|(id, binary)| !known || is_it(id, &binary.path))
        .flat_map(|(_, binary)| binary.selected.iter().map(String::as_str))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::nextest::Binary;

    fn package(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            profile: "dev".to_owned(),
            dir: "/no/such/place".into(),
        }
    }

    pub(in super::super) fn needs(id: Option<&str>) -> BuildRequest {
        let cases = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        BuildRequest {
            binary_id: id.map(str::to_owned),
            binary: "/t/gone".into(),
            packages: vec![
                (package("one"), cases(&["ktstr/a", "ktstr/b"])),
                (package("two"), cases(&["ktstr/c"])),
            ],
        }
    }

    fn listing() -> Listing {
        let binary = |id: &str, selected: &[&str]| {
            let selected: BTreeSet<String> = selected.iter().map(|&name| name.to_owned()).collect();
            let path = format!("/t/{id}").into();
            let cases = selected.clone();
            let binary = Binary {
                path,
                cases,
                selected,
                ..Binary::default()
            };
            (id.to_owned(), binary)
        };
        Listing {
            binaries: BTreeMap::from([
                binary("p::x", &["ktstr/b", "ktstr/z"]),
                binary("p::y", &["ktstr/c"]),
            ]),
        }
    }

    #[test]
    fn only_what_will_run_is_built() {
        let listed = Selected::Listed(listing());
        let names = |selected: &Selected, needs: &BuildRequest| -> Vec<String> {
            selected
                .needed(needs)
                .map(|package| package.name.clone())
                .collect()
        };
        assert_eq!(names(&listed, &needs(Some("p::x"))), ["one"]);
        assert_eq!(names(&listed, &needs(Some("p::y"))), ["two"]);
        assert_eq!(names(&listed, &needs(Some("p::none"))), ["one", "two"]);
        assert_eq!(names(&listed, &needs(None)), ["one", "two"]);
        assert!(names(&Selected::Unknown, &needs(Some("p::x"))).is_empty());
    }
}
