//! Repositories that were made to do harm.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::standin::git;
use crate::world::{Place, output};

/// Writes an object without any check.
fn object(tree: &Path, kind: &str, content: &[u8]) -> String {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(["hash-object", "-w", "--literally", "--stdin", "-t", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A tree object, its entries in the order given.
fn tree_of(tree: &Path, entries: &[(&str, &[u8], &str)]) -> String {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        content.extend_from_slice(mode.as_bytes());
        content.push(b' ');
        content.extend_from_slice(name);
        content.push(0);
        for at in (0..40).step_by(2) {
            content.push(u8::from_str_radix(&id[at..at + 2], 16).unwrap());
        }
    }
    object(tree, "tree", &content)
}

/// A branch at a commit of this tree.
fn branch(place: &Place, name: &str, tree: &str) {
    let commit = output(&place.tree, &["commit-tree", "-m", "x", tree]);
    git(&place.tree, &["branch", "-f", name, &commit]);
}

#[test]
fn entries_that_lead_elsewhere_are_not_written() {
    let place = Place::new();
    let tree = place.tree.as_path();
    let outside = place.world.path("outside");
    fs::create_dir(&outside).unwrap();
    let blob = object(tree, "blob", b"harm\n");
    let link = object(tree, "blob", outside.to_str().unwrap().as_bytes());
    let inner = tree_of(tree, &[("100644", b"harm", &blob)]);
    let makefile = place.id("HEAD:Makefile");
    let file = |name: &'static [u8]| vec![("100644", name, blob.as_str())];
    let dir = |name: &'static [u8]| vec![("40000", name, inner.as_str())];
    let cases: Vec<Vec<(&str, &[u8], &str)>> = vec![
        dir(b".git"),
        dir(b".GIT"),
        dir(b".Git"),
        file(b".git"),
        dir(b"git~1"),
        dir(".g\u{200c}it".as_bytes()),
        dir(b".git "),
        dir(b".git."),
        dir(b".."),
        dir(b"."),
        file(b".."),
        file(b"../harm"),
        file(b"/harm"),
        file(b"a/../../harm"),
        file(b""),
        // A link and a directory of one name.
        vec![("120000", b"a", &link), ("40000", b"a", &inner)],
        vec![("40000", b"a", &inner), ("120000", b"a", &link)],
        vec![("100644", b"a", &blob), ("100644", b"a", &makefile)],
    ];
    for (n, mut entries) in cases.into_iter().enumerate() {
        entries.push(("100644", b"Makefile", &makefile));
        let id = tree_of(tree, &entries);
        let name = format!("case{n}");
        branch(&place, &name, &id);
        let error = place.refused(&place.file(), &format!("branch={name}"));
        // Some of them git itself does not serve.
        let refused = ["cannot be checked out", "corruption on the remote side"];
        let is_refused = |error: &str| refused.iter().any(|part| error.contains(part));
        assert!(is_refused(&error), "{n}: {error}");
        // Nested, too.
        let id = tree_of(
            tree,
            &[("40000", b"sub", &id), ("100644", b"Makefile", &makefile)],
        );
        let name = format!("nested{n}");
        branch(&place, &name, &id);
        let error = place.refused(&place.file(), &format!("branch={name}"));
        assert!(is_refused(&error), "{n}: {error}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!place.world.path("harm").exists());
    assert_eq!(place.world.made("bzImage"), 0);
}

#[test]
fn links_that_leave_the_tree_are_refused() {
    let place = Place::new();
    let secret = place.world.path("secret");
    fs::write(&secret, "secret\n").unwrap();
    for (n, target) in [
        secret.to_str().unwrap(),
        "../../../secret",
        "arch/../../../../secret",
        "/proc/self/environ",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("link{n}");
        git(&place.tree, &["checkout", "--quiet", "-B", &name, "main"]);
        symlink(target, place.tree.join("escape")).unwrap();
        place.commit();
        let error = place.refused(&place.file(), &format!("branch={name}"));
        assert!(
            error.contains("escape") && error.contains("leads outside"),
            "{target}: {error}"
        );
    }
    // As the kernel has them.
    git(
        &place.tree,
        &["checkout", "--quiet", "-B", "inside", "main"],
    );
    symlink("../../image", place.tree.join("arch/x86/inside")).unwrap();
    symlink("arch/x86", place.tree.join("dir")).unwrap();
    symlink("nowhere", place.tree.join("dangling")).unwrap();
    place.commit();
    place.built(&place.file(), "branch=inside");
}

#[test]
fn what_git_would_run_is_not_run() {
    let place = Place::new();
    let ran = place.world.path("ran");
    let touch = format!("touch {}", ran.display());
    let modules =
        format!("[submodule \"x\"]\n\tpath = sub\n\turl = ext::{touch}\n\tupdate = !{touch}\n");
    fs::write(place.tree.join(".gitmodules"), modules).unwrap();
    let attributes = place.tree.join(".gitattributes");
    fs::write(&attributes, "* filter=evil diff=evil merge=evil\n").unwrap();
    git(&place.tree, &["add", "-f", ".gitattributes", ".gitmodules"]);
    let gitlink = format!("160000,{},sub", place.id("HEAD"));
    let add = ["update-index", "--add", "--cacheinfo", &gitlink];
    git(&place.tree, &add);
    output(&place.tree, &["commit", "--quiet", "-m", "x"]);
    git(&place.tree, &["branch", "filters"]);
    fs::write(&attributes, "*.sh working-tree-encoding=no-such\n").unwrap();
    git(&place.tree, &["add", "-f", ".gitattributes"]);
    output(&place.tree, &["commit", "--quiet", "-m", "y"]);
    for hook in ["post-checkout", "reference-transaction", "pre-auto-gc"] {
        let path = place.tree.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    }
    for name in [
        "uploadpack.packObjectsHook",
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "credential.helper",
    ] {
        git(&place.tree, &["config", name, &touch]);
    }
    let (kernel, _) = place.built(&place.file(), "branch=filters");
    assert!(kernel.cache_key.is_some());
    // An encoding that nobody knows is none, as with git.
    place.built(&place.file(), "branch=main");
    assert!(!ran.exists());
}

#[test]
fn more_files_than_allowed_are_refused() {
    let mut place = Place::new();
    place.limits.files = 1000;
    // Ten directories of ten, eight deep: a hundred million files in nine objects.
    let blob = object(&place.tree, "blob", b"x");
    let makefile = place.id("HEAD:Makefile");
    let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    let of = |mode, id: &str| {
        let entries: Vec<(&str, &[u8], &str)> = names
            .iter()
            .map(|name| (mode, name.as_bytes(), id))
            .collect();
        tree_of(&place.tree, &entries)
    };
    let mut id = of("100644", &blob);
    for _ in 0..8 {
        id = of("40000", &id);
    }
    let id = tree_of(
        &place.tree,
        &[("100644", b"Makefile", &makefile), ("40000", b"bomb", &id)],
    );
    branch(&place, "bomb", &id);
    let error = place.refused(&place.file(), "branch=bomb");
    assert!(error.contains("it has more than 1000 files"), "{error}");
    // So deep that names get too long.
    let mut id = blob;
    let mut mode = "100644";
    for _ in 0..300 {
        id = tree_of(&place.tree, &[(mode, b"deeperdeeper", &id)]);
        mode = "40000";
    }
    branch(&place, "deep", &id);
    let error = place.refused(&place.file(), "branch=deep");
    assert!(error.contains("paths are too long"), "{error}");
}

#[test]
fn larger_files_than_allowed_are_refused() {
    let mut place = Place::new();
    fs::write(place.tree.join("zeros"), vec![0; 20 << 20]).unwrap();
    place.commit();
    place.limits.files_size = 10 << 20;
    let error = place.refused(&place.file(), "branch=main");
    assert!(error.contains("its files take more than 10 MiB"), "{error}");
    place.limits.files_size = 30 << 20;
    place.built(&place.file(), "branch=main");
}

#[test]
fn repositories_of_another_make_are_told() {
    let place = Place::new();
    // Without its history.
    let shallow = place.world.path("shallow");
    place.commit();
    let (from, to) = (place.file(), shallow.to_str().unwrap());
    git(
        &place.tree,
        &["clone", "--quiet", "--depth", "1", &from, to],
    );
    place.built(&format!("file://{to}"), "branch=main");
    // Of other hashes.
    let other = place.world.path("sha256");
    fs::create_dir(&other).unwrap();
    git(
        &other,
        &["init", "--quiet", "--object-format=sha256", "-b", "main"],
    );
    output(&other, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    let error = place.refused(&format!("file://{}", other.display()), "branch=main");
    assert!(error.contains("sha256"), "{error}");
    // Without some of its objects.
    let blob = place.id("HEAD:image");
    let path = place
        .tree
        .join(format!(".git/objects/{}/{}", &blob[..2], &blob[2..]));
    fs::remove_file(path).unwrap();
    place.commit_only();
    let error = place.refused(&place.file(), "branch=main");
    assert!(error.contains("cannot be reached"), "{error}");
}

#[test]
fn a_repository_of_somebody_else_is_told() {
    let place = Place::new();
    if fs::metadata(&place.tree).unwrap().uid() != 0 {
        eprintln!("SKIP a_repository_of_somebody_else_is_told: changing owners takes root");
        return;
    }
    let status = Command::new("chown")
        .args(["-R", "12345"])
        .arg(&place.tree)
        .status();
    assert!(status.unwrap().success());
    let error = place.refused(&place.file(), "branch=main");
    assert!(error.contains("belongs to another user"), "{error}");
}
