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
\tdepends on (FIRST || SECOND) && m

config DEBUG_INFO_BTF
\tbool
";

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("kernel")).unwrap();
    fs::create_dir_all(tree.path().join("arch/arm")).unwrap();
    fs::write(tree.path().join("kernel/Kconfig.x"), KCONFIG).unwrap();
    fs::write(tree.path().join("arch/arm/Kconfig"), "config BPF_JIT\n").unwrap();
    tree
}

fn hints(config: &str, fragment: &str) -> Vec<String> {
    let dropped = check(config, &[fragment], "", tree().path()).dropped;
    dropped.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_merged_survives_a_check() {
    let base =
        "CONFIG_SMP=n\nCONFIG_NR_CPUS=64\n# CONFIG_NUMA is not set\nCONFIG_NAME=\"a=b\"\n# words\n";
    for config in [BaseConfig::Defconfig, BaseConfig::Lean] {
        let merged = merge(base, config.fragments());
        assert_eq!(
            check(&merged, config.fragments(), "", Path::new("/none")),
            Verdict::default()
        );
        assert!(
            merged.contains("CONFIG_NAME=\"a=b\"\n# words\n"),
            "{merged}"
        );
        assert_eq!(merged.matches("CONFIG_NR_CPUS").count(), 1);
        assert_eq!(merge(&merged, config.fragments()), merged);
    }
}

#[test]
fn a_dropped_option_tells_what_it_lacks() {
    let config = "CONFIG_BPF_SYSCALL=y\n# CONFIG_BPF_JIT is not set\n";
    assert_eq!(
        hints(config, "CONFIG_SCHED_CLASS_EXT=y"),
        ["CONFIG_SCHED_CLASS_EXT=y (it is n: unmet: BPF_JIT, DEBUG_INFO_BTF)"]
    );
    assert_eq!(
        hints("CONFIG_HIDDEN=y\n", "CONFIG_FPROBE=y"),
        ["CONFIG_FPROBE=y (it is n: unmet: TRACING, !HIDDEN)"]
    );
    let met = "CONFIG_TRACING=y\n";
    assert!(hints(met, "CONFIG_FPROBE=y")[0].contains("depends on TRACING and !HIDDEN and GCC"));
    assert!(hints("", "CONFIG_DEBUG_INFO_BTF=y")[0].contains("pahole"));
    assert!(hints("", "CONFIG_EITHER=y")[0].ends_with("unmet: FIRST, SECOND)"));
    let one = hints("CONFIG_SECOND=y\n", "CONFIG_EITHER=y");
    assert!(one[0].contains("it depends on (FIRST"), "{one:?}");
    assert_eq!(
        hints("", "CONFIG_HELPED=y"),
        ["CONFIG_HELPED=y (it is n: unmet: TRACING)"]
    );
    let module = hints("CONFIG_VIRTIO_CONSOLE=m\n", "CONFIG_VIRTIO_CONSOLE=y");
    assert!(module[0].contains("it is m"), "{module:?}");
}

#[test]
fn what_a_kernel_never_had_counts_only_where_it_is_critical() {
    let fragment = "CONFIG_SCHED_DEBUG=y\nCONFIG_BPF_JIT=y\nCONFIG_FPROBE=y\n";
    let verdict = check("CONFIG_TRACING=y\n", &[fragment], "", tree().path());
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
    assert_eq!(check(on, &[fragment], "", tree.path()), Verdict::default());
    assert_eq!(check("", &[], fragment, tree.path()), Verdict::default());
    let dropped = check(on, &[], fragment, tree.path()).dropped;
    assert_eq!(
        dropped[0].to_string(),
        "CONFIG_FPROBE=n (it is y: another option selects it, or nobody is asked for it)"
    );
    assert!(merge("CONFIG_FPROBE=y\n", &[fragment]).contains("# CONFIG_FPROBE is not set\n"));
}

#[test]
fn the_users_values_win_and_must_survive() {
    let ours = "CONFIG_BPF_JIT=y\nCONFIG_SMP=y\nCONFIG_FPROBE=y\n";
    let extra = "# CONFIG_BPF_JIT is not set\nCONFIG_SMP=y\nCONFIG_MINE=m\nCONFIG_FPROBE=n\n";
    assert_eq!(overridden(&[ours], extra), [("CONFIG_BPF_JIT", "y", "n")]);
    assert_eq!(overridden(&[ours], ""), []);
    let merged = merge("CONFIG_BPF_JIT=y\n", &[ours, extra]);
    assert_eq!(merged.matches("CONFIG_BPF_JIT").count(), 1);
    let tree = tree();
    let kept = check(&merged, &[ours], extra, tree.path());
    assert_eq!(kept, Verdict::default());
    // No kernel has it, but somebody asked for it.
    let lost = merged.replace("CONFIG_MINE=m\n", "");
    let dropped = check(&lost, &[ours], extra, tree.path()).dropped;
    assert_eq!(dropped.len(), 1);
    assert_eq!(
        dropped[0].to_string(),
        "CONFIG_MINE=m (it is n: this kernel has no such option)"
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
        let merged = merge(&config, &[&fragment]);
        prop_assert_eq!(check(&merged, &[&fragment], "", Path::new("/none")), Verdict::default());
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
