//! What `#[ktstr_test]` and `declare_scheduler!` take, and how they refuse the rest.
//!
//! The compiler runs on each file of `tests/ui` by itself, against the library that was built for this test: a project
//! around them would build every dependency once more, which takes minutes. Files in `pass` compile and run; files in
//! `fail` are refused in the words of the `.stderr` beside them, which `KTSTR_TEST_OVERWRITE=1` writes anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// This package's directory in the workspace.
const PACKAGE: &str = "ktstr-harness";

/// Ends of what the compiler says that tell nothing about a file.
const CLOSING_WORDS: [&str; 3] = [
    "error: aborting due to ",
    "For more information about ",
    "Some errors have detailed explanations: ",
];

#[test]
fn right_uses_compile_and_hold() {
    let dir = tempfile::tempdir().unwrap();
    for_each_file("pass", |file| {
        let program = dir.path().join(file.file_stem().unwrap());
        let built = compile(file, &[], &program);
        if !built.status.success() {
            return Err(text(&built.stderr));
        }
        let ran = Command::new(&program).output().unwrap();
        let words = text(&ran.stdout) + &text(&ran.stderr);
        ran.status.success().then_some(()).ok_or(words)
    });
}

#[test]
fn wrong_uses_are_refused_in_these_words() {
    let dir = tempfile::tempdir().unwrap();
    let overwrite = std::env::var_os("KTSTR_TEST_OVERWRITE").is_some_and(|value| value == "1");
    for_each_file("fail", |file| {
        let metadata = dir
            .path()
            .join(file.with_extension("rmeta").file_name().unwrap());
        let output = compile(file, &["--emit=metadata"], &metadata);
        if output.status.success() {
            return Err("it compiles".to_owned());
        }
        let said = normal(&text(&output.stderr));
        let expected = manifest_dir().join(file).with_extension("stderr");
        if overwrite {
            fs::write(&expected, &said).unwrap();
            return Ok(());
        }
        let expected = fs::read_to_string(&expected).map_err(|error| {
            format!(
                "{}: {error}; the compiler says:\n{said}",
                expected.display()
            )
        })?;
        if without_gutter(&said) == without_gutter(&expected) {
            return Ok(());
        }
        Err(format!("expected:\n{expected}\nthe compiler says:\n{said}"))
    });
}

