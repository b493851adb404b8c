//! Git sources among others: what is wrong with them is told before anything is built.
#![cfg(feature = "fetch")]

use ktstr_kernel::KernelSpec;

use crate::server::{Fault, Kind, Server, Step};
use crate::standin::git;
use crate::world::{Place, Told, spec};

fn failures(place: &Place, specs: &[KernelSpec]) -> Vec<(String, String)> {
    let told = Told::default();
    let kernels = place
        .resolver()
        .resolve_all(specs, &told, &mut |spec, _| panic!("{spec} is there"));
    let failures = kernels.unwrap_err().0.into_iter().map(|failed| {
        let text = failed.error.to_string();
        assert!(!text.contains('\n'), "{text}");
        (failed.kernel, text)
    });
    assert!(!told.has("started"), "{}", told.all());
    failures.collect()
}

#[test]
fn wrong_names_fail_before_anything_is_built() {
    let place = Place::new();
    let server = Server::start(Kind::Web, &place.world.path(""));
    let web = server.url("linux");
    let none = format!("file://{}", place.world.path("none").display());
    let commit = place.id("HEAD");
    let good = KernelSpec::Path(place.world.tree("good"));
    let specs = [
        good.clone(),
        spec(&place.file(), "branch=main"),
        spec(&place.file(), "branch=mian"),
        spec(&web, "tag=v6.99.1"),
        spec(&none, "branch=main"),
        spec(&none, &format!("sha={commit}")),
        spec(&web, "sha=1234567"),
    ];
    let failures = failures(&place, &specs);
    let named: Vec<&str> = failures.iter().map(|(spec, _)| spec.as_str()).collect();
    let expected: Vec<String> = specs[2..].iter().map(ToString::to_string).collect();
    assert_eq!(named, expected, "{failures:?}");
    for ((_, text), part) in failures.iter().zip([
        "has no branch mian (there is branch main); git ls-remote",
        "has no tag v6.99.1",
        "cannot be reached",
        "cannot be reached",
        "give all 40 digits",
    ]) {
        assert!(text.contains(part), "{text}");
    }
    assert!(place.keys().is_empty());
    assert_eq!(
        (place.world.made("bzImage"), server.count(Step::Pack)),
        (0, 0)
    );
}

#[test]
fn names_of_one_commit_are_one_kernel() {
    let place = Place::new();
    git(&place.tree, &["tag", "v6.99.1"]);
    let server = Server::start(Kind::Daemon, &place.world.path(""));
    let daemon = server.url("linux");
    let specs = [
        spec(&daemon, "branch=main"),
        spec(&daemon, "tag=v6.99.1"),
        spec(&place.file(), &format!("sha={}", place.id("HEAD"))),
    ];
    let all = |force| {
        let mut done = Vec::new();
        let mut resolver = place.resolver();
        if force {
            let mut options = place.world.options.clone();
            options.force = true;
            resolver = ktstr_kernel::Resolver::new(place.world.cache(), options);
        }
        let kernels = resolver.resolve_all(&specs, &Told::default(), &mut |spec, _| {
            done.push(spec.to_string());
        });
        assert_eq!(done, specs.each_ref().map(ToString::to_string));
        kernels.unwrap().len()
    };
    assert_eq!(all(false), 1);
    assert_eq!(place.world.made("bzImage"), 1);
    assert_eq!(all(false), 1);
    assert_eq!(place.world.made("bzImage"), 1);
    // The listing alone was asked for the second time.
    assert_eq!(place.keys().len(), 1);
    assert_eq!(all(true), 1);
    assert_eq!(place.world.made("bzImage"), 4);
}

#[test]
fn what_is_cached_does_for_a_server_that_is_away() {
    let place = Place::new();
    let server = Server::start(Kind::Web, &place.world.path(""));
    let url = server.url("linux");
    let (kernel, _) = place.built(&url, "branch=main");
    server.fault(Step::Greeting, 0, Fault::Status(503));
    let told = Told::default();
    let specs = [spec(&url, "branch=main")];
    let kernels = place
        .resolver()
        .resolve_all(&specs, &told, &mut |_, _| {})
        .unwrap();
    assert_eq!(kernels[0].image, kernel.image);
    assert!(told.all().contains("is used, built "), "{}", told.all());
    assert_eq!(server.count(Step::Pack), 1);
}

#[test]
fn clean_has_no_sense_for_git() {
    let mut place = Place::new();
    place.world.options.clean = true;
    let failures = failures(&place, &[spec(&place.file(), "branch=main")]);
    assert!(failures[0].1.contains("clean"), "{failures:?}");
}
