//! Compiles the BPF side with clang. Where there is no clang the program is built without it, and says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tried in this order where `CLANG` names none.
const CLANGS: &[&str] = &["clang", "clang-19", "clang-18", "clang-17", "clang-16"];

/// Older ones describe kernel functions in ways that libbpf does not match with the kernel's.
const OLDEST: u32 = 16;

/// `__TARGET_ARCH_*` of libbpf's `bpf_tracing.h` by Rust's name of the architecture.
const ARCHES: &[(&str, &str)] = &[
    ("x86_64", "x86"),
    ("aarch64", "arm64"),
    ("riscv64", "riscv"),
    ("s390x", "s390"),
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bpf_left_out)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let Some(clang) = clang() else {
        println!("cargo::rustc-cfg=bpf_left_out");
        println!(
            "cargo::warning=scx-ktstr is built without its scheduler: no clang of version {OLDEST} or later; \
             install one (Debian, Ubuntu: apt-get install clang-19) or name it in CLANG"
        );
        // No such file ever: cargo asks again at the next build.
        println!("cargo::rerun-if-changed=bpf/no-clang");
        return;
    };
    compile(&clang);
}

/// The first compiler that runs and is new enough.
fn clang() -> Option<PathBuf> {
    let named = env::var_os("CLANG").filter(|name| !name.is_empty());
    let candidates = match named {
        Some(named) => vec![PathBuf::from(named)],
        None => CLANGS.iter().map(PathBuf::from).collect(),
    };
    candidates
        .into_iter()
        .find(|clang| major_version(clang) >= Some(OLDEST))
}

/// 19 of `Debian clang version 19.1.4 (1~deb12u1)`.
fn major_version(clang: &Path) -> Option<u32> {
    let output = Command::new(clang).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, version) = text.split_once("clang version ")?;
    version.split('.').next()?.parse().ok()
}

fn compile(clang: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let headers = env::var_os("DEP_BPF_INCLUDE").expect("libbpf-sys names its headers");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    let target = ARCHES.iter().find(|(rust, _)| *rust == arch);
    let Some((_, target)) = target else {
        panic!(
            "scx-ktstr: libbpf's name of {arch} is not known here; add it to ARCHES in build.rs"
        );
    };
    let status = Command::new(clang)
        // -g brings the BTF that libbpf relocates by.
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3"])
        .args(["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
        .arg(format!("-D__TARGET_ARCH_{target}"))
        .arg("-I")
        .arg(&headers)
        .args(["-c", "bpf/main.bpf.c", "-o"])
        .arg(out.join("scheduler.bpf.o"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "scx-ktstr: {} failed on bpf/main.bpf.c ({status}); its messages are above",
            clang.display()
        ),
        Err(error) => panic!("scx-ktstr: {}: {error}", clang.display()),
    }
}
