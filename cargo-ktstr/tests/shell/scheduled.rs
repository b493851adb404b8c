//! A scheduler beside the shell, by name and as a test has it.

use std::fs;
use std::path::PathBuf;

use super::shell;

#[path = "../support/project.rs"]
mod project;

use project::Project;

/// A scheduler of the kernel's own, where they were built.
fn simple() -> Option<PathBuf> {
    let dir = std::env::var_os("KTSTR_TEST_SCHEDULERS").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        eprintln!(
            "SKIP: KTSTR_TEST_SCHEDULERS is not set; `make test` builds the schedulers and sets it"
        );
    }
    Some(PathBuf::from(dir?).join("scx_simple"))
}

const LOOK: &str = "cat /sys/kernel/sched_ext/state /sys/kernel/sched_ext/root/ops";

#[test]
fn a_scheduler_that_dies_is_told_and_the_shell_goes_on() {
    let Some(program) = simple() else { return };
    let until_gone = "while grep -q enabled /sys/kernel/sched_ext/state; do sleep 0.1; done";
    let line = format!("{LOOK}; pkill -9 -x program; {until_gone}; sleep 1; echo on; exit 5");
    let output = shell()
        .args(["--sched-arg", "-f", "--exec", &line, "--scheduler"])
        .arg(&program)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "enabled\nsimple\non\n",
        "{error}"
    );
    assert!(error.contains("ktstr: the scheduler is gone: "), "{error}");
    assert!(error.contains("SIGKILL"), "{error}");
    assert_eq!(output.status.code(), Some(5));

    // One that does not start: the command would tell of another scheduler.
    let output = shell()
        .args([
            "--sched-arg=--nonsense",
            "--exec",
            "echo ran",
            "--scheduler",
        ])
        .arg(&program)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout.is_empty(), "{error}");
    assert!(
        error.contains("its program exited with status 1"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn the_machine_of_a_test_has_what_the_test_has() {
    let Some(program) = simple() else { return };
    let project = Project::new(&format!(
        "declare_scheduler!(MINE, {{ name = \"mine\", binary_path = {program:?}, topology = (1, 3, 1, 1) }});\n\n\
         #[ktstr_test(scheduler = MINE, kaslr = false, extra_include_files = [\"some file\"])]\n\
         fn looked_at(ctx: &Ctx) -> Result<AssertResult> {{\n    scenarios::steady(ctx)\n}}\n\n\
         #[ktstr_test(host_only)]\n\
         fn elsewhere(_: &Ctx) -> Result<AssertResult> {{\n    Ok(AssertResult::pass())\n}}\n"
    ));
    fs::write(project.path().join("some file"), "content\n").unwrap();
    fs::write(project.path().join("other"), "of ours\n").unwrap();
    let line = format!(
        "{LOOK}; nproc; cat '/include-files/some file' /include-files/other; grep -o nokaslr /proc/cmdline"
    );
    let output = project
        .cargo_ktstr("shell")
        .args(["--test", "looked_at", "-i", "other", "--exec", &line])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = "enabled\nsimple\n3\ncontent\nof ours\nnokaslr\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{error}");
    assert_eq!(output.status.code(), Some(0), "{error}");

    for (test, why) in [
        ("elsewhere", "error: `host/elsewhere` runs on the host"),
        ("nobody", "error: no test is called `nobody`"),
    ] {
        let mut command = project.cargo_ktstr("shell");
        let output = command
            .args(["--test", test, "--exec", "true"])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(why), "{error}");
        assert_eq!(output.status.code(), Some(125));
    }
}
