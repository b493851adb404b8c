use std::fs;

use proptest::prelude::*;

use super::*;
use crate::fragment::{BaseConfig, KTSTR_KCONFIG};

const KCONFIG: &str = "\
config SCHED_CLASS_EXT
\tbool \"Extensible Scheduling Class\"
\tdepends on BPF_SYSCALL && BPF_JIT && \\
\t\tDEBUG_INFO_BTF
\tdefault n

if TRACING

config FPROBE
\tbool \"Probes\"
\tdepends on !HIDDEN
\tdepends on GCC_VERSION >= 80000

endif

config HELPED
\tbool \"x\"
\tdepends on TRACING
\thelp
\t  What this
\t  depends on is not said here.

config EITHER
\ttristate \"either\"
\tdepends on (FIRST || SECOND) && m

config DEBUG_INFO_BTF
\tbool \"BTF\"
";

/// As in the kernel: help texts with lines that begin with keywords, and blocks around the files that are included.
const X86: &str = "\
config X86_MACHINES
\tbool \"Machines\"
\thelp
\t  Say Y here only
\t  if you have one of these machines.

\t  endif is not one either.

config NR_CPUS_RANGE_END
\tint
\tdefault 8192

config NR_CPUS
\tint \"Maximum number of CPUs\" if SMP && !MAXSMP
\trange 2 NR_CPUS_RANGE_END
\tdefault 8192

menu \"Storage\"
\tdepends on BLOCK

if DISKS
source \"fs/Kconfig\"
endif

endmenu
";

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("kernel")).unwrap();
    fs::create_dir_all(tree.path().join("arch/arm")).unwrap();
    fs::write(
        tree.path().join("Kconfig"),
        "mainmenu \"x\"\nsource \"kernel/Kconfig.x\"\nsource \"arch/$(SRCARCH)/Kconfig\"\n",
    )
    .unwrap();
    fs::write(tree.path().join("kernel/Kconfig.x"), KCONFIG).unwrap();
    fs::write(tree.path().join("arch/arm/Kconfig"), "config BPF_JIT\n").unwrap();
    for (name, text) in [
        ("arch/x86", X86),
        (
            "fs",
            "config BTRFS_FS\n\ttristate \"Btrfs\"\n\tdepends on XOR\n",
        ),
    ] {
        fs::create_dir_all(tree.path().join(name)).unwrap();
        fs::write(tree.path().join(name).join("Kconfig"), text).unwrap();
    }
    tree
}

