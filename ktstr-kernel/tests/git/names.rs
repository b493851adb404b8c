//! Names and addresses that lead to no kernel.

use std::fs;

use ktstr_core::host::Host;
use ktstr_kernel::{GitRef, KernelSpec};

use crate::server::{Kind, Server, Step};
use crate::standin::git;
use crate::world::{Place, Told, output};

/// The line that an address and a reference fail with, however they came to be.
fn refused(place: &Place, url: &str, reference: GitRef) -> String {
    let spec = KernelSpec::Git {
        url: url.to_owned(),
        reference,
    };
    let error = place.resolver().resolve(&spec, &Told::default());
    let error = error.unwrap_err().to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
    assert!(place.keys().is_empty());
    assert_eq!(place.world.leftovers(), [""; 0], "{error}");
    error
}

#[test]
fn unknown_names_are_told_with_near_ones() {
    let place = Place::new();
    for tag in ["v6.99", "v6.99.1", "v5.0"] {
        git(&place.tree, &["tag", tag]);
    }
    git(&place.tree, &["branch", "for-next"]);
    let daemon = Server::start(Kind::Daemon, &place.world.path(""));
    let web = Server::start(Kind::Web, &place.world.path(""));
    for url in [place.file(), daemon.url("linux"), web.url("linux")] {
        let url = url.as_str();
        for (reference, part) in [
            (
                "tag=v6.99.2",
                "has no tag v6.99.2 (there is tag v6.99.1, tag v6.99,",
            ),
            ("branch=v6.99", "has no branch v6.99 (there is tag v6.99"),
            ("branch=fornext", "(there is branch for-next)"),
            ("tag=zz", "has no tag zz; git ls-remote"),
            // No names at all.
            ("branch=main..other", "has no branch main..other"),
            ("branch=main^{tree}", "has no branch main^{tree}"),
            ("tag=../heads/main", "has no tag ../heads/main"),
            ("branch=*", "has no branch *"),
            ("branch=main:x", "has no branch main:x"),
            // Branches have no full names here.
            ("branch=refs/heads/main", "has no branch refs/heads/main"),
        ] {
            let error = place.refused(url, reference);
            assert!(error.contains(part), "{reference}: {error}");
            assert!(error.contains(&format!("git ls-remote {url}")), "{error}");
        }
        let none = "sha=0123456789abcdef0123456789abcdef01234567";
        let error = place.refused(url, none);
        assert!(error.contains("has no commit 0123456789"), "{error}");
        let error = place.refused(url, "sha=0123456");
        assert!(error.contains("give all 40 digits"), "{error}");
    }
    assert!(place.keys().is_empty());
}

#[test]
fn what_is_no_commit_is_refused() {
    let place = Place::new();
    git(&place.tree, &["tag", "tree", "HEAD^{tree}"]);
    git(&place.tree, &["tag", "blob", "HEAD:Makefile"]);
    output(&place.tree, &["tag", "-a", "-m", "x", "annotated", "tree"]);
    let daemon = Server::start(Kind::Daemon, &place.world.path(""));
    let web = Server::start(Kind::Web, &place.world.path(""));
    let (tree, blob) = (place.id("tree"), place.id("blob"));
    for url in [place.file(), daemon.url("linux"), web.url("linux")] {
        for (reference, part) in [
            ("tag=tree", "tag tree is a tree, not a commit"),
            ("tag=blob", "tag blob is a blob, not a commit"),
            ("tag=annotated", "tag annotated is a tree, not a commit"),
            (&format!("sha={tree}"), "is a tree, not a commit"),
            (&format!("sha={blob}"), "is a blob, not a commit"),
            (&format!("sha={}", &tree[..9]), "is a tree, not a commit"),
        ] {
            let error = place.refused(&url, reference);
            assert!(error.contains(part), "{url} {reference}: {error}");
        }
    }
}