/// Runs `check` on every file of `tests/ui/{dir}`, several at once, and says of each what is wrong with it.
fn for_each_file(dir: &str, check: impl Fn(&Path) -> Result<(), String> + Sync) {
    let dir = Path::new("tests/ui").join(dir);
    let entries = fs::read_dir(manifest_dir().join(&dir)).unwrap();
    let names = entries.map(|entry| dir.join(entry.unwrap().file_name()));
    let mut files: Vec<PathBuf> = names
        .filter(|name| name.extension().is_some_and(|end| end == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = check(file) {
                let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                wrong.push(format!("{}: {why}", file.display()));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn workspace() -> &'static Path {
    manifest_dir().parent().unwrap()
}

/// Compiles `file`, a path from the manifest's directory, as a program to `out`.
fn compile(file: &Path, options: &[&str], out: &Path) -> Output {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut harness = std::ffi::OsString::from("ktstr_harness=");
    harness.push(library());
    let mut dependencies = std::ffi::OsString::from("dependency=");
    dependencies.push(deps());
    // Of instrumented libraries only an instrumented program can be made.
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = Command::new(compiler);
    command
        // From where cargo compiles: the compiler finds the sources of what it calls there.
        .current_dir(workspace())
        // What macros ask cargo for.
        .env("CARGO_MANIFEST_DIR", manifest_dir())
        .env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"))
        .args(["--edition=2024", "--color=never", "--diagnostic-width=140"])
        .args(flags.split_whitespace())
        .args(options)
        .arg("--extern")
        .arg(harness)
        .arg("-L")
        .arg(dependencies)
        .arg("-o")
        .arg(out)
        .arg(Path::new(PACKAGE).join(file));
    command.output().expect("the compiler can be started")
}

/// Where cargo put what it built for this test.
fn deps() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.parent().unwrap().to_owned()
}

/// The library: of several, with other features, the one that was built last.
fn library() -> PathBuf {
    let found = fs::read_dir(deps()).unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let is_rlib = path
            .extension()
            .is_some_and(|extension| extension == "rlib");
        let is_it = name.starts_with("libktstr_harness-") && is_rlib;
        is_it.then_some(path)
    });
    let age = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    found.max_by_key(age).expect("the library was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the compiler says, without what another machine, or a change to other files, would make different.
fn normal(said: &str) -> String {
    let mut normal = String::new();
    let mut is_elsewhere = false;
    for line in said.lines() {
        if CLOSING_WORDS.iter().any(|words| line.starts_with(words)) {
            continue;
        }
        let inner = line.trim_start();
        let indent = &line[..line.len() - inner.len()];
        let arrow = ["--> ", "::: "].into_iter().find(|a| inner.starts_with(a));
        if let Some(arrow) = arrow {
            let place = &inner[arrow.len()..];
            let own = place
                .strip_prefix(PACKAGE)
                .and_then(|p| p.strip_prefix('/'));
            let own = own.filter(|place| place.starts_with("tests/ui/"));
            is_elsewhere = own.is_none();
            let place = own.map_or_else(|| elsewhere(place), str::to_owned);
            let _ = writeln!(normal, "{indent}{arrow}{place}");
            continue;
        }
        let number = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        if is_elsewhere && inner[number..].trim_start().starts_with('|') {
            let blank = " ".repeat(number);
            let _ = writeln!(normal, "{indent}{blank}{}", inner[number..].trim_end());
        } else {
            let _ = writeln!(normal, "{}", line.trim_end());
        }
    }
    normal.truncate(normal.trim_end().len());
    normal.push('\n');
    normal
}

/// A place in a file that is none of the tests': without lines, and wherever it lies.
fn elsewhere(place: &str) -> String {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut path = place;
    while let Some((before, _)) = path.rsplit_once(':').filter(|(_, end)| is_number(end)) {
        path = before;
    }
    if let Some((_, path)) = path.split_once("/library/") {
        return format!("$RUST/{path}");
    }
    let path = Path::new(path);
    let path = path.strip_prefix(workspace()).unwrap_or(path);
    format!("$WORKSPACE/{}", path.display())
}

/// Lines without the margin before the code: it is as wide as the longest line number.
fn without_gutter(said: &str) -> Vec<String> {
    let line = |line: &str| {
        let inner = line.trim_start();
        let number = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        let rest = inner[number..].trim_start();
        let is_margin = ["|", "= ", "--> ", "::: "]
            .iter()
            .any(|start| rest.starts_with(start));
        if is_margin {
            format!("{}{rest}", &inner[..number])
        } else {
            line.to_owned()
        }
    };
    said.trim_end().lines().map(line).collect()
}

#[test]
fn what_other_machines_would_say_is_the_same() {
    let said = "\
error[E0080]: evaluation panicked: no such preset
   --> ktstr-harness/tests/ui/fail/x.rs:12:53
    |
 12 |     f();
    |     ^^^ evaluation failed inside this call
note: inside `constant`
   --> /usr/lib/rustlib/src/rust/library/core/src/panic.rs:60:5
    |
    = note: the failure occurred here
    |
   ::: ktstr-core/src/preset.rs:105:9
    |
105 |         panic!(\"no\")
    |         ------------ in this macro invocation

error: aborting due to 1 previous error

For more information about this error, try `rustc --explain E0080`.
";
    let expected = "\
error[E0080]: evaluation panicked: no such preset
  --> tests/ui/fail/x.rs:12:53
   |
12 |     f();
   |     ^^^ evaluation failed inside this call
note: inside `constant`
  --> $RUST/core/src/panic.rs
   |
   = note: the failure occurred here
   |
  ::: $WORKSPACE/ktstr-core/src/preset.rs
   |
   |         panic!(\"no\")
   |         ------------ in this macro invocation
";
    assert_eq!(without_gutter(&normal(said)), without_gutter(expected));
    // Where and what in the file itself is compared.
    for (part, other) in [
        ("12:53", "12:54"),
        ("12 |", "13 |"),
        ("f();", "g();"),
        ("     ^^^", "    ^^^"),
    ] {
        let other = said.replacen(part, other, 1);
        assert_ne!(
            without_gutter(&normal(&other)),
            without_gutter(expected),
            "{part}"
        );
    }
}
