//! The root directory of a shell's machine.

mod files;
mod found;
mod terminfo;
mod tools;
mod usage;

use std::collections::BTreeSet;
use std::path::Path;

use ktstr_core::host::Host;
use ktstr_vmm::initramfs::InitramfsBuilder;

use found::Tools;
pub use usage::ShellUse;

/// Where the C library's modules may be.
const LIBRARIES: &[&str] = &["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];

/// What older C libraries look names of users up with.
const NSS_FILES: &str = "libnss_files.so.2";

/// The characters of every language, for programs that ask for them.
const UTF8_LOCALE: &str = "/usr/lib/locale/C.utf8";

/// The root directory of a shell's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellRoot {
    /// Its content, for [`MachinePlan::root`](ktstr_harness::runner::MachinePlan::root).
    pub root: InitramfsBuilder,
    /// What one counts on and the host does not have: names of programs, and what describes the terminal. In the order
    /// of names.
    pub missing: Vec<String>,
}

/// Makes the root directory of a shell's machine from what `host` has: bash or `sh`, some 200 tools for files, processes
/// and text, with their libraries, the description of the host's terminal and of usual ones, and the files of an account.
///
/// Tools come from the search path of `host` and from the directories of administration. Small ones come always. Large
/// ones (`perf`, `strace`, `vim`, `bpftool` and some more), which the guest takes time to unpack, come for a shell at a
/// terminal; for a command or a script only where the command names them. A command that names all that it runs, such as
/// `true` or `dmesg | grep BPF`, gets `sh` and these tools alone. `bpftrace` and `gdb`, of a hundred megabytes
/// and more, only come where a command names them. Where the host has busybox, it stands in for what is missing.
///
/// Nothing but busybox, for the list of what it can do, is run, and no file's content is read:
/// [`build_cached`](ktstr_vmm::initramfs::Initramfs::build_cached) does that, once.
pub fn root(host: &Host, usage: ShellUse<'_>) -> ShellRoot {
    let mut tools = Tools::new(host);
    let large = tools::LARGE.iter().filter(|name| usage.has_large(name));
    let huge = tools::HUGE.iter().filter(|name| usage.names(name));
    let small = tools::ESSENTIAL.iter().chain(tools::USUAL);
    let small = small.filter(|name| **name == "sh" || !usage.names_all() || usage.names(name));
    let wanted = small.chain(large).chain(huge);
    for name in wanted {
        tools.add(name);
    }
    tools.add_by_busybox();
    let mut missing = tools.missing(usage);
    let mut root = files::add(tools.into_root());
    root = terminals(root, host, usage, &mut missing);
    root = libraries(root, usage);
    ShellRoot { root, missing }
}

/// Adds the descriptions of terminals. A command at a pipe draws nothing.
fn terminals(
    mut root: InitramfsBuilder,
    host: &Host,
    usage: ShellUse<'_>,
    missing: &mut Vec<String>,
) -> InitramfsBuilder {
    let own = terminfo::of_host(host);
    let mut names: BTreeSet<&str> = own.as_deref().into_iter().collect();
    if usage == ShellUse::Terminal {
        names.extend(terminfo::USUAL);
    }
    for name in names {
        match terminfo::find(host, name) {
            Some((file, place)) => root = root.file(file, place, 0o644),
            None if usage == ShellUse::Terminal && own.as_deref() == Some(name) => {
                missing.push(format!("terminfo of {name}"));
            }
            None => {}
        }
    }
    root
}

