//! `kernel list` and `kernel clean` on a cache made by hand.

use std::fs;

use ktstr_core::host::{LockFile, LockMode};
use ktstr_kernel::CacheKey;

use crate::place::{Place, bz_image, cargo_ktstr, error_lines, ktstr, text};

/// Two good kernels, one of them configured for another ktstr, and a broken one.
fn filled() -> Place {
    let place = Place::new();
    place.entry(
        "6.12.9-tarball-x86_64-kcnew",
        "2026-07-04T23:06:12Z",
        |_| {},
    );
    place.entry(
        "6.12.8-tarball-x86_64-kcold",
        "2026-06-01T00:00:00Z",
        |metadata| {
            metadata.version = "6.12.8".into();
            metadata.kconfig_hash = "0".into();
        },
    );
    place.entry("broken", "2026-07-05T00:00:00Z", |metadata| {
        metadata.image.size += 1;
    });
    place
}

#[test]
fn a_list_is_newest_first_with_marks() {
    let place = filled();
    let mut command = cargo_ktstr();
    let home = place.dir().parent().unwrap().to_owned();
    let output = place.run(command.args(["kernel", "list"]).env("HOME", home));
    assert!(output.status.success());
    let list = text(&output.stdout);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "cache: ~/cache/kernels");
    assert_eq!(
        lines[1],
        "  KEY                                              VERSION      SOURCE   ARCH    BUILT"
    );
    assert_eq!(
        lines[2],
        "  6.12.9-tarball-x86_64-kcnew                      6.12.9       tarball  x86_64  2026-07-04T23:06:12Z"
    );
    assert!(
        lines[3].ends_with("2026-06-01T00:00:00Z (stale kconfig)"),
        "{list}"
    );
    assert!(lines[4].starts_with("  broken "), "{list}");
    assert!(lines[4].contains("(corrupt: bzImage has "), "{list}");
    assert_eq!(lines.len(), 5);
    let warning = text(&output.stderr);
    assert!(warning.starts_with("warning: (stale kconfig)"), "{warning}");
    assert!(
        warning.contains(": cargo ktstr kernel build --force --kernel "),
        "{warning}"
    );
    let warning = text(&place.run(ktstr().args(["kernel", "list"])).stderr);
    assert!(
        warning.contains(": ktstr kernel build --force --kernel "),
        "{warning}"
    );

    let output = place.run(cargo_ktstr().args(["kernel", "list", "--json"]));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kernels = json["kernels"].as_array().unwrap();
    assert_eq!(kernels.len(), 3);
    assert_eq!(kernels[0]["version"], "6.12.9");
    assert_eq!(kernels[0]["source"]["kind"], "tarball");
    assert_eq!(kernels[0]["stale"], false);
    assert_eq!(kernels[1]["stale"], true);
    assert_eq!(kernels[2]["state"], "corrupt");
    assert!(kernels[2]["why"].as_str().unwrap().contains("bzImage has"));
}

#[test]
fn an_empty_cache_says_how_to_fill_it() {
    let place = Place::new();
    let list = text(&place.run(cargo_ktstr().args(["kernel", "list"])).stdout);
    assert!(
        list.contains("build one: cargo ktstr kernel build --kernel ../linux"),
        "{list}"
    );
    let output = place.run(cargo_ktstr().args(["kernel", "clean"]));
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("nothing to remove"));
}

#[test]
fn without_a_terminal_nothing_is_removed_unless_forced() {
    let place = filled();
    let there = |key: &str| place.cache_entry(key).exists();
    let output = place.run(cargo_ktstr().args(["kernel", "clean"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("  6.12.8-tarball-x86_64-kcold\n"));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("would remove 3 kernels") && stderr.contains("add --force"),
        "{stderr}"
    );
    assert!(there("broken") && there("6.12.8-tarball-x86_64-kcold"));

    let output = place.run(cargo_ktstr().args(["kernel", "clean", "--corrupt-only", "--force"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!there("broken") && there("6.12.8-tarball-x86_64-kcold"));

    let output = place.run(ktstr().args(["kernel", "clean", "--keep", "1", "--force"]));
    assert!(text(&output.stdout).ends_with("removed 1 kernel\n"));
    assert!(there("6.12.9-tarball-x86_64-kcnew") && !there("6.12.8-tarball-x86_64-kcold"));
}

#[test]
fn a_kernel_that_is_being_built_is_left_alone() {
    let place = filled();
    let lock = place.cache().lock_path(&CacheKey::parse("broken").unwrap());
    let held = LockFile::try_acquire(&lock, LockMode::Exclusive).unwrap();
    let output = place.run(cargo_ktstr().args(["kernel", "clean", "--force"]));
    assert_eq!(output.status.code(), Some(1));
    let errors = error_lines(&output);
    assert!(
        errors.len() == 1 && errors[0].contains("`broken` is being built"),
        "{errors:?}"
    );
    assert!(
        text(&output.stdout).ends_with("removed 2 kernels\n"),
        "the others go"
    );
    drop(held);
}

#[test]
fn a_build_stays_on_the_cpus_it_may_use() {
    let place = Place::new();
    place.tree("linux");
    let build = |cap: &str, path: &str| {
        let mut command = cargo_ktstr();
        command.args(["kernel", "build", "--kernel", "./linux", "--cpu-cap", cap]);
        command.env("PATH", path);
        place.run(&mut command)
    };
    let path = std::env::var("PATH").unwrap();
    let output = build("100000", &path);
    assert_eq!(output.status.code(), Some(1));
    let errors = error_lines(&output);
    assert!(
        errors[0].contains("asks for 100000 host CPUs"),
        "{errors:?}"
    );

    // A make that only says where it runs, and how.
    let script = place.dir().join("make.sh");
    let log = place.dir().join("make.log");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> {0}\ngrep Cpus_allowed_list /proc/self/status >> {0}\nexit 1\n",
        log.display()
    );
    fs::write(&script, text).unwrap();
    let mut install = std::process::Command::new("install");
    install.args(["-m", "755"]).arg(&script);
    assert!(
        install
            .arg(place.dir().join("make"))
            .status()
            .unwrap()
            .success()
    );
    let output = build("1", &format!("{}:{path}", place.dir().display()));
    assert_eq!(output.status.code(), Some(1));
    let said = fs::read_to_string(log).unwrap();
    assert!(said.contains("-j1 "), "{said}");
    let cpus = said
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    assert!(cpus.unwrap().trim().parse::<u32>().is_ok(), "{said}");
}

#[test]
fn what_is_ready_is_not_built() {
    let place = filled();
    place.file("bzImage", &bz_image("6.13.0"));
    let output = place.run(cargo_ktstr().args([
        "kernel",
        "build",
        "--kernel",
        "6.12.9-tarball-x86_64-kcnew",
        "--kernel",
        "./bzImage",
    ]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let built = text(&output.stdout);
    assert!(
        built.starts_with("key:   6.12.9-tarball-x86_64-kcnew\nimage: /"),
        "{built}"
    );
    assert!(
        built.contains("key:   none: an image is used as it is\n"),
        "{built}"
    );
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("cargo ktstr: resolved kernel \"./bzImage\"\n"),
        "{stderr}"
    );
}
