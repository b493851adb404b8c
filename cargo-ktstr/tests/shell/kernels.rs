//! The kernel of a shell's machine: what names it, and what it says.

use std::path::PathBuf;

use ktstr_core::host::Host;
use ktstr_kernel::Cache;
use ktstr_kernel::discover::discover;

use super::server::Server;
use super::shell;

/// The symbols beside the image that these tests find by themselves.
fn vmlinux() -> Option<PathBuf> {
    let host = Host::of_this_process();
    let cache = Cache::new(ktstr_core::env::cache_root(&host)?);
    let found = discover(&host, &cache, &host.dir).ok()?.kernel;
    let vmlinux = found
        .vmlinux
        .unwrap_or_else(|| found.image.with_file_name("vmlinux"));
    vmlinux.is_file().then_some(vmlinux)
}

#[test]
fn an_uncompressed_kernel_boots_and_its_messages_are_shown() {
    let Some(vmlinux) = vmlinux() else {
        eprintln!("SKIP: no vmlinux beside the kernel; `make kernel` caches one");
        return;
    };
    let line = "echo from the guest > /dev/kmsg; cat /proc/sys/kernel/osrelease; exit 3";
    let run = |dmesg: Option<&str>| {
        let mut command = shell();
        command
            .args(dmesg)
            .args(["--exec", line, "--kernel"])
            .arg(&vmlinux);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{err}");
        (out, err)
    };
    let (release, quiet) = run(None);
    assert_eq!(quiet, "");
    let (out, messages) = run(Some("--dmesg"));
    assert_eq!(out, release);
    // From its first message to one of the command, and nothing of them on standard output.
    let first = format!("] Linux version {} ", release.trim_end());
    assert!(messages.contains(&first), "{messages}");
    assert!(messages.contains("] from the guest\n"), "{messages}");
}

#[test]
fn a_range_of_several_kernels_is_refused_before_any_is_fetched() {
    let server = Server::start();
    let index = r#"{"latest_stable": {"version": "6.14.2"}, "releases": [
        {"iseol": false, "version": "6.14.2", "moniker": "stable"},
        {"iseol": false, "version": "6.12.25", "moniker": "longterm"}]}"#;
    server.put("/releases.json", index);
    let cache = tempfile::tempdir().unwrap();
    let run = |range: &str| {
        let mut command = shell();
        command
            .args(["--exec", "true", "--kernel", range])
            .env("KTSTR_CACHE_DIR", cache.path())
            .env("KTSTR_KERNEL_MIRROR", server.base());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        run("6.11..6.14"),
        "error: --kernel 6.11..6.14 names 2 kernels, and a machine has one; give one of 6.12.25, 6.14.2\n"
    );
    assert_eq!(
        (server.count(), server.requests("/releases.json").len()),
        (1, 1)
    );
    // A range of one is that kernel, which this mirror does not have.
    let error = run("6.12..6.13");
    assert!(
        error.contains("6.12.25") && !error.contains("names"),
        "{error}"
    );
}
