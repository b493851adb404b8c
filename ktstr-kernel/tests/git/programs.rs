//! Programs that lead to a repository: `ssh`, and what becomes of it where there is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::world::Place;

/// Has `ssh` be this script.
fn with_ssh(place: &mut Place, script: &str) {
    let bin = place.world.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("ssh"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("ssh"), PermissionsExt::from_mode(0o755)).unwrap();
    let paths = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&paths));
    place.world.options.host.path = std::env::join_paths(paths).unwrap();
}

#[test]
fn ssh_leads_to_a_repository_and_asks_nobody() {
    let mut place = Place::new();
    let args = place.world.path("args");
    let script = format!(
        "printf '%s\\n' \"$@\" > '{}'\nfor command; do :; done\nPATH=$(git --exec-path):$PATH exec sh -c \"$command\"",
        args.display()
    );
    with_ssh(&mut place, &script);
    let url = format!("ssh://me@host.invalid:2222{}", place.tree.display());
    let (kernel, _) = place.built(&url, "branch=main");
    let key = kernel.cache_key.unwrap();
    assert!(key.as_str().contains(&place.id("HEAD")[..7]), "{key}");
    let args = fs::read_to_string(args).unwrap();
    let given = |part: &str| args.lines().any(|line| line == part);
    assert!(
        given("BatchMode=yes") && given("2222") && given("me@host.invalid"),
        "{args}"
    );
    let error = place.refused(&url, "branch=mian");
    assert!(error.contains("there is branch main"), "{error}");
    let none = format!("ssh://host.invalid{}", place.world.path("no'ne").display());
    let error = place.refused(&none, "branch=main");
    assert!(
        error.contains("does not appear to be a git repository"),
        "{error}"
    );
}

#[test]
fn what_ssh_complains_of_is_told() {
    let mut place = Place::new();
    let url = "ssh://me@host.invalid/linux";
    for (script, part) in [
        (
            "echo 'me@host.invalid: Permission denied (publickey).' >&2; exit 255",
            "Permission denied (publickey)",
        ),
        (
            "printf 'a\\n\\033[31mHost key verification failed.\\r\\n' >&2; exit 255",
            "Host key verification failed.",
        ),
        ("exit 1", "ended too early"),
        (
            "echo 'Welcome to host!'; exec sleep 2",
            "is not valid git protocol",
        ),
        ("yes | head -c 100000000", "is not valid git protocol"),
        // More than a pipe holds, before it ends and before it answers.
        (
            "yes 'a word' | head -c 1000000 >&2; echo 'I give up' >&2; exit 1",
            "I give up",
        ),
        (
            "yes 'a word' | head -c 1000000 >&2; echo 'Welcome to host!'",
            "is not valid git protocol",
        ),
    ] {
        with_ssh(&mut place, script);
        let error = place.refused(url, "branch=main");
        assert!(error.contains(part), "{script}: {error}");
    }
    place.limits.silence = Duration::from_millis(300);
    for script in ["exec sleep 600", "yes 'a word' >&2"] {
        with_ssh(&mut place, script);
        let error = place.refused(url, "branch=main");
        assert!(error.contains("has said nothing for 0.3 s"), "{error}");
    }
    // Here standard output is closed, and the last line may be cut.
    with_ssh(&mut place, "exec yes 'a word' >&2");
    let error = place.refused(url, "branch=main");
    assert!(error.contains("cannot be reached: a"), "{error}");
}

#[test]
fn missing_programs_are_told() {
    let mut place = Place::new();
    place.world.options.host.path = place.world.path("nothing").into();
    for (url, program) in [
        (place.file(), "git is not installed"),
        (
            "ssh://host.invalid/linux".to_owned(),
            "ssh is not installed",
        ),
    ] {
        let error = place.refused(&url, "branch=main");
        assert!(error.contains(program), "{error}");
    }
    // Over the network there is no need of git.
    let server = crate::server::Server::start(crate::server::Kind::Web, &place.world.path(""));
    let error = place.refused(&server.url("linux"), "branch=main");
    assert!(error.contains("make"), "{error}");
}