fn hints(config: &str, fragment: &str) -> Vec<String> {
    let dropped = check(config, &[fragment], "", tree().path(), "6.99").dropped;
    dropped.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_merged_survives_a_check() {
    let base =
        "CONFIG_SMP=n\nCONFIG_NR_CPUS=64\n# CONFIG_NUMA is not set\nCONFIG_NAME=\"a=b\"\n# words\n";
    for config in [BaseConfig::Defconfig, BaseConfig::Lean] {
        let merged = merge(base, config.fragments(), "");
        assert_eq!(
            check(&merged, config.fragments(), "", Path::new("/none"), "6.99"),
            Verdict::default()
        );
        assert!(
            merged.contains("CONFIG_NAME=\"a=b\"\n# words\n"),
            "{merged}"
        );
        assert_eq!(merged.matches("CONFIG_NR_CPUS").count(), 1);
        assert_eq!(merge(&merged, config.fragments(), ""), merged);
    }
}

#[test]
fn a_dropped_option_tells_what_it_lacks() {
    let config = "CONFIG_BPF_SYSCALL=y\n# CONFIG_BPF_JIT is not set\n";
    assert_eq!(
        hints(config, "CONFIG_SCHED_CLASS_EXT=y"),
        ["CONFIG_SCHED_CLASS_EXT=y was dropped by olddefconfig: unmet: BPF_JIT, DEBUG_INFO_BTF"]
    );
    assert_eq!(
        hints("CONFIG_HIDDEN=y\n", "CONFIG_FPROBE=y"),
        ["CONFIG_FPROBE=y was dropped by olddefconfig: unmet: TRACING, !HIDDEN"]
    );
    let met = "CONFIG_TRACING=y\n";
    assert!(hints(met, "CONFIG_FPROBE=y")[0].contains("depends on TRACING and !HIDDEN and GCC"));
    assert!(hints("", "CONFIG_DEBUG_INFO_BTF=y")[0].contains("pahole"));
    assert!(hints("", "CONFIG_EITHER=y")[0].ends_with("unmet: FIRST, SECOND"));
    let one = hints("CONFIG_SECOND=y\n", "CONFIG_EITHER=y");
    assert!(one[0].contains("it depends on (FIRST"), "{one:?}");
    assert_eq!(
        hints("", "CONFIG_HELPED=y"),
        ["CONFIG_HELPED=y was dropped by olddefconfig: unmet: TRACING"]
    );
    let module = hints("CONFIG_VIRTIO_CONSOLE=m\n", "CONFIG_VIRTIO_CONSOLE=y");
    assert!(module[0].contains("became m by olddefconfig"), "{module:?}");
}

#[test]
fn what_a_kernel_never_had_counts_only_where_it_is_critical() {
    let fragment = "CONFIG_SCHED_DEBUG=y\nCONFIG_BPF_JIT=y\nCONFIG_FPROBE=y\n";
    let verdict = check("CONFIG_TRACING=y\n", &[fragment], "", tree().path(), "6.99");
    assert_eq!(verdict.unknown, ["CONFIG_SCHED_DEBUG"]);
    let names: Vec<&str> = verdict
        .dropped
        .iter()
        .map(|option| option.name.as_str())
        .collect();
    assert_eq!(names, ["CONFIG_BPF_JIT", "CONFIG_FPROBE"]);
    assert!(verdict.dropped[0].hint.contains("no such option"));
}

#[test]
fn only_the_users_options_must_be_off() {
    let fragment = "# CONFIG_FPROBE is not set";
    let tree = tree();
    let on = "CONFIG_FPROBE=y\n";
    assert_eq!(
        check(on, &[fragment], "", tree.path(), "6.99"),
        Verdict::default()
    );
    assert_eq!(
        check("", &[], fragment, tree.path(), "6.99"),
        Verdict::default()
    );
    let dropped = check(on, &[], fragment, tree.path(), "6.99").dropped;
    assert_eq!(
        dropped[0].to_string(),
        "CONFIG_FPROBE=n became y by olddefconfig: another option selects it, or it cannot be set"
    );
    assert!(merge("CONFIG_FPROBE=y\n", &[], fragment).contains("# CONFIG_FPROBE is not set\n"));
}

#[test]
fn the_users_values_win_and_must_survive() {
    let ours = "CONFIG_BPF_JIT=y\nCONFIG_SMP=y\nCONFIG_FPROBE=y\n";
    let extra = "# CONFIG_BPF_JIT is not set\nCONFIG_SMP=y\nCONFIG_MINE=y\nCONFIG_FPROBE=n\n";
    assert_eq!(overridden(&[ours], extra), [("CONFIG_BPF_JIT", "y", "n")]);
    assert_eq!(overridden(&[ours], ""), []);
    let merged = merge("CONFIG_BPF_JIT=y\n", &[ours], extra);
    assert_eq!(merged.matches("CONFIG_BPF_JIT").count(), 1);
    let tree = tree();
    let kept = check(&merged, &[ours], extra, tree.path(), "6.99");
    assert_eq!(kept, Verdict::default());
    // No kernel has it, but somebody asked for it.
    let lost = merged.replace("CONFIG_MINE=y\n", "");
    let dropped = check(&lost, &[ours], extra, tree.path(), "6.99").dropped;
    assert_eq!(dropped.len(), 1);
    assert_eq!(
        dropped[0].to_string(),
        "CONFIG_MINE=y was dropped by olddefconfig: Linux 6.99 has no such option"
    );
}

fn extra_hints(config: &str, extra: &str) -> Vec<String> {
    let dropped = check(config, &[], extra, tree().path(), "6.99").dropped;
    dropped.iter().map(ToString::to_string).collect()
}

#[test]
fn more_cpus_than_ktstr_asks_for_are_enough() {
    let ours = "CONFIG_NR_CPUS=512\n";
    // As MAXSMP has it, and as a configuration may have it by itself.
    assert!(hints("CONFIG_MAXSMP=y\nCONFIG_NR_CPUS=8192\n", ours).is_empty());
    let few = hints("CONFIG_SMP=y\nCONFIG_NR_CPUS=64\n", ours);
    assert!(
        few[0].starts_with("CONFIG_NR_CPUS=512 became 64"),
        "{few:?}"
    );
    assert!(hints("CONFIG_NR_CPUS=lots\n", ours).len() == 1);
    assert!(merge("CONFIG_NR_CPUS=1024\n", &[ours], "").contains("CONFIG_NR_CPUS=1024\n"));
    assert!(merge("CONFIG_NR_CPUS=8\n", &[ours], "").contains("CONFIG_NR_CPUS=512\n"));
    // Whoever names a number means it.
    assert!(merge("CONFIG_NR_CPUS=1024\n", &[ours], "CONFIG_NR_CPUS=64").contains("=64\n"));
    assert_eq!(
        extra_hints(
            "CONFIG_SMP=y\nCONFIG_MAXSMP=y\nCONFIG_NR_CPUS=8192\n",
            "CONFIG_NR_CPUS=600"
        ),
        ["CONFIG_NR_CPUS=600 became 8192 by olddefconfig: it can be set only if SMP && !MAXSMP"]
    );
}

#[test]
fn what_is_around_a_file_counts_for_what_is_in_it() {
    let lost = |config: &str| extra_hints(config, "CONFIG_BTRFS_FS=y");
    assert!(
        lost("")[0].ends_with("unmet: BLOCK, DISKS, XOR"),
        "{:?}",
        lost("")
    );
    assert!(lost("CONFIG_BLOCK=y\nCONFIG_DISKS=y\n")[0].ends_with("unmet: XOR"));
}

#[test]
fn modules_are_built_in_or_refused() {
    let modules = "CONFIG_MODULES=y\nCONFIG_BLOCK=y\nCONFIG_DISKS=y\n";
    let wanted = "CONFIG_BTRFS_FS=m";
    assert_eq!(
        extra_hints(&format!("{modules}CONFIG_XOR=y\n{wanted}\n"), wanted),
        ["CONFIG_BTRFS_FS=m: modules are not built; write CONFIG_BTRFS_FS=y"]
    );
    // Without MODULES it became y by itself.
    assert!(extra_hints("CONFIG_BTRFS_FS=y\n", wanted).is_empty());
    assert_eq!(
        extra_hints("", wanted),
        ["CONFIG_BTRFS_FS=m was dropped by olddefconfig: unmet: BLOCK, DISKS, XOR"]
    );
    assert_eq!(
        extra_hints(
            &format!("{modules}CONFIG_XOR=m\n{wanted}\n"),
            "CONFIG_BTRFS_FS=y"
        ),
        [
            "CONFIG_BTRFS_FS=y became m by olddefconfig: it can only be a module while XOR is one; modules are not built"
        ]
    );
}

#[test]
fn critical_options_are_in_the_fragments() {
    let all = wanted(BaseConfig::Lean.fragments());
    for name in CRITICAL {
        assert!(all.iter().any(|(known, _)| known == name), "{name}");
    }
    assert!(wanted(&[KTSTR_KCONFIG]).len() > 50);
}

proptest! {
    #[test]
    fn whatever_it_was_merged_with_a_config_has_the_fragment(
        config in "((# )?CONFIG_[AB](=[yn\"]| is not set)?\n?| |[#=\u{e9}]){0,12}",
        fragment in "(CONFIG_[AB]=[ym]\n|# CONFIG_[AB] is not set\n){0,4}",
    ) {
        let merged = merge(&config, &[&fragment], "");
        prop_assert_eq!(check(&merged, &[&fragment], "", Path::new("/none"), "6.99"), Verdict::default());
    }

    #[test]
    fn no_kconfig_panics(text in "((config|if|endif|depends on|menu)[ !&|()A-Z\\\\\n]{0,9}){0,9}") {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("Kconfig"), text).unwrap();
        for entry in entries::find(tree.path(), &["CONFIG_A", "CONFIG_B"]).values() {
            let _ = entry.unmet(|_| "n");
        }
    }
}
