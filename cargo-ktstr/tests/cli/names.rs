//! Kernels and directories that are named in ways that cannot work, or hardly.

use std::fs;
use std::process::Command;

use crate::place::{Place, bz_image, cargo_ktstr, error_lines, ktstr, text};

/// Runs `kernel build` for all of `names`.
fn build(place: &Place, names: &[&str]) -> std::process::Output {
    let mut command = cargo_ktstr();
    command.args(["kernel", "build"]);
    for name in names {
        command.args(["--kernel", name]);
    }
    place.run(&mut command)
}

#[test]
fn what_others_call_a_kernel_is_told_how_to_write_it() {
    let place = Place::new();
    place.tree("linux");
    place.file("bzImage", &bz_image("6.13.0"));
    for (name, instead) in [
        ("v6.14", "; write 6.14"),
        ("6.12.x", "; write 6.12"),
        ("linux-6.12", "; write 6.12, or ./linux-6.12 "),
        ("next-20260101", "linux-next.git#tag=next-20260101"),
        (
            "linux",
            "; for the file or directory of that name write ./linux",
        ),
        ("bzImage", " write ./bzImage"),
        (
            "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.1.tar.xz",
            "; write 6.12.1 (",
        ),
        (
            "https://me:secret@h/linux.git",
            "; write git+https://h/linux.git#tag=",
        ),
        (
            "git@github.com:me/linux.git",
            "; write git+ssh://git@github.com/me/linux.git#tag=",
        ),
        ("file:///src/linux", "; write /src/linux"),
        (
            "git+https://me:secret@h/linux.git#tag=v6.1",
            "https://…@h/linux.git",
        ),
    ] {
        for command in [&["test"][..], &["kernel", "build"]] {
            let args = [command, &["--kernel", name]].concat();
            let error = place.fails(cargo_ktstr().args(&args), 1);
            assert!(error.contains(instead), "{name}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
    // What only a command looks up cannot be a kernel of the environment.
    for name in ["stable", "6.12..6.14", "git+https://h/linux.git#tag=v6.1"] {
        let error = place.fails(cargo_ktstr().arg("test").env("KTSTR_KERNEL", name), 1);
        let advice = format!(", or run: cargo ktstr test --kernel {name}");
        assert!(error.ends_with(&advice), "{error}");
        assert!(error.contains("; set KTSTR_KERNEL to"), "{error}");
    }
}

#[test]
fn every_bad_name_of_a_command_is_told_at_once() {
    let place = Place::new();
    place.file("zero", b"");
    let names = ["no-such-key", "./zero", "v6.14", "./none", "stable"];
    let output = build(&place, &names);
    assert_eq!(output.status.code(), Some(1));
    let errors = error_lines(&output);
    assert_eq!(errors.len(), names.len(), "{errors:?}");
    for (name, error) in names.iter().zip(&errors) {
        assert!(
            error.contains(name.trim_start_matches("./")),
            "{name}: {error}"
        );
    }
}

#[test]
fn directories_of_variables_are_the_same_for_everybody() {
    let place = Place::new();
    fs::create_dir(place.dir().join("src")).unwrap();
    place.entry("6.12.9-tarball-x86_64-kc1", "2026-07-04T23:06:12Z", |_| {});
    let environment = |cache: &str, home: &std::path::Path| {
        let mut command = cargo_ktstr();
        command.args(["test", "--kernel", "6.12.9-tarball-x86_64-kc1"]);
        for (name, value) in [
            ("KTSTR_CACHE_DIR", cache),
            ("KTSTR_LOCK_DIR", "../locks"),
            ("KTSTR_SIDECAR_DIR", "./results"),
            ("KTSTR_SCHEDULER", "src/../scx_mine"),
        ] {
            command.env(name, value);
        }
        let output = place.run(command.env("HOME", home));
        assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
        fs::read_to_string(place.dir().join("cargo.log")).unwrap()
    };
    let root = place.dir().parent().unwrap().to_owned();
    let cache = place.cache().root().to_owned();
    for (value, home) in [("../cache", root.join("home")), ("~/cache", root.clone())] {
        let log = environment(value, &home);
        let image = cache.join("kernels/6.12.9-tarball-x86_64-kc1/bzImage");
        for line in [
            format!("KTSTR_CACHE_DIR={}\n", cache.display()),
            format!("KTSTR_KERNEL={}\n", image.display()),
            format!("KTSTR_LOCK_DIR={}\n", root.join("locks").display()),
            format!(
                "KTSTR_SIDECAR_DIR={}\n",
                place.dir().join("results").display()
            ),
            format!(
                "KTSTR_SCHEDULER={}\n",
                place.dir().join("src/../scx_mine").display()
            ),
        ] {
            assert!(log.contains(&line), "{line}{log}");
        }
    }
    for mut command in [cargo_ktstr(), ktstr()] {
        command
            .args(["kernel", "list"])
            .env("KTSTR_LOCK_DIR", "~nobody/locks");
        let error = place.fails(&mut command, 1);
        assert!(
            error.starts_with("KTSTR_LOCK_DIR=~nobody/locks: `~` cannot be expanded"),
            "{error}"
        );
    }
}

#[test]
fn a_path_that_make_cannot_build_in_is_told_first() {
    let place = Place::new();
    place.tree("my linux");
    place.file("linux.tar.gz", b"\x1f\x8b");
    let error = place.fails(
        cargo_ktstr().args(["kernel", "build", "--kernel", "./my linux"]),
        1,
    );
    let said = "my linux: the kernel's make cannot build in a path with a space in it; move the source tree";
    assert!(error.contains(said), "{error}");
    let mut command = cargo_ktstr();
    command.args([
        "kernel",
        "build",
        "--kernel",
        "./linux.tar.gz",
        "--kernel",
        "6.14.2",
    ]);
    command.env("KTSTR_CACHE_DIR", place.dir().join("100%"));
    let output = place.run(&mut command);
    let errors = error_lines(&output);
    assert_eq!(errors.len(), 2, "{errors:?}");
    for error in errors {
        let said =
            "100%: the kernel's make cannot build in a path with % in it; set KTSTR_CACHE_DIR";
        assert!(error.contains(said), "{error}");
    }
    assert!(!place.dir().join("100%").exists());
}

#[test]
fn an_image_that_cannot_be_booted_is_not_resolved() {
    let place = Place::new();
    let mut cut = bz_image("6.13.0");
    // 16 times so many bytes follow the setup code.
    cut[0x1f4] = 0xff;
    place.file("vmlinuz", &cut);
    let error = place.fails(
        cargo_ktstr().args(["kernel", "build", "--kernel", "./vmlinuz"]),
        1,
    );
    assert!(
        error.contains("a kernel image that is cut short"),
        "{error}"
    );
    place.file(
        "vmlinux",
        &[
            b"\x7fELF\x02\x01".as_slice(),
            &[0; 12],
            &[62, 0],
            &[0; 4000],
        ]
        .concat(),
    );
    let packed = Command::new("gzip")
        .arg(place.dir().join("vmlinux"))
        .status();
    assert!(packed.unwrap().success());
    for command in [&["test"][..], &["kernel", "build"]] {
        let args = [command, &["--kernel", "./vmlinux.gz"]].concat();
        let error = place.fails(cargo_ktstr().args(&args), 1);
        let said =
            "vmlinux.gz: a kernel image compressed by gzip; unpack it and give that: gzip -dc ";
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn entries_of_another_version_are_listed_and_left() {
    let place = Place::new();
    place.entry("theirs", "2026-07-04T23:06:12Z", |metadata| {
        metadata.schema = 9;
    });
    let pipe = place.cache_entry("piped");
    fs::create_dir_all(&pipe).unwrap();
    let made = Command::new("mkfifo")
        .arg(pipe.join("metadata.json"))
        .status();
    assert!(made.unwrap().success());
    let list = text(&place.run(cargo_ktstr().args(["kernel", "list"])).stdout);
    assert!(
        list.contains("(from another ktstr version: metadata.json has format 9"),
        "{list}"
    );
    assert!(
        list.contains("(corrupt: metadata.json: not a regular file)"),
        "{list}"
    );
    let json = place.run(cargo_ktstr().args(["kernel", "list", "--json"]));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let states: Vec<_> = json["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kernel| &kernel["state"])
        .collect();
    assert_eq!(states, ["corrupt", "other_version"]);
    let output = place.run(cargo_ktstr().args(["kernel", "clean", "--corrupt-only", "--force"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!pipe.exists() && place.cache_entry("theirs").exists());
}
