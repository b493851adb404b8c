//! Changes, by how git has them.

use std::fs;

use ktstr_driver::affected::Rule;

use crate::monorepo::git;
use crate::table::Expected::{Everything, Nothing, Schedulers};
use crate::table::{Row, only};

/// Ways in which git has changes.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn histories() -> Vec<Row> {
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
