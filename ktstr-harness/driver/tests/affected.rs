//! What a change affects, on a workspace of 60 packages and 40 schedulers: no answer is too small, and none is larger than
//! it has to be.

#[path = "support/monorepo.rs"]
mod monorepo;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ktstr_core::host::Host;
use ktstr_driver::affected::{Affected, Impact, Rule, TestBinary, Tests};
use ktstr_driver::baseline::BaselineRequest;

use monorepo::{Monorepo, SCHEDULERS, git, sched};

fn host() -> Host {
    let mut host = Host::of_this_process();
    host.env.remove(OsStr::new("GITHUB_BASE_REF"));
    host
}

fn examine(dir: &Path, request: &BaselineRequest) -> Impact {
    Impact::examine(&host(), dir, request, &["--offline".into()])
}

fn affected(repo: &Monorepo, binaries: &[TestBinary]) -> Affected {
    examine(repo.root(), &BaselineRequest::default()).select(binaries)
}

/// What a change is expected to affect.
enum Expected {
    Nothing,
    /// By a rule of one file.
    Everything(Rule),
    Schedulers(Vec<usize>),
}

use Expected::{Everything, Nothing, Schedulers};

/// A change: what it is, how it is made, and what it affects.
type Row = (&'static str, fn(&Monorepo), Expected);

fn only(n: usize) -> Expected {
    Schedulers(vec![n])
}

/// Changes of what many or all are made from.
fn shared() -> Vec<Row> {
    let all: Vec<usize> = (0..SCHEDULERS).collect();
    vec![
        ("nothing", |_| {}, Nothing),
        (
            "a shared crate",
            |repo| repo.change("crates/lib00/src/lib.rs"),
            Schedulers(all),
        ),
        (
            "a crate that some use",
            |repo| repo.change("crates/lib04/src/lib.rs"),
            Schedulers(vec![3, 13, 23, 33]),
        ),
        (
            "a crate that one uses by way of another",
            |repo| repo.change("crates/lib16/src/lib.rs"),
            only(13),
        ),
        (
            "a build dependency",
            |repo| repo.change("crates/lib11/src/lib.rs"),
            Schedulers((0..10).collect()),
        ),
        (
            "a dependency of tests",
            |repo| repo.change("crates/lib12/src/lib.rs"),
            only(10),
        ),
        (
            "a dependency of a feature",
            |repo| repo.change("crates/lib13/src/lib.rs"),
            only(11),
        ),
        (
            "a dependency of another platform",
            |repo| repo.change("crates/lib14/src/lib.rs"),
            only(12),
        ),
        (
            "a crate that no scheduler uses",
            |repo| repo.change("crates/lib17/src/lib.rs"),
            Schedulers(vec![]),
        ),
        (
            // It does not go into what users of lib01 are made from.
            "a dependency of a library's tests",
            |repo| repo.change("crates/lib18/src/lib.rs"),
            Schedulers(vec![]),
        ),
        (
            "tests of two schedulers in a package of their own",
            |repo| repo.change("crates/lib19/tests/suite.rs"),
            Schedulers(vec![38, 39]),
        ),
        (
            "the file that a scheduler is started with",
            |repo| repo.change("crates/lib17/sched31.toml"),
            only(31),
        ),
        (
            "the lock file",
            |repo| repo.change("Cargo.lock"),
            Everything(Rule::Lockfile),
        ),
        (
            "a toolchain",
            |repo| {
                repo.write(
                    "rust-toolchain.toml",
                    "[toolchain]\nprofile = \"minimal\"\n",
                )
            },
            Everything(Rule::Toolchain),
        ),
        (
            "the workspace's manifest",
            |repo| repo.change("Cargo.toml"),
            Everything(Rule::WorkspaceManifest),
        ),
        (
            "cargo's configuration",
            |repo| repo.write(".cargo/config.toml", "[net]\nretry = 1\n"),
            Everything(Rule::CargoConfig),
        ),
        (
            "a build script",
            |repo| repo.change("scheds/sched03/build.rs"),
            Everything(Rule::BuildScript),
        ),
        (
            "a kernel fragment",
            |repo| repo.change("ktstr.kconfig"),
            Everything(Rule::Unattributed),
        ),
        (
            "a workflow",
            |repo| repo.change(".github/workflows/ci.yml"),
            Everything(Rule::Unattributed),
        ),
        (
            "a file that nobody knows",
            |repo| repo.write("include/new.bpf.h", ""),
            Everything(Rule::Unattributed),
        ),
        (
            "a package that is gone",
            |repo| fs::remove_dir_all(repo.path("scheds/sched35")).unwrap(),
            Everything(Rule::BuildScript),
        ),
    ]
}

/// Changes of one scheduler's files, and of headers.
fn sources() -> Vec<Row> {
    vec![
        (
            "a source",
            |repo| repo.change("scheds/sched07/src/main.rs"),
            only(7),
        ),
        (
            "a manifest",
            |repo| repo.change("scheds/sched30/Cargo.toml"),
            only(30),
        ),
        (
            "a test",
            |repo| repo.change("scheds/sched06/tests/sched.rs"),
            only(6),
        ),
        (
            "BPF",
            |repo| repo.change("scheds/sched07/src/bpf/main.bpf.c"),
            only(7),
        ),
        (
            "its own header",
            |repo| repo.change("scheds/sched07/src/bpf/main.bpf.h"),
            only(7),
        ),
        (
            "a header that two include",
            |repo| repo.change("include/pair.bpf.h"),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header that a header includes",
            |repo| repo.change("include/deep.bpf.h"),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header that is gone",
            |repo| fs::remove_file(repo.path("include/pair.bpf.h")).unwrap(),
            Schedulers(vec![20, 21]),
        ),
        (
            "a header of another package",
            |repo| repo.change("crates/lib02/include/lib02.bpf.h"),
            Schedulers(vec![1, 11, 21, 31, 33]),
        ),
        (
            "a header behind a symbolic link",
            |repo| repo.change("include/linked.bpf.h"),
            only(19),
        ),
        (
            "a symbolic link that leads elsewhere",
            |repo| {
                let link = repo.path("scheds/sched19/src/bpf/shared.h");
                fs::remove_file(&link).unwrap();
                symlink("../../../../include/deep.bpf.h", link).unwrap();
            },
            only(19),
        ),
        (
            "a header with a space in its name, told by dep-info",
            |repo| repo.change("include/with space.h"),
            only(23),
        ),
        (
            "a header of that name of another's own",
            |repo| repo.change("scheds/sched22/src/bpf/with space.h"),
            only(22),
        ),
        (
            "a name that is no UTF-8",
            |repo| {
                let name = OsStr::from_bytes(b"scheds/sched18/src/\xff.bin");
                fs::write(repo.root().join(name), "").unwrap();
            },
            only(18),
        ),
        (
            "a mode",
            |repo| {
                let path = repo.path("scheds/sched17/src/main.rs");
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            },
            only(17),
        ),
        (
            "a file that is gone",
            |repo| fs::remove_file(repo.path("scheds/sched09/src/extra.rs")).unwrap(),
            only(9),
        ),
        (
            "a new package",
            |repo| {
                let text = fs::read_to_string(repo.path("scheds/sched05/Cargo.toml")).unwrap();
                repo.write(
                    "scheds/sched40/Cargo.toml",
                    &text.replace("sched05", "sched40"),
                );
                repo.write("scheds/sched40/src/main.rs", "fn main() {}\n");
            },
            only(40),
        ),
        (
            "a new package in the lock file",
            |repo| {
                let text = fs::read_to_string(repo.path("scheds/sched05/Cargo.toml")).unwrap();
                repo.write(
                    "scheds/sched40/Cargo.toml",
                    &text.replace("sched05", "sched40"),
                );
                repo.write("scheds/sched40/src/main.rs", "fn main() {}\n");
                repo.metadata();
            },
            Everything(Rule::Lockfile),
        ),
    ]
}

/// Documentation, and what looks like it.
fn texts() -> Vec<Row> {
    vec![
        (
            "documentation",
            |repo| {
                repo.change("README.md");
                repo.change("docs/flow.svg");
                repo.change("scheds/sched05/README.md");
                repo.write("docs/new/page.md", "");
            },
            Nothing,
        ),
        (
            "documentation that a package includes",
            |repo| repo.change("docs/manual.md"),
            only(29),
        ),
        (
            "documentation among sources, which one includes",
            |repo| repo.change("scheds/sched28/src/usage.md"),
            only(28),
        ),
        (
            "documentation among sources",
            |repo| repo.change("scheds/sched06/src/usage.md"),
            only(6),
        ),
        (
            "documentation and code",
            |repo| {
                repo.change("README.md");
                repo.change("scheds/sched05/src/main.rs");
            },
            only(5),
        ),
    ]
}

/// Ways in which git has changes.
fn histories() -> Vec<Row> {
    vec![
        (
            "a file that is not tracked",
            |repo| repo.write("scheds/sched15/src/new.rs", ""),
            only(15),
        ),
        (
            "one that the configuration does not show",
            |repo| {
                repo.git("config status.showUntrackedFiles no");
                repo.git("config diff.ignoreSubmodules all");
                repo.git("config diff.relative true");
                repo.write("scheds/sched15/src/new.rs", "");
            },
            only(15),
        ),
        (
            "one that is ignored",
            |repo| repo.write("scheds/sched16/src/new.log", ""),
            Nothing,
        ),
        (
            "a repository that is not tracked",
            |repo| {
                repo.write("scheds/sched15/inner/file", "");
                git(&repo.path("scheds/sched15/inner"), &["init", "--quiet"]);
            },
            only(15),
        ),
        (
            "a commit",
            |repo| {
                repo.change("scheds/sched07/src/main.rs");
                repo.commit_all();
            },
            only(7),
        ),
        (
            "a commit and what is not committed",
            |repo| {
                repo.change("scheds/sched07/src/main.rs");
                repo.commit_all();
                repo.change("scheds/sched08/src/main.rs");
            },
            Schedulers(vec![7, 8]),
        ),
        (
            "a commit that the work tree takes back",
            |repo| {
                repo.change("scheds/sched07/src/main.rs");
                repo.commit_all();
                repo.git("checkout --quiet main -- scheds/sched07/src/main.rs");
            },
            only(7),
        ),
        (
            "a commit that another takes back",
            |repo| {
                repo.change("scheds/sched07/src/main.rs");
                repo.commit_all();
                repo.git("revert --no-edit HEAD");
            },
            Nothing,
        ),
        (
            "what is only in the index",
            |repo| {
                repo.git("rm --quiet --cached scheds/sched34/src/extra.rs");
            },
            only(34),
        ),
        (
            "what git was told not to look at",
            |repo| {
                repo.git("update-index --assume-unchanged scheds/sched36/src/main.rs");
                repo.change("scheds/sched36/src/main.rs");
            },
            only(36),
        ),
        (
            "a file with a new name",
            |repo| {
                repo.git("mv scheds/sched08/src/extra.rs scheds/sched08/src/other.rs");
                repo.commit_all();
            },
            only(8),
        ),
        (
            "a file that moved to another package",
            |repo| {
                repo.git("mv scheds/sched26/src/extra.rs scheds/sched27/src/moved.rs");
                repo.commit_all();
            },
            Schedulers(vec![26, 27]),
        ),
        (
            "code that became documentation",
            |repo| {
                repo.git("mv scheds/sched26/src/extra.rs docs/extra.md");
                repo.commit_all();
            },
            only(26),
        ),
        (
            "a submodule",
            |repo| {
                repo.gitlink("scheds/sched14/vendor", '2');
                repo.git("commit --quiet -m submodule");
            },
            only(14),
        ),
        (
            "a submodule outside of every package",
            |repo| {
                fs::create_dir(repo.path("third-party")).unwrap();
                repo.gitlink("third-party", '2');
                repo.git("commit --quiet -m submodule");
            },
            Everything(Rule::Unattributed),
        ),
        (
            "a merge of two branches",
            |repo| {
                repo.git("checkout --quiet -b side");
                repo.change("scheds/sched24/src/main.rs");
                repo.commit_all();
                repo.git("checkout --quiet topic");
                repo.change("scheds/sched25/src/main.rs");
                repo.commit_all();
                repo.git("merge --quiet --no-edit side");
            },
            Schedulers(vec![24, 25]),
        ),
        (
            "a commit without a branch",
            |repo| {
                repo.git("checkout --quiet --detach");
                repo.change("scheds/sched07/src/main.rs");
                repo.commit_all();
            },
            only(7),
        ),
    ]
}

fn check(repo: &Monorepo, (name, change, expected): &Row, binaries: &[TestBinary]) {
    change(repo);
    let affected = affected(repo, binaries);
    let impact = &affected.impact;
    let told = || format!("{name}: {:?} {:?}", impact.uncertain, impact.files);
    let everything: BTreeSet<String> = (0..=SCHEDULERS).map(sched).collect();
    match expected {
        Nothing => {
            assert!(impact.is_nothing(), "{}", told());
            assert_eq!(affected.tests, Tests::None, "{name}");
            assert!(affected.schedulers.is_empty(), "{name}");
        }
        Everything(rule) => {
            let causes = impact.files.iter().flat_map(|file| &file.causes);
            let rules: Vec<Rule> = causes.map(|(rule, _)| *rule).collect();
            assert!(rules.contains(rule), "{}", told());
            assert!(impact.is_everything() && impact.uncertain.is_empty());
            assert_eq!(affected.schedulers, everything, "{name}");
            assert_eq!(affected.tests, Tests::All, "{name}");
        }
        Schedulers(expected) => {
            assert!(!impact.is_everything(), "{}", told());
            let expected: BTreeSet<String> = expected.iter().map(|n| sched(*n)).collect();
            assert_eq!(affected.schedulers, expected, "{}", told());
        }
    }
    let by_file: BTreeSet<String> = affected.by_file.iter().flatten().cloned().collect();
    assert_eq!(by_file, affected.schedulers, "{name}");
    assert_eq!(affected.by_file.len(), impact.files.len(), "{name}");
}

fn rows() -> Vec<Row> {
    [shared(), sources(), texts(), histories()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_change_affects_exactly_what_it_can_reach() {
    let repo = Monorepo::new();
    let mut binaries = repo.binaries();
    // A scheduler that one of the changes adds.
    let mut new = binaries[0].clone();
    new.id = "sched40::sched".to_owned();
    new.schedulers[0].scheduler = sched(40);
    new.schedulers[0].package = Some(sched(40));
    new.schedulers[0].manifest_dir = Some(repo.path("scheds/sched40"));
    let rows = rows();
    assert!(rows.len() >= 50);
    for row in &rows {
        // Where the package is not there, nobody would name it.
        let adds = row.0.starts_with("a new package");
        binaries.truncate(SCHEDULERS + 1);
        binaries.push(new.clone());
        let is_all = matches!(row.2, Everything(_));
        if !adds && !is_all {
            binaries.pop();
        }
        check(&repo, row, &binaries);
        repo.restore();
    }
}

#[test]
fn what_was_never_built_may_read_anything_outside_of_packages() {
    let repo = Monorepo::new();
    fs::remove_dir_all(repo.path("target")).unwrap();
    let schedulers = || affected(&repo, &repo.binaries()).schedulers;
    repo.change("include/pair.bpf.h");
    assert_eq!(schedulers().len(), SCHEDULERS);
    repo.git("checkout --quiet .");
    // What is in a package is found in the sources.
    repo.change("crates/lib02/include/lib02.bpf.h");
    let expected = [1, 11, 21, 31, 33].map(sched);
    assert_eq!(schedulers(), BTreeSet::from(expected));
    repo.git("checkout --quiet .");
    repo.change("docs/manual.md");
    assert_eq!(schedulers(), BTreeSet::from([sched(29)]));
}

#[test]
fn a_build_that_is_older_than_its_sources_tells_not_all() {
    let repo = Monorepo::new();
    let output = repo.path("target/release/build/sched37-0123456789abcdef/output");
    let file = fs::File::options().write(true).open(output).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    file.set_modified(old).unwrap();
    repo.change("include/pair.bpf.h");
    let affected = affected(&repo, &repo.binaries());
    assert_eq!(affected.schedulers, BTreeSet::from([20, 21, 37].map(sched)));
    let causes = &affected.impact.files[0].causes;
    assert!(
        causes.contains(&(Rule::UnknownInputs, Some(sched(37)))),
        "{causes:?}"
    );
}

#[test]
fn without_a_baseline_everything_is_affected() {
    let repo = Monorepo::new();
    let all = |impact: Impact, why: &str| {
        assert!(impact.is_everything() && !impact.is_nothing());
        let said = impact.uncertain.join("; ");
        assert!(said.contains(why), "{said}");
        let affected = impact.select(&repo.binaries());
        assert_eq!(affected.schedulers.len(), SCHEDULERS, "{why}");
        assert_eq!(affected.tests, Tests::All, "{why}");
    };
    let base_ref = |name: &str| BaselineRequest {
        base_ref: Some(name.to_owned()),
        ..BaselineRequest::default()
    };
    let plain = BaselineRequest::default();
    all(examine(repo.root(), &base_ref("nowhere")), "no such commit");
    // No common ancestor.
    repo.git("checkout --quiet --orphan other");
    repo.git("commit --quiet -m other");
    all(examine(repo.root(), &plain), "no commit in common");
    repo.restore();
    // No git.
    let without_git = Host {
        path: "/nowhere".into(),
        ..host()
    };
    let impact = Impact::examine(&without_git, repo.root(), &plain, &[]);
    all(impact, "whether git is installed");
    // A shallow clone, even where nothing seems to have changed.
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", repo.root().display());
    git(
        place.path(),
        &[
            "clone",
            "--quiet",
            "--depth=1",
            "--branch=main",
            &url,
            "clone",
        ],
    );
    all(examine(&place.path().join("clone"), &plain), "shallow");
    // Cargo cannot read the workspace.
    repo.write("scheds/sched00/Cargo.toml", "[package\n");
    all(examine(repo.root(), &plain), "cargo metadata fails");
    // No repository.
    fs::rename(repo.path(".git"), repo.path("target/git")).unwrap();
    all(examine(repo.root(), &plain), "no git work tree");
}

#[test]
fn a_baseline_that_is_given_is_compared_with_as_it_is() {
    let repo = Monorepo::new();
    repo.change("scheds/sched01/src/main.rs");
    repo.commit_all();
    let first = repo.git("rev-parse HEAD");
    repo.change("scheds/sched02/src/main.rs");
    repo.commit_all();
    let schedulers = |base: &str| {
        let request = BaselineRequest {
            base: Some(base.to_owned()),
            ..BaselineRequest::default()
        };
        examine(repo.root(), &request)
            .select(&repo.binaries())
            .schedulers
    };
    assert_eq!(schedulers(&first), BTreeSet::from([sched(2)]));
    assert_eq!(schedulers("main"), BTreeSet::from([1, 2].map(sched)));
    assert_eq!(schedulers("HEAD"), BTreeSet::new());
    // The same from a directory inside, and by way of a symbolic link.
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("link");
    symlink(repo.root(), &link).unwrap();
    let request = BaselineRequest {
        base: Some(first),
        ..BaselineRequest::default()
    };
    let impact = examine(&link.join("scheds/sched05/src"), &request);
    assert_eq!(impact.packages(), BTreeSet::from(["sched02"]));
}

#[test]
fn branches_that_were_merged_into_each_other_have_all_their_changes() {
    let repo = Monorepo::new();
    repo.change("scheds/sched01/src/main.rs");
    repo.commit_all();
    repo.git("checkout --quiet main");
    repo.change("scheds/sched02/src/main.rs");
    repo.commit_all();
    repo.git("merge --quiet --no-edit topic");
    repo.git("checkout --quiet topic");
    repo.git("merge --quiet --no-edit main~1");
    repo.change("scheds/sched03/src/main.rs");
    let schedulers = affected(&repo, &repo.binaries()).schedulers;
    assert_eq!(schedulers, BTreeSet::from([1, 2, 3].map(sched)));
}

#[test]
fn packages_whose_changes_git_does_not_see_count_as_changed() {
    let repo = Monorepo::new();
    let outside = tempfile::tempdir().unwrap();
    let manifest =
        "[package]\nname = \"outside\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(outside.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(outside.path().join("src")).unwrap();
    fs::write(outside.path().join("src/lib.rs"), "").unwrap();
    let path = repo.path("scheds/sched04/Cargo.toml");
    let text = fs::read_to_string(&path).unwrap();
    let dependency = format!(
        "[dependencies]\noutside = {{ path = {:?} }}",
        outside.path()
    );
    fs::write(path, text.replace("[dependencies]", &dependency)).unwrap();
    repo.metadata();
    repo.git("checkout --quiet main");
    repo.commit_all();
    repo.git("checkout --quiet -B topic");
    let schedulers = || affected(&repo, &repo.binaries()).schedulers;
    assert_eq!(schedulers(), BTreeSet::new());
    repo.change("README.md");
    assert_eq!(schedulers(), BTreeSet::new());
    repo.change("scheds/sched07/src/main.rs");
    assert_eq!(schedulers(), BTreeSet::from([4, 7].map(sched)));
}

#[test]
fn tests_are_selected_by_their_schedulers_and_their_packages() {
    let repo = Monorepo::new();
    let mut binaries = repo.binaries();
    let plain = TestBinary {
        id: "lib17".to_owned(),
        schedulers: Vec::new(),
    };
    binaries.push(plain);
    repo.change("scheds/sched38/src/main.rs");
    let selected = affected(&repo, &binaries).tests;
    let cases = r"(ktstr|gauntlet|host)\/(steady)(\/|$)";
    let expected = format!(
        "(binary_id(=lib19::suite) & test(/^(verifier\\/(sched38)\\/|{cases})/)) + binary_id(=sched38::sched)"
    );
    let sorted = |tests: Tests| match tests {
        Tests::Matching(expression) => {
            let mut parts: Vec<String> = expression.split(" + ").map(str::to_owned).collect();
            parts.sort();
            parts.join(" + ")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(sorted(selected), expected);
    // Tests of a package without a scheduler run with what they test.
    repo.restore();
    repo.change("crates/lib17/src/lib.rs");
    let affected = affected(&repo, &binaries);
    assert_eq!(affected.schedulers, BTreeSet::new());
    assert_eq!(
        affected.tests,
        Tests::Matching("binary_id(=lib17)".to_owned())
    );
}

#[test]
fn a_scheduler_of_a_package_that_nobody_knows_counts_as_affected() {
    let repo = Monorepo::new();
    let mut binaries = repo.binaries();
    binaries[2].schedulers[0].package = Some("elsewhere".to_owned());
    // A program that is named by its path is of the package that has one of that name.
    binaries[3].schedulers[0].package = None;
    binaries[3].schedulers[0].program = Some(repo.path("target/release/sched03"));
    repo.change("scheds/sched03/src/main.rs");
    let expected = BTreeSet::from([sched(3), "elsewhere".to_owned()]);
    assert_eq!(affected(&repo, &binaries).schedulers, expected);
    repo.restore();
    repo.change("README.md");
    assert_eq!(affected(&repo, &binaries).schedulers, BTreeSet::new());
}
