use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn package(dir: &Path) -> Package {
    Package {
        name: "scx/x".to_owned(),
        profile: "dev".to_owned(),
        dir: dir.to_owned(),
    }
}

fn once(
    builds: &Builds,
    dir: &Path,
    build: impl FnOnce(&Package) -> Result<PathBuf, String>,
) -> Result<PathBuf, String> {
    builds
        .once(&package(dir), &CancelToken::new().unwrap(), build)
        .unwrap()
}

#[test]
fn a_build_is_ended_with_its_run_and_left_to_others() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Cargo.toml"), "").unwrap();
    let (cargo, started) = (dir.path().join("cargo"), dir.path().join("started"));
    let script = format!("#!/bin/sh\necho >{}\nexec sleep 1000\n", started.display());
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let host = Host::of_this_process().with_vars([("CARGO", &cargo)]);
    let token = CancelToken::new().unwrap();
    let builds = Builds::new(dir.path().join("runs"), "1");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !started.exists() {
                thread::yield_now();
            }
            token.cancel();
        });
        let never = &mut |log: &str| panic!("{log}");
        let built = builds.program(&package(dir.path()), &host, None, never, &token);
        assert!(matches!(built, Err(RunError::Cancelled)), "{built:?}");
    });
    let other = Ok(PathBuf::from("/bin/sh"));
    assert_eq!(once(&builds, dir.path(), |_| other.clone()), other);
}

#[test]
fn binaries_are_read_from_cargos_messages() {
    let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"x"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"scx_x"},"executable":"/t/release/scx_x"}
{"reason":"build-finished","success":true}
not json
"#;
    assert_eq!(
        executables(messages),
        [("scx_x".to_owned(), PathBuf::from("/t/release/scx_x"))]
    );
}

#[test]
fn whoever_comes_first_builds_and_the_others_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::write(&program, "").unwrap();
    let builds = AtomicUsize::new(0);
    let build = |_: &Package| {
        builds.fetch_add(1, Ordering::SeqCst);
        Ok(program.clone())
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // As each process has them.
                let all = Builds::new(dir.path().join("runs"), "1");
                let built = once(&all, dir.path(), build);
                assert_eq!(built.as_ref(), Ok(&program));
            });
        }
    });
    assert_eq!(builds.load(Ordering::SeqCst), 1);
    let of_run = |run: &str| {
        let all = Builds::new(dir.path().join("runs"), run);
        once(&all, dir.path(), build).unwrap();
        builds.load(Ordering::SeqCst)
    };
    assert_eq!(of_run("2"), 2, "another run builds again");
    assert_eq!(of_run("2"), 2);
    fs::remove_file(&program).unwrap();
    assert_eq!(of_run("2"), 3, "what has gone is built again");
}

#[test]
fn runs_beside_each_other_keep_theirs_until_they_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["1", "2"].map(|run| Builds::new(dir.path(), run));
    let none = || Err("error: no".to_owned());
    for builds in [&one, &two] {
        builds.keep(&package(dir.path()), none());
    }
    let kept = |builds: &Builds| builds.recall(&package(dir.path()));
    assert_eq!((kept(&one), kept(&two)), (Some(none()), Some(none())));
    one.forget();
    assert_eq!((kept(&one), kept(&two)), (None, Some(none())));
    // That of a process that was killed, a while ago.
    let file = two.file(&package(dir.path()));
    let old = std::time::SystemTime::now() - 2 * LEFTOVER;
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(old)
        .unwrap();
    one.keep(&package(dir.path()), none());
    assert_eq!(kept(&two), None);
}

#[test]
fn a_failed_build_fails_the_others_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let all = Builds::new(dir.path(), "1");
    let failed = Err("error: no".to_owned());
    assert_eq!(once(&all, dir.path(), |_| failed.clone()), failed);
    let again = once(&all, dir.path(), |_| unreachable!());
    assert_eq!(again, failed);
}

#[test]
fn without_a_place_for_it_every_process_builds() {
    let all = Builds::new("/proc/ktstr", "1");
    let program = PathBuf::from("/bin/sh");
    for _ in 0..2 {
        let built = once(&all, Path::new("/"), |_| Ok(program.clone()));
        assert_eq!(built.as_ref(), Ok(&program));
    }
}

#[test]
fn sources_that_are_not_there_are_named_with_the_way_out() {
    let token = CancelToken::new().unwrap();
    let package = package(Path::new("/no/such"));
    let error = build(&package, &Host::default(), &[], &Said::new(&token)).unwrap_err();
    assert!(
        error.contains("/no/such; or set KTSTR_SCHEDULER"),
        "{error}"
    );
}

#[test]
fn the_first_error_is_found_and_every_line_passed_on() {
    let token = CancelToken::new().unwrap();
    let said = Said::new(&token);
    let text = "   Compiling x\nwarning: odd\nerror[E1]: no\n\nerror: could not compile\n";
    let first = follow(text.as_bytes(), &said);
    assert_eq!(first.as_deref(), Some("error[E1]: no"));
    assert_eq!(said.text(), text.as_bytes());
}
