use std::fs;
use std::process::Command;

use super::*;

/// A repository in a directory of its own.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    /// Without a commit; its branch is `main`.
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Self { dir };
        repository.git("init --quiet --initial-branch=main");
        repository
    }

    /// With one commit.
    fn new() -> Self {
        let repository = Self::empty();
        repository.commit("root");
        repository
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, words: &str) -> String {
        git(self.path(), &words.split(' ').collect::<Vec<_>>())
    }

    /// Commits a new file called `name`, and returns the hash.
    fn commit(&self, name: &str) -> String {
        fs::write(self.path().join(name), name).unwrap();
        self.git(&format!("add {name}"));
        self.git(&format!("commit --quiet -m {name}"));
        self.git("rev-parse HEAD")
    }

    fn resolve(&self, request: &BaselineRequest) -> Result<Baseline, BaselineError> {
        resolve(&host(), self.path(), request)
    }
}

fn host() -> Host {
    let mut host = Host::of_this_process();
    host.env.remove(std::ffi::OsStr::new(GITHUB_BASE_REF));
    host
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command: Command = ktstr_core::host::git_command(&Host::of_this_process(), dir);
    for setting in ["user.name=a", "user.email=a@b", "commit.gpgsign=false"] {
        command.args(["-c", setting]);
    }
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn base(name: &str) -> BaselineRequest {
    BaselineRequest {
        base: Some(name.to_owned()),
        ..BaselineRequest::default()
    }
}

fn base_ref(name: &str) -> BaselineRequest {
    BaselineRequest {
        base_ref: Some(name.to_owned()),
        ..BaselineRequest::default()
    }
}

#[test]
fn the_first_that_is_said_decides() {
    let repository = Repository::new();
    let root = repository.git("rev-parse HEAD");
    repository.git("checkout --quiet -b topic");
    let topic = repository.commit("topic");
    repository.git("checkout --quiet -b release");
    let release = repository.commit("release");
    // Where a remote's branches would be.
    repository.git(&format!("update-ref refs/remotes/origin/target {topic}"));
    let head = repository.commit("head");

    let by_default = repository.resolve(&BaselineRequest::default()).unwrap();
    assert_eq!((&by_default.commit, &by_default.head), (&root, &head));
    let origin = "merge base of HEAD and main";
    assert_eq!(by_default.origin.to_string(), origin);
    assert!(by_default.is_certain() && by_default.other_merge_bases.is_empty());

    let on_github = host().with_vars([(GITHUB_BASE_REF, "target")]);
    let resolve = |request: &BaselineRequest| {
        let baseline = resolve(&on_github, repository.path(), request).unwrap();
        (baseline.commit, baseline.origin.to_string())
    };
    let with_target = "merge base of HEAD and origin/target".to_owned();
    assert_eq!(resolve(&BaselineRequest::default()), (topic, with_target));
    // It does not merge with what is given as it is.
    repository.git("checkout --quiet main");
    let ahead = repository.commit("ahead");
    repository.git("checkout --quiet release");
    let both = BaselineRequest {
        base: Some("main".to_owned()),
        ..base_ref("release")
    };
    assert_eq!(resolve(&both), (ahead, "main, as asked for".to_owned()));
    let with_release = "merge base of HEAD and release".to_owned();
    assert_eq!(resolve(&base_ref("release")), (head, with_release));
    assert_ne!(release, root);
}

#[test]
fn a_default_branch_may_be_the_remotes() {
    let repository = Repository::new();
    let root = repository.git("rev-parse HEAD");
    repository.git("update-ref refs/remotes/origin/trunk HEAD");
    repository.commit("more");
    let request = BaselineRequest {
        default_branch: "trunk".to_owned(),
        ..BaselineRequest::default()
    };
    let baseline = repository.resolve(&request).unwrap();
    assert_eq!(baseline.commit, root);
    let with = "origin/trunk".to_owned();
    assert_eq!(baseline.origin, BaselineOrigin::MergeBase { with });
}

#[test]
fn histories_that_crossed_have_several() {
    let repository = Repository::new();
    repository.git("checkout --quiet -b topic");
    repository.commit("topic");
    repository.git("checkout --quiet main");
    repository.commit("trunk");
    repository.git("merge --quiet --no-edit topic");
    repository.git("checkout --quiet topic");
    repository.git("merge --quiet --no-edit main~1");
    let baseline = repository.resolve(&BaselineRequest::default()).unwrap();
    let mut bases = baseline.other_merge_bases;
    assert_eq!(bases.len(), 1);
    bases.push(baseline.commit);
    bases.sort();
    let mut expected = [
        repository.git("rev-parse main~1"),
        repository.git("rev-parse topic~1"),
    ];
    expected.sort();
    assert_eq!(bases, expected);
}

#[test]
fn what_cannot_be_found_is_told() {
    let repository = Repository::new();
    let error = |request: &BaselineRequest| repository.resolve(request).unwrap_err().to_string();
    for name in ["nothing", "--all", "", "HEAD^{tree}", "a\0b", "HEAD:root"] {
        let said = error(&base(name));
        assert!(
            said.contains(&format!("--base `{name}`: no such")),
            "{said}"
        );
    }
    assert!(error(&base_ref("nothing")).starts_with("--base-ref `nothing`"));
    let branch = BaselineRequest {
        default_branch: "trunk".to_owned(),
        ..BaselineRequest::default()
    };
    assert!(error(&branch).starts_with("--default-branch `trunk` or `origin/trunk`: no such"));
    // A branch of a pull request that was not fetched: another one would be the wrong one.
    let on_github = host().with_vars([(GITHUB_BASE_REF, "target")]);
    let said = resolve(&on_github, repository.path(), &BaselineRequest::default());
    let said = said.unwrap_err().to_string();
    assert!(
        said.starts_with("GITHUB_BASE_REF `origin/target`"),
        "{said}"
    );

    repository.git("checkout --quiet --orphan other");
    repository.commit("unrelated");
    let said = error(&BaselineRequest::default());
    let expected = "HEAD and `main` have no commit in common; give";
    assert!(said.starts_with(expected), "{said}");

    let nowhere = tempfile::tempdir().unwrap();
    let said = resolve(&host(), nowhere.path(), &BaselineRequest::default());
    assert!(matches!(said, Err(BaselineError::NoWorkTree { .. })));
    let empty = Repository::empty().resolve(&BaselineRequest::default());
    assert!(matches!(empty, Err(BaselineError::NoCommit { .. })));
    let without_git = Host {
        path: "/nowhere".into(),
        ..host()
    };
    let said = resolve(&without_git, repository.path(), &BaselineRequest::default());
    let said = said.unwrap_err().to_string();
    assert!(said.contains("whether git is installed"), "{said}");
}

#[test]
fn a_shallow_clone_is_not_certain() {
    let repository = Repository::new();
    repository.commit("second");
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", repository.path().display());
    let args = ["clone", "--quiet", "--depth=1", &url, "clone"];
    git(place.path(), &args);
    let clone = place.path().join("clone");
    let resolve = |request: &BaselineRequest| resolve(&host(), &clone, request);
    let by_branch = resolve(&BaselineRequest::default()).unwrap();
    assert!(by_branch.is_shallow && !by_branch.is_certain());
    let given = resolve(&base("HEAD")).unwrap();
    assert!(given.is_shallow && given.is_certain());
    git(&clone, &["checkout", "--quiet", "--orphan", "other"]);
    git(&clone, &["commit", "--quiet", "-m", "unrelated"]);
    let said = resolve(&BaselineRequest::default())
        .unwrap_err()
        .to_string();
    assert!(said.contains("the clone is shallow; fetch all"), "{said}");
}