/// Adds what programs load by themselves.
fn libraries(mut root: InitramfsBuilder, usage: ShellUse<'_>) -> InitramfsBuilder {
    let mut places = LIBRARIES.iter().map(|dir| Path::new(dir).join(NSS_FILES));
    if let Some(library) = places.find(|place| place.is_file()) {
        root = root.optional_executable(&library, &library);
    }
    if usage == ShellUse::Terminal && Path::new(UTF8_LOCALE).is_dir() {
        root = root.tree(UTF8_LOCALE, UTF8_LOCALE);
    }
    root
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A host with these programs in `bin`, none of the real one's.
    fn host(dir: &Path, programs: &[&str]) -> Host {
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in programs {
            let program = bin.join(name);
            fs::write(&program, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Host {
            root: dir.into(),
            path: bin.into(),
            ..Host::default()
        }
    }

    #[test]
    fn what_is_missing_is_named_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let all = host(dir.path(), &[tools::ESSENTIAL, &["nano"]].concat());
        assert_eq!(root(&all, ShellUse::Terminal).missing, [""; 0]);
        for name in ["less", "ps", "nano"] {
            fs::remove_file(dir.path().join("bin").join(name)).unwrap();
        }
        assert_eq!(root(&all, ShellUse::Terminal).missing, ["less", "ps", "vi"]);
        assert_eq!(root(&all, ShellUse::Script).missing, ["less", "ps"]);
        let perf = ShellUse::Command {
            line: "taskset 1 perf stat true",
            with_files: true,
        };
        assert_eq!(root(&all, perf).missing, ["less", "perf", "ps"]);
    }

    #[test]
    fn a_program_of_several_names_is_packed_once() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path(), &["sh", "multi"]);
        for name in ["ls", "cat", "awk"] {
            symlink("multi", dir.path().join("bin").join(name)).unwrap();
        }
        let multi = dir.path().join("bin/multi").canonicalize().unwrap();
        let built = root(&host, ShellUse::Script).root;
        let expected = |builder: InitramfsBuilder| {
            let with = builder.optional_executable(&multi, "/usr/bin/multi");
            ["ls", "cat", "awk"].iter().fold(with, |root, name| {
                root.symlink("multi", Path::new("/usr/bin").join(name))
            })
        };
        // It has all of that already.
        assert_eq!(expected(built.clone()), built);
    }

    #[test]
    fn large_tools_come_where_they_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path(), &["sh", "perf", "strace", "bpftrace"]);
        let has = |usage| {
            let built = root(&host, usage).root;
            ["perf", "strace", "bpftrace"].map(|name| built.has(Path::new("/usr/bin").join(name)))
        };
        assert_eq!(has(ShellUse::Terminal), [true, true, false]);
        assert_eq!(has(ShellUse::Script), [false; 3]);
        let of = |line| {
            has(ShellUse::Command {
                line,
                with_files: false,
            })
        };
        assert_eq!(of("true"), [false; 3]);
        assert_eq!(of("cd /tmp;/usr/bin/perf stat -- x"), [true, false, false]);
        assert_eq!(of("perform my-strace.log"), [false; 3]);
        assert_eq!(of("(strace -f ls)|bpftrace x"), [false, true, true]);
    }

    #[test]
    fn a_command_that_names_all_tools_gets_these_alone() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path(), tools::ESSENTIAL);
        let has = |line, with_files| {
            let made = root(&host, ShellUse::Command { line, with_files });
            let place = |name| Path::new("/usr/bin").join(name);
            ["sh", "dmesg", "ps"].map(|name| made.root.has(place(name)))
        };
        assert_eq!(has("true", false), [true, false, false]);
        assert_eq!(
            has("dmesg | /bin/grep BPF > /tmp/ps", false),
            [true, true, true]
        );
        assert_eq!(has("dmesg | grep BPF", false), [true, true, false]);
        let all = [true; 3];
        assert_eq!(has("true", true), all);
        for open in [
            "$TOOL",
            "`cat x`",
            "xargs",
            ". ./x",
            "echo hi | sh",
            "/usr/bin/p*",
            "p\\s",
        ] {
            assert_eq!(has(open, false), all, "{open}");
        }
        // What it does not name is not missed.
        fs::remove_file(dir.path().join("bin/less")).unwrap();
        let missing = |line| {
            root(
                &host,
                ShellUse::Command {
                    line,
                    with_files: false,
                },
            )
            .missing
        };
        assert_eq!(missing("true"), [""; 0]);
        assert_eq!(missing("less x"), ["less"]);
    }

    #[test]
    fn busybox_stands_in_for_what_it_can_do() {
        let dir = tempfile::tempdir().unwrap();
        let without_less: Vec<_> = tools::ESSENTIAL
            .iter()
            .filter(|it| **it != "less")
            .copied()
            .collect();
        let host = host(dir.path(), &without_less);
        let busybox = dir.path().join("bin/busybox");
        fs::write(&busybox, "#!/bin/sh\necho less\necho vi\necho ls\n").unwrap();
        fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).unwrap();
        let made = root(&host, ShellUse::Terminal);
        assert_eq!(made.missing, [""; 0]);
        for name in ["less", "vi"] {
            let place = Path::new("/usr/bin").join(name);
            assert_eq!(made.root.clone().symlink("busybox", place), made.root);
        }
        // What the host has itself stays its own.
        let ls = dir.path().join("bin/ls").canonicalize().unwrap();
        let with_ls = made.root.clone().optional_executable(ls, "/usr/bin/ls");
        assert_eq!(with_ls, made.root);
    }

    #[test]
    fn what_this_host_has_is_packed() {
        let host = Host::of_this_process();
        let made = root(&host, ShellUse::Script);
        let mut bytes = Vec::new();
        made.root
            .init("/proc/self/exe")
            .build()
            .write(&mut bytes)
            .unwrap();
        for name in ["usr/bin/sh", "usr/bin/ls", "etc/passwd"] {
            assert!(
                bytes
                    .windows(name.len())
                    .any(|part| part == name.as_bytes()),
                "{name}"
            );
        }
    }
}
