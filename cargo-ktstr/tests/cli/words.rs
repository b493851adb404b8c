//! Helps, usage errors, bad kernels, completions, doctor.

use std::fs;
use std::io::{self, Write};
use std::process::{Output, Stdio};

use crate::place::{Place, bz_image, cargo_ktstr, command, error_lines, ktstr, text};

/// Commands whose help there is.
const COMMANDS: &[&str] = &[
    "",
    "test",
    "nextest",
    "coverage",
    "llvm-cov",
    "replay",
    "affected",
    "verifier",
    "shell",
    "export",
    "kernel",
    "kernel list",
    "kernel build",
    "kernel clean",
    "perf-delta",
    "stats",
    "stats list",
    "stats list-metrics",
    "stats list-values",
    "stats show-host",
    "stats explain-sidecar",
    "show-host",
    "show-thresholds",
    "doctor",
    "locks",
    "completions",
];

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn helps_fit_a_terminal_and_list_what_works() {
    let place = Place::new();
    let check = |name: &str, output: Output| {
        let help = text(&output.stdout);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(help.contains("Usage: "), "{name}");
        let wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{name}");
        help
    };
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let args = [words(command), vec![flag]].concat();
            let help = check(command, place.run(cargo_ktstr().args(args)));
            // Each example on a line of its own.
            let examples = help
                .lines()
                .filter(|line| line.starts_with("  cargo ktstr "));
            assert_eq!(examples.count(), help.matches("  cargo ktstr ").count());
        }
    }
    for command in [
        "",
        "kernel",
        "kernel list",
        "kernel build",
        "kernel clean",
        "shell",
        "doctor",
        "locks",
    ] {
        let args = [words(command), vec!["--help"]].concat();
        check(command, place.run(ktstr().args(args)));
    }
    let help = text(&place.run(cargo_ktstr().arg("--help")).stdout);
    let listed: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "test",
        "coverage",
        "llvm-cov",
        "replay",
        "affected",
        "kernel",
        "verifier",
        "shell",
        "export",
        "perf-delta",
        "stats",
        "show-host",
        "show-thresholds",
        "doctor",
        "locks",
        "completions",
        "help",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn coverage_says_what_it_lacks() {
    let place = Place::new();
    for args in [&["llvm-cov"][..], &["llvm-cov", "--lcov"]] {
        let error = place.fails(cargo_ktstr().args(args), 1);
        assert!(
            error.contains("needs a subcommand first, such as report"),
            "{error}"
        );
    }
    for args in [&["coverage"][..], &["llvm-cov", "report"]] {
        let mut command = cargo_ktstr();
        command
            .args(args)
            .env("PATH", place.dir())
            .env("CARGO_HOME", place.dir());
        let error = place.fails(&mut command, 1);
        assert!(
            error.contains("cargo install --locked cargo-llvm-cov"),
            "{error}"
        );
    }
    let error = place.fails(
        cargo_ktstr().args(["coverage", "--", "--target-dir", "x"]),
        1,
    );
    assert!(error.contains("set CARGO_TARGET_DIR"), "{error}");
}

