//! What a change affects, on a workspace of 60 packages and 40 schedulers: no answer is too small, and none is larger than
//! it has to be.

mod histories;
#[path = "../support/monorepo.rs"]
mod monorepo;
mod rows;
mod table;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
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
    fs::write(outside.path().join("src/lib.rs"), "// changed").unwrap();
    assert_eq!(schedulers(), BTreeSet::from([4, 7].map(sched)));
    // The baseline is younger than any file there.
    repo.git("checkout --quiet main");
    let mut amend = ktstr_core::host::git_command(&host(), repo.root());
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let time = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    amend.args([
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
    ]);
    amend.args(["commit", "--quiet", "--allow-empty", "-m", "later"]);
    assert!(
        amend
            .env("GIT_COMMITTER_DATE", format!("@{time} +0000"))
            .status()
            .unwrap()
            .success()
    );
    repo.git("checkout --quiet -B topic");
    assert_eq!(schedulers(), BTreeSet::from([sched(7)]));
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
