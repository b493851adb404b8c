//! A program of a build that hangs: the build ends, says which one it was, and leaves nothing of it.

use std::fs;
use std::time::Duration;

use ktstr_kernel::{Ending, Error};

use crate::kills::{is_gone, pid_in};
use crate::standin::{Told, World, fault, wait_until};

#[test]
fn a_pahole_that_hangs_ends_the_build_and_is_named() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let (hanging, never) = (world.path("hanging"), world.path("never"));
    // It answers, as it is asked before a build; then it waits for a pipe that nobody writes, whatever it is told.
    let script = format!(
        "case $1 in --version) echo v1.27; exit ;; esac\ntrap '' TERM\nmkfifo {never}\necho $$ > {hanging}.part\nmv {hanging}.part {hanging}\nread -r _ < {never}",
        hanging = hanging.display(),
        never = never.display(),
    );
    world.options.host.path = world.with_program("pahole", &script);
    fault(&tree, "btf");
    // A limit that is too short for another step on a busy machine says nothing of pahole: a longer one will.
    for seconds in [1, 4, 16, 64] {
        let silence = Duration::from_secs(seconds);
        world.options.silence = silence;
        let error = world.resolve(&tree, &Told::default()).unwrap_err();
        let text = error.to_string();
        let Error::Make(failure) = error else {
            panic!("{error:?}")
        };
        if !hanging.exists() {
            assert!(matches!(failure.ending, Ending::Silent { .. }), "{text}");
            continue;
        }
        let pahole = pid_in(&hanging);
        wait_until("pahole is gone", || is_gone(&pahole));
        let programs = vec!["pahole".to_owned()];
        assert_eq!(failure.ending, Ending::Silent { silence, programs });
        assert!(failure.command.ends_with(" bzImage"), "{text}");
        let expected = format!(
            "bzImage` was ended, as it had printed nothing for {seconds} s while it waited for pahole; find out why pahole hangs, or use another version of it, and build again; its output is in {}",
            failure.log.display()
        );
        assert!(text.ends_with(&expected), "{text}");
        assert!(fs::read_to_string(&failure.log).unwrap().contains("  BTF "));
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(world.cache().list().unwrap(), []);
        // Nothing holds the tree: the next build is made.
        fs::remove_file(tree.join("fault")).unwrap();
        assert!(world.built(&tree).0.cache_key.is_some());
        return;
    }
    panic!("no step of a stand-in takes a minute");
}