#[test]
fn what_is_mistyped_is_a_usage_error() {
    let place = Place::new();
    let usage = |args: &str| {
        let output = place.run(cargo_ktstr().args(words(args)));
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(output.stdout.is_empty());
        text(&output.stderr)
    };
    assert!(usage("tset").contains("similar subcommand exists: 'test'"));
    assert!(usage("shell --test a --topology 1,1,1,1").contains("cannot be used with"));
    assert!(usage("shell --topology 1,1,1").contains("four numbers, such as 1,2,4,1"));
    assert!(usage("shell --kernel 6.12 --kernel 6.14").contains("cannot be used multiple times"));
    assert!(usage("shell --release").contains("--test <NAME>"));
    assert!(usage("test -E test(x)").contains("'-- -E'"));
    assert!(usage("kernel clean --keep many").contains("invalid value 'many'"));
    assert!(usage("kernel clean --keep 1 --corrupt-only").contains("cannot be used with"));
    assert!(usage("test --base-config tiny").contains("possible values: defconfig, lean"));
    assert!(usage("test --cpu-cap 0").contains("0 is not in 1.."));
    assert!(usage("replay --profile dev").contains("--exec"));
    assert!(usage("replay -- --retries 2").contains("--exec"));
    assert!(usage("replay --exec --include-eol").contains("--kernel <ID>"));
    assert!(usage("locks --watch 0s").contains("at least 100ms"));
    assert!(usage("completions tcsh").contains("possible values: bash"));
    // A run that is not narrowed compares with nothing.
    for option in [
        "--base x",
        "--base-ref x",
        "--default-branch x",
        "--explain",
    ] {
        assert!(usage(&format!("test {option}")).contains("--relevant"));
    }
    assert!(usage("affected --base x --base-ref y").contains("cannot be used with"));
    assert!(usage("").contains("Usage: cargo ktstr <COMMAND>"));
}

#[test]
fn typed_by_hand_it_works_as_under_cargo() {
    let place = Place::new();
    let by_cargo = place.run(cargo_ktstr().args(["kernel", "list"]));
    let mut cargo_ktstr_alone = command(env!("CARGO_BIN_EXE_cargo-ktstr"));
    let by_hand = place.run(cargo_ktstr_alone.args(["kernel", "list"]));
    assert!(by_hand.status.success());
    assert_eq!(by_hand.stdout, by_cargo.stdout);
    let standalone = place.run(ktstr().args(["kernel", "list", "--json"]));
    let by_cargo = place.run(cargo_ktstr().args(["kernel", "list", "--json"]));
    assert_eq!(standalone.stdout, by_cargo.stdout);
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        for binary in ["cargo", "ktstr", "cargo-ktstr"] {
            let args = ["completions", shell, "--binary", binary];
            let output = place.run(cargo_ktstr().args(args));
            let script = text(&output.stdout);
            assert!(output.status.success() && output.stderr.is_empty());
            // Fish's scripts end at the third level.
            let deepest = if shell == "fish" {
                "clean"
            } else {
                "corrupt-only"
            };
            assert!(script.contains(deepest), "{shell} {binary}");
            assert!(script.contains(binary), "{shell} {binary}");
            assert_eq!(
                script.contains("nextest-profile"),
                binary != "ktstr",
                "{shell} {binary}"
            );
        }
    }
    let default = place.run(cargo_ktstr().args(["completions", "bash"]));
    let script = place.dir().join("completions.bash");
    fs::write(&script, &default.stdout).unwrap();
    let mut bash = command("bash");
    let loaded = place.run(
        bash.arg("-c")
            .arg(format!("source {} && complete -p cargo", script.display())),
    );
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
}

