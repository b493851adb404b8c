//! `kernel build` on trees whose Makefiles only pretend, and what listings say of its options.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ktstr_core::host::{LockFile, LockMode};
use ktstr_kernel::cache::ConfigOrigin;
use ktstr_kernel::{BaseConfig, CacheKey};

use crate::place::{Place, cargo_ktstr, error_lines, text};

/// Makes a configuration, says 200 lines and fails.
const FAILING: &str = "\
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 9
EXTRAVERSION =
defconfig:
\techo CONFIG_64BIT=y > $(KCONFIG_CONFIG)
olddefconfig:
\t@true
bzImage:
\t@seq -f '  CC      file-%g.o' 200; echo \"x.c:1: error: 'y' undeclared\"; false
";

#[test]
fn a_failed_build_shows_its_last_lines_and_where_the_others_are() {
    let place = Place::new();
    place.tree("linux");
    place.file("linux/Makefile", FAILING.as_bytes());
    let args = ["kernel", "build", "--kernel", "./linux"];
    let output = place.run(cargo_ktstr().args(args));
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let errors = error_lines(&output);
    assert_eq!(errors.len(), 1, "{stderr}");
    let error = &errors[0];
    assert!(error.contains("(x.c:1: error: 'y' undeclared)"), "{error}");
    let (_, log) = error.rsplit_once("; its output is in ").unwrap();
    let shown: Vec<&str> = stderr
        .lines()
        .skip_while(|line| *line != format!("last lines of {log}:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert_eq!(shown.len(), 40, "{stderr}");
    // The message, and what make makes of it, are among them.
    assert_eq!(shown.first(), Some(&"    CC      file-163.o"), "{stderr}");
    assert!(shown[38].starts_with("  x.c:1: error"), "{stderr}");
    assert!(shown[39].starts_with("  make: *** "), "{stderr}");
    let whole = fs::read_to_string(log).unwrap();
    for n in 1..=200 {
        assert!(whole.contains(&format!("  CC      file-{n}.o\n")), "{n}");
    }
    // Nothing of it is shown twice.
    assert_eq!(stderr.matches("file-200.o").count(), 1, "{stderr}");
}

#[test]
fn a_bad_extra_kconfig_is_named_before_anything_is_done() {
    let place = Place::new();
    place.tree("linux");
    place.file("bad.kconfig", b"CONFIG_A=y\nCONFIG_B\n");
    place.file("zero.kconfig", &[0; 100]);
    for (path, expected) in [
        ("bad.kconfig", "bad.kconfig, line 2: it sets no option"),
        ("zero.kconfig", "line 1: it has control characters"),
        ("none.kconfig", "none.kconfig: No such file"),
        ("linux", "linux: it is neither a regular file nor a pipe"),
    ] {
        let args = ["kernel", "build", "--kernel", "./linux", "--extra-kconfig"];
        let error = place.fails(cargo_ktstr().args(args).arg(path), 1);
        assert!(error.contains(expected), "{error}");
    }
    assert!(!place.cache().root().exists());
    // It is for builds alone.
    let mut test = cargo_ktstr();
    let output = place.run(test.args(["test", "--extra-kconfig", "bad.kconfig"]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_extra_kconfig_is_for_what_is_built() {
    let place = Place::new();
    place.entry("6.12.9-a", "2026-07-04T23:06:12Z", |_| {});
    place.entry("6.12.9-b", "2026-07-03T23:06:12Z", |metadata| {
        metadata.extra_kconfig = Some("0123abcd".into());
    });
    place.file("my.kconfig", b"CONFIG_A=y\n");
    for key in ["6.12.9-a", "6.12.9-b"] {
        let args = ["kernel", "build", "--extra-kconfig", "my.kconfig"];
        let mut command = cargo_ktstr();
        let error = place.fails(command.args(args).args(["--kernel", key]), 1);
        assert!(error.contains("leave out --extra-kconfig"), "{error}");
    }
}

#[test]
fn an_extra_kconfig_without_options_is_none() {
    let place = Place::new();
    place.entry("6.12.9-a", "2026-07-04T23:06:12Z", |_| {});
    place.file("none.kconfig", b"\xef\xbb\xbf# nothing yet\n");
    let args = ["kernel", "build", "--extra-kconfig", "none.kconfig"];
    let output = place.run(cargo_ktstr().args(args).args(["--kernel", "6.12.9-a"]));
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("6.12.9-a"));
    let note = "extra kconfig none.kconfig sets no option: the kernel is the one without it\n";
    assert!(text(&output.stderr).contains(note), "{output:?}");
}

#[test]
fn listings_mark_an_extra_kconfig() {
    let place = Place::new();
    let extra = "6.12.9-tarball-x86_64-kcnew-xkc0123abcd";
    let list = |args: &[&str]| {
        let output = place.run(cargo_ktstr().args(["kernel", "list"]).args(args));
        (text(&output.stdout), text(&output.stderr))
    };
    place.entry(extra, "2026-07-04T23:06:12Z", |metadata| {
        metadata.extra_kconfig = Some("0123abcd".into());
    });
    place.entry("stale", "2026-07-03T00:00:00Z", |metadata| {
        metadata.kconfig_hash = "0".into();
    });
    let (table, warning) = list(&[]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[2].ends_with("2026-07-04T23:06:12Z (extra kconfig)"),
        "{table}"
    );
    assert!(
        lines[3].ends_with("2026-07-03T00:00:00Z (stale kconfig)"),
        "{table}"
    );
    assert!(
        warning.starts_with("warning: (stale kconfig)") && !warning.contains("--extra-kconfig"),
        "{warning}"
    );
    place.entry("both", "2026-07-02T00:00:00Z", |metadata| {
        metadata.kconfig_hash = "0".into();
        metadata.extra_kconfig = Some("0123abcd".into());
    });
    let (table, warning) = list(&[]);
    assert!(
        table.contains("2026-07-02T00:00:00Z (stale kconfig) (extra kconfig)\n"),
        "{table}"
    );
    assert!(warning.contains("--extra-kconfig PATH"), "{warning}");
    assert_eq!(warning.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"]).0).unwrap();
    assert_eq!(json["kernels"][0]["extra_kconfig"], "0123abcd");
    assert_eq!(json["kernels"][1]["extra_kconfig"], serde_json::Value::Null);

    // They are kept and removed like others.
    let clean = |args: &[&str]| {
        let mut command = cargo_ktstr();
        command.args(["kernel", "clean", "--force"]).args(args);
        text(&place.run(&mut command).stdout)
    };
    fs::remove_file(place.cache_entry("both").join("vmlinux")).unwrap();
    assert!(clean(&["--corrupt-only"]).ends_with("removed 1 kernel\n"));
    assert!(clean(&["--keep", "1"]).ends_with("removed 1 kernel\n"));
    assert!(place.cache_entry(extra).exists() && !place.cache_entry("stale").exists());
}

#[test]
fn whoever_waits_for_a_build_says_for_whom() {
    let place = Place::new();
    place.tree("linux");
    place.file("linux/Makefile", FAILING.as_bytes());
    let mut tar = Command::new("tar");
    tar.args(["-cf", "linux.tar", "linux"]);
    assert!(place.run(&mut tar).status.success());
    let origin = ConfigOrigin::Base(BaseConfig::Defconfig);
    let key = CacheKey::tarball("6.12.9", "x86_64", &origin).unwrap();
    let path = place.cache().lock_path(&key);
    let lock = LockFile::try_acquire(&path, LockMode::Exclusive).unwrap();
    let said = place.dir().join("said");
    let mut command = cargo_ktstr();
    command.args(["kernel", "build", "--kernel", "./linux.tar"]);
    command.stderr(fs::File::create(&said).unwrap());
    let line = thread::scope(|scope| {
        let waiter = scope.spawn(|| place.run(&mut command));
        let start = Instant::now();
        let line = loop {
            let text = fs::read_to_string(&said).unwrap();
            let line = text.lines().find(|line| line.contains("waiting for "));
            if let Some(line) = line.filter(|_| text.ends_with('\n')) {
                break line.to_owned();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{text}");
            thread::sleep(Duration::from_millis(10));
        };
        drop(lock);
        // It goes on, as far as that tree goes.
        assert_eq!(waiter.join().unwrap().status.code(), Some(1));
        line
    });
    let program = std::env::args().next().unwrap();
    let program = program.rsplit('/').next().unwrap();
    let start = format!("cargo ktstr: waiting for `{program}");
    let end = format!(
        "` (pid {}), which builds {key}; see `cargo ktstr locks`",
        std::process::id()
    );
    assert!(line.starts_with(&start) && line.ends_with(&end), "{line}");
    assert!(
        fs::read_to_string(&said)
            .unwrap()
            .contains("'y' undeclared")
    );
}
