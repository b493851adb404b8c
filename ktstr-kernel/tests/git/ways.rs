//! Each kind of reference, by each way to a repository.

use crate::server::{Kind, Server, Step};
use crate::standin::git;
use crate::world::{Place, output};

/// A repository with its ways: directory, daemon, HTTP.
fn each_way(test: impl Fn(&Place, &str, Option<&Server>)) {
    let place = Place::new();
    test(&place, &place.file(), None);
    for kind in [Kind::Daemon, Kind::Web] {
        let place = Place::new();
        let server = Server::start(kind, &place.world.path(""));
        test(&place, &server.url("linux"), Some(&server));
    }
}

#[test]
fn each_reference_is_built_once_and_commits_are_shared() {
    each_way(|place, url, server| {
        let first = place.id("HEAD");
        git(&place.tree, &["tag", "v6.99.1"]);
        output(&place.tree, &["tag", "-a", "-m", "x", "v6.99.1-annotated"]);
        let (kernel, told) = place.built(url, "branch=main");
        let key = kernel.cache_key.clone().unwrap().to_string();
        let digits = &first[..7];
        assert!(
            key.starts_with(&format!("git-{digits}-x86_64-lean-kc")),
            "{key}"
        );
        assert_eq!((kernel.version.as_str(), kernel.dirty), ("6.99.1", false));
        assert!(told.has("fetched linux main "), "{}", told.all());
        assert!(told.has("finished compiling"), "{}", told.all());
        let entry = place.world.cache().list().unwrap().remove(0);
        let source = format!("{:?}", entry.metadata().unwrap().source);
        assert!(source.contains(&first) && source.contains(url), "{source}");
        let packs = server.map(|server| server.count(Step::Pack));
        let others = [
            "branch=main",
            "tag=v6.99.1",
            "tag=v6.99.1-annotated",
            &format!("sha={first}"),
            &format!("sha={}", first.to_uppercase()),
            &format!("sha={digits}"),
        ];
        for reference in others {
            let (same, told) = place.built(url, reference);
            assert!(told.is_silent_hit(), "{reference}: {}", told.all());
            assert_eq!(same.image, kernel.image, "{reference}");
        }
        assert_eq!(server.map(|server| server.count(Step::Pack)), packs);
        assert_eq!((place.keys(), place.world.made("bzImage")), (vec![key], 1));
    });
}

#[test]
fn each_reference_alone_leads_to_the_commit() {
    each_way(|place, url, _| {
        let old = place.id("HEAD");
        git(&place.tree, &["tag", "light"]);
        let annotated = place.commit();
        output(&place.tree, &["tag", "-a", "-m", "x", "annotated"]);
        // A tag of a tag.
        output(&place.tree, &["tag", "-a", "-m", "x", "twice", "annotated"]);
        let inner = place.commit();
        let tip = place.commit();
        let expected = [
            ("tag=light", &old),
            ("tag=twice", &annotated),
            ("branch=main", &tip),
            // No reference is at it.
            (&*format!("sha={inner}"), &inner),
        ];
        for (reference, commit) in expected {
            let (kernel, told) = place.built(url, reference);
            let key = kernel.cache_key.unwrap().to_string();
            assert!(key.contains(&commit[..7]), "{reference}: {key}");
            assert!(told.has("finished compiling"), "{}", told.all());
        }
        assert_eq!(place.keys().len(), 4);
        // Now by digits, without the others' help.
        let cut = |commit: &str| format!("sha={}", &commit[..12]);
        std::fs::remove_dir_all(place.world.path("cache")).unwrap();
        let (kernel, _) = place.built(url, &cut(&annotated));
        assert!(kernel.cache_key.unwrap().as_str().contains(&annotated[..7]));
        let error = place.refused(url, &cut(&inner));
        assert!(error.contains("give all 40 digits"), "{error}");
    });
}

#[test]
fn old_servers_do_as_well() {
    let place = Place::new();
    let annotated = place.commit();
    output(&place.tree, &["tag", "-a", "-m", "x", "annotated"]);
    let tip = place.commit();
    let server = Server::start(Kind::OldWeb, &place.world.path(""));
    let url = server.url("linux");
    for (reference, commit) in [
        ("tag=annotated", &annotated),
        ("branch=main", &tip),
        (&*format!("sha={tip}"), &tip),
        (&*format!("sha={}", &annotated[..10]), &annotated),
    ] {
        let (kernel, _) = place.built(&url, reference);
        let key = kernel.cache_key.unwrap().to_string();
        assert!(key.contains(&commit[..7]), "{reference}: {key}");
    }
    assert_eq!((place.keys().len(), place.world.made("bzImage")), (2, 2));
    std::fs::remove_dir_all(place.world.path("cache")).unwrap();
    place.built(&url, &format!("sha={tip}"));
    let none = "0123456789abcdef0123456789abcdef01234567";
    let error = place.refused(&url, &format!("sha={none}"));
    // Their refusal comes where the pack should be, which nobody can read.
    assert!(
        error.contains("is not valid git protocol") || error.contains("has no commit"),
        "{error}"
    );
    let error = place.refused(&url, "branch=mian");
    assert!(error.contains("(there is branch main)"), "{error}");
    // They list everything when they greet.
    assert_eq!(server.count(Step::Listing), 0);
}

#[test]
fn a_branch_that_moved_is_built_again() {
    each_way(|place, url, _| {
        let (before, _) = place.built(url, "branch=main");
        place.commit();
        let (after, told) = place.built(url, "branch=main");
        assert!(told.has("finished compiling"), "{}", told.all());
        assert_ne!(before.image, after.image);
        assert!(before.image.is_file());
        assert_eq!((place.keys().len(), place.world.made("bzImage")), (2, 2));
        assert!(place.built(url, "branch=main").1.is_silent_hit());
    });
}

#[test]
fn files_may_have_any_name_that_linux_has() {
    let place = Place::new();
    for name in [
        "aux.c", "con", "NUL.h", "com1", "a:b", "Aux.c", "a b", "qcom,x.h", "end.",
    ] {
        std::fs::write(place.tree.join(name), name).unwrap();
    }
    place.commit();
    place.built(&place.file(), "branch=main");
}

#[test]
fn force_builds_again() {
    let mut place = Place::new();
    let url = place.file();
    let first = format!("sha={}", place.id("HEAD"));
    place.built(&url, "branch=main");
    place.force = true;
    for reference in ["branch=main", &first] {
        let (_, told) = place.built(&url, reference);
        assert!(told.has("finished compiling"), "{}", told.all());
    }
    assert_eq!((place.keys().len(), place.world.made("bzImage")), (1, 3));
}

#[test]
fn the_history_is_not_fetched() {
    let place = Place::new();
    // Half a megabyte that no compression makes smaller, gone in the next commit.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(7);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(512 << 10).collect();
    std::fs::write(place.tree.join("noise"), noise).unwrap();
    place.commit();
    std::fs::remove_file(place.tree.join("noise")).unwrap();
    place.commit();
    for kind in [Kind::Daemon, Kind::Web] {
        let server = Server::start(kind, &place.world.path(""));
        let _ = std::fs::remove_dir_all(place.world.path("cache"));
        let (_, told) = place.built(&server.url("linux"), "branch=main");
        let told = told.all();
        let fetched = told.lines().find(|line| line.starts_with("fetched "));
        let size: u64 = fetched.unwrap().split(' ').nth(3).unwrap().parse().unwrap();
        assert!((500..100_000).contains(&size), "{told}");
    }
}