#[test]
fn every_bad_kernel_is_named_in_one_line() {
    let place = Place::new();
    fs::create_dir(place.dir().join("src")).unwrap();
    place.file(
        "Image",
        &[vec![0; 0x38], b"ARM\x64".to_vec(), vec![0; 100]].concat(),
    );
    place.file("notes.txt", b"hello");
    place.file("old.tar.bz2", b"BZh91AY&SY");
    let cases = [
        (
            "./src",
            "not a kernel source tree (no Makefile in it); give",
        ),
        ("./none", "No such file or directory"),
        (
            "./Image",
            "a kernel for arm64, and only x86_64 is supported",
        ),
        (
            "./notes.txt",
            "neither a kernel image nor a source archive; give",
        ),
        ("./old.tar.bz2", "a bzip2 archive; repack it"),
        ("linux/", "a relative path starts with ./"),
        ("7.0.1-tarball-x86_64-kc00000000", "no cached kernel"),
        ("6.14.2", "6.14.2"),
        ("6.12..6.14", "6.12..6.14"),
        ("git+http://127.0.0.1:9/r.git#tag=v6.14", "127.0.0.1:9"),
        ("git+https://example.com/r.git", "names no commit; write"),
        ("", "the kernel identifier is empty; give"),
    ];
    for (id, expected) in cases {
        for command in [&["test"][..], &["kernel", "build"]] {
            let args = [command, &["--kernel", id]].concat();
            let error = place.fails(cargo_ktstr().args(&args), 1);
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
    let all = cases.map(|(id, _)| ["--kernel", id]).concat();
    let output = place.run(cargo_ktstr().arg("test").args(all));
    assert_eq!(output.status.code(), Some(1));
    let errors = error_lines(&output);
    // All at once, in their order, but for the release: it is fetched when all others make sense.
    assert_eq!(errors.len(), cases.len() - 1, "{errors:?}");
    let expected = cases.iter().filter(|(id, _)| *id != "6.14.2");
    for ((id, part), error) in expected.zip(&errors) {
        assert!(error.contains(part), "{id}: {error}");
    }
    assert!(
        !place.dir().join("cargo.log").exists(),
        "nextest was started"
    );
}

#[test]
fn a_truncated_tarball_is_named_in_one_line() {
    let place = Place::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(&vec![7; 100_000]).unwrap();
    let whole = gzip.finish().unwrap();
    place.file("linux.tar.gz", &whole[..whole.len() / 2]);
    let error = place.fails(
        cargo_ktstr().args(["test", "--kernel", "./linux.tar.gz"]),
        1,
    );
    assert!(error.contains("linux.tar.gz"), "{error}");
    assert!(
        !place.dir().join("cargo.log").exists(),
        "nextest was started"
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_named_before_anything_is_built() {
    let place = Place::new();
    place.file("file", b"");
    place.tree("linux");
    for cache in ["/proc/ktstr-cache".into(), place.dir().join("file/cache")] {
        let mut command = cargo_ktstr();
        command.args(["kernel", "build", "--kernel", "./linux"]);
        let error = place.fails(command.env("KTSTR_CACHE_DIR", &cache), 1);
        assert!(error.contains(cache.to_str().unwrap()), "{error}");
        assert!(!place.dir().join("linux/.config").exists());
    }
    let mut command = cargo_ktstr();
    for name in ["KTSTR_CACHE_DIR", "XDG_CACHE_HOME", "HOME"] {
        command.env(name, "");
    }
    let error = place.fails(command.args(["kernel", "list"]), 1);
    assert!(error.contains("set KTSTR_CACHE_DIR"), "{error}");
}

#[test]
fn variables_that_lead_nowhere_are_named() {
    let place = Place::new();
    let error = |name: &str, value: &str| {
        let mut command = cargo_ktstr();
        place.fails(command.arg("test").env(name, value), 1)
    };
    assert!(error("KTSTR_TEST_KERNEL", "").contains("KTSTR_TEST_KERNEL is set but empty; unset"));
    assert!(error("KTSTR_KERNEL", "./none").contains("KTSTR_KERNEL: "));
    let mut command = cargo_ktstr();
    command.args(["kernel", "build", "--kernel", "./x"]);
    let error = place.fails(command.env("KTSTR_BASE_CONFIG", "tiny"), 1);
    assert!(
        error.contains("KTSTR_BASE_CONFIG: unknown base configuration `tiny`"),
        "{error}"
    );
}

#[test]
fn without_nextest_or_a_project_nothing_is_built_first() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    let test = || {
        let mut command = cargo_ktstr();
        command.args(["test", "--kernel", "./bzImage"]);
        command
    };
    let nowhere = place.dir().join("nowhere");
    let error = place.fails(test().env("PATH", &nowhere).env("CARGO_HOME", &nowhere), 1);
    let fix = "run: cargo install --locked cargo-nextest";
    assert!(error.ends_with(fix), "{error}");

    fs::remove_file(place.dir().join("Cargo.toml")).unwrap();
    let error = place.fails(&mut test(), 1);
    assert!(error.contains("no Cargo.toml there or above"), "{error}");
    assert!(!place.dir().join("cargo.log").exists(), "cargo was started");
}

#[test]
fn readers_that_close_the_pipe_are_no_error() {
    let place = Place::new();
    place.entry(
        "6.12.9-tarball-x86_64-kc1",
        "2026-07-04T23:06:12Z",
        |metadata| {
            metadata.kconfig_hash = "0".into();
        },
    );
    let lines = [
        "kernel list",
        "kernel list --json",
        "completions bash",
        "--help",
        "stats",
        "tset",
    ];
    for line in lines {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let out = place.run(
            cargo_ktstr()
                .args(words(line))
                .stdout(writer.try_clone().unwrap()),
        );
        assert!(
            !text(&out.stderr).contains("panicked"),
            "{line}: {}",
            text(&out.stderr)
        );
        assert_ne!(out.status.code(), Some(101), "{line}");
        let both = place.run(
            cargo_ktstr()
                .args(words(line))
                .stdout(writer.try_clone().unwrap())
                .stderr(writer),
        );
        assert!(
            both.status.code().is_some_and(|code| code < 3),
            "{line}: {:?}",
            both.status
        );
    }
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = place.run(cargo_ktstr().args(["kernel", "list"]).stdout(full));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(error_lines(&output).len(), 1);
}

#[test]
fn doctor_tells_what_is_there() {
    let place = Place::new();
    let output = place.run(ktstr().arg("doctor"));
    let report = text(&output.stdout);
    for name in [
        "QEMU",
        "cargo-nextest",
        "cache",
        "build tools",
        "kernel",
        "KVM",
        "clang",
        "coverage",
    ] {
        assert!(report.contains(name), "{report}");
    }
    let json = place.run(cargo_ktstr().args(["doctor", "--json"]));
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let ready = value["ready"].as_bool().unwrap();
    assert_eq!(output.status.success(), ready);
    assert_eq!(json.status.success(), ready);
    assert!(value["checks"].as_array().unwrap().len() >= 10);

    let mut command = ktstr();
    let bare = place.run(
        command
            .arg("doctor")
            .env("PATH", place.dir())
            .env("CARGO", "cargo")
            .stdin(Stdio::null()),
    );
    assert_eq!(bare.status.code(), Some(1));
    let report = text(&bare.stdout);
    assert!(report.contains("missing  QEMU"), "{report}");
    assert!(report.ends_with("Tests cannot run here yet.\n"), "{report}");
    assert!(
        report.lines().all(|line| line.chars().count() <= 80),
        "{report}"
    );
    // No cargo: it is that which is missing first.
    assert!(report.contains("missing  cargo  "), "{report}");
}

#[test]
fn text_fits_a_narrow_terminal() {
    let place = Place::new();
    let lines = |mut command: std::process::Command| {
        let output = place.run(command.env("COLUMNS", "40").env("PATH", place.dir()));
        text(&output.stdout)
    };
    let mut doctor = ktstr();
    doctor.arg("doctor");
    let mut texts = vec![lines(doctor)];
    for command in COMMANDS {
        let mut help = cargo_ktstr();
        help.args([words(command), vec!["--help"]].concat());
        texts.push(lines(help));
    }
    for text in texts {
        // Words that are longer cannot be broken: paths, options with their values.
        let wide = text.lines().find(|line| {
            let line = line.trim_end();
            let words = line.split_whitespace().map(|word| word.chars().count());
            let can_be_broken = words.max().unwrap_or(0) <= 20 && !line.starts_with("Usage: ");
            line.chars().count() > 40 && can_be_broken
        });
        assert_eq!(wide, None, "{text}");
    }
}