#[test]
fn places_without_a_repository_are_told() {
    let place = Place::new();
    let root = place.world.path("");
    let daemon = Server::start(Kind::Daemon, &root);
    let web = Server::start(Kind::Web, &root);
    fs::create_dir(root.join("plain")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    for name in ["plain", "file", "none"] {
        for url in [
            format!("file://{}", root.join(name).display()),
            daemon.url(name),
            web.url(name),
        ] {
            let error = place.refused(&url, "branch=main");
            assert!(
                error.contains(&format!("git repository {url} cannot be reached"))
                    && error.ends_with("check the address and the network"),
                "{error}"
            );
        }
    }
    // Nobody listens.
    let gone = daemon.url("linux");
    drop(daemon);
    let is_told = |error: &str| {
        // A process that is just being started may have the port for a moment longer.
        let told = ["refused", "reset", "too early"];
        assert!(told.iter().any(|part| error.contains(part)), "{error}");
    };
    is_told(&place.refused(&gone, "branch=main"));
    let gone = web.url("linux");
    drop(web);
    is_told(&place.refused(&gone, &format!("sha={}", place.id("HEAD"))));
    let error = place.refused("https://no-such-host.invalid/linux", "branch=main");
    assert!(error.contains("cannot be reached"), "{error}");
}

#[test]
fn an_empty_repository_has_no_branches() {
    let place = Place::new();
    let empty = place.world.path("empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, &["init", "--quiet", "--bare"]);
    let root = place.world.path("");
    let daemon = Server::start(Kind::Daemon, &root);
    let web = Server::start(Kind::Web, &root);
    for url in [
        format!("file://{}", empty.display()),
        daemon.url("empty"),
        web.url("empty"),
    ] {
        let error = place.refused(&url, "branch=main");
        assert!(
            error.contains("has no branch main; git ls-remote"),
            "{error}"
        );
        let error = place.refused(&url, "sha=0123456789abcdef0123456789abcdef01234567");
        assert!(error.contains("has no commit"), "{error}");
    }
}

#[test]
fn what_is_no_kernel_tree_is_not_built() {
    let place = Place::new();
    git(&place.tree, &["checkout", "--quiet", "-b", "other"]);
    fs::remove_file(place.tree.join("Kconfig")).unwrap();
    place.commit();
    git(&place.tree, &["rm", "-r", "--quiet", "--", "."]);
    output(&place.tree, &["commit", "--quiet", "-m", "nothing"]);
    git(&place.tree, &["tag", "empty"]);
    for (reference, commit) in [("branch=other", "other"), ("sha", "other~1")] {
        let commit = place.id(commit);
        let reference = reference.replace("sha", &format!("sha={commit}"));
        let error = place.refused(&place.file(), &reference);
        let part = format!("commit {commit} is not a kernel source tree");
        assert!(error.contains(&part), "{error}");
    }
    assert_eq!(place.world.made("bzImage"), 0);
}

#[test]
fn addresses_that_would_run_something_are_refused() {
    let place = Place::new();
    let ran = place.world.path("ran");
    let touch = format!("touch {}", ran.display());
    // A parsed identifier never has these; whoever makes one by hand gets no further.
    for (url, part) in [
        (format!("ext::sh -c '{touch}'"), "is not an https://"),
        ("ssh://-oProxyCommand=x/linux".to_owned(), "dash"),
        ("ssh://-oProxyCommand=x@host/linux".to_owned(), "dash"),
        ("file://-x/linux".to_owned(), "whole path"),
        ("--upload-pack=touch".to_owned(), "is not an https://"),
        ("file:///tmp/a\nb".to_owned(), "control characters"),
        ("git://host/a\0b".to_owned(), "control characters"),
        ("git://host/a\rhost=other".to_owned(), "control characters"),
        (format!("git://host/{}", "a".repeat(5000)), "too long"),
        ("https://me:secret@host/linux".to_owned(), "password"),
    ] {
        let error = refused(&place, &url, GitRef::Branch("main".to_owned()));
        assert!(error.contains(part), "{url:?}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(error.len() < 900, "{error}");
    }
    for text in [
        &format!("git+ext::sh -c '{touch}'#branch=main"),
        "git+/tmp/linux#branch=main",
        "git+--upload-pack=x#branch=main",
        "git+file://#branch=main",
        "git+https://host/linux#branch=--upload-pack=x",
        "git+https://host/linux#branch=a b",
    ] {
        let error = KernelSpec::parse(text, &Host::default())
            .unwrap_err()
            .to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    // Names that some program might take for options or more than a name.
    for name in [
        "-x",
        "--upload-pack=x",
        "a\nb",
        "a\0b",
        "a b",
        "",
        "\u{202e}",
    ] {
        for reference in [
            GitRef::Tag(name.to_owned()),
            GitRef::Branch(name.to_owned()),
        ] {
            let error = refused(&place, &place.file(), reference);
            assert!(error.contains("has no "), "{name:?}: {error}");
        }
    }
    // Directories with dashes and worse in their names are just that.
    for name in ["-x", "--help", "a b;c'd\"e$(f)"] {
        let path = place.world.path(name);
        let url = format!("file://{}", path.display());
        let error = place.refused(&url, "branch=main");
        assert!(error.contains("cannot be reached"), "{error}");
        let (from, to) = (place.tree.as_os_str(), path.as_os_str());
        let status = std::process::Command::new("cp")
            .arg("-r")
            .arg("--")
            .args([from, to])
            .status();
        assert!(status.unwrap().success());
        place.built(&url, "branch=main");
    }
    assert!(!ran.exists());
    assert_eq!(place.keys().len(), 1);
}

#[test]
fn passwords_are_not_asked_for() {
    let place = Place::new();
    let web = Server::start(Kind::Web, &place.world.path(""));
    for status in [401, 403] {
        web.fault(Step::Greeting, 0, crate::server::Fault::Status(status));
        let error = place.refused(&web.url("linux"), "branch=main");
        assert!(error.contains("asks for a login"), "{error}");
    }
    assert_eq!(web.count(Step::Greeting), 2);
}
