//! Kernels: what the cache has, what was resolved, what a clean removes.

use std::fmt::Write;

use ktstr_driver::kernels::{CachedKernel, KernelList, KernelState, ListedKernel, ListedReleases};
use ktstr_kernel::{Cache, CleanPlan, Cleaned, EntryState, KernelSpec, ResolvedKernel};

use crate::Style;
use crate::table::{Column, Table};
use crate::text::counted;

/// The kernels of `list`, a line each, with marks for those that are out of date, have options of the user's, or are of
/// an end-of-life series. Lines are as long as keys and marks are.
///
/// ```
/// use ktstr_driver::kernels::KernelList;
/// use ktstr_render::{Style, kernels};
///
/// let list = KernelList { cache: "/c/kernels".into(), kernels: vec![] };
/// assert_eq!(
///     kernels::text(&list, &Style::default()),
///     "cache: /c/kernels\n  no kernels yet; build one: cargo ktstr kernel build --kernel ../linux\n"
/// );
/// ```
pub fn text(list: &KernelList, style: &Style) -> String {
    let mut text = format!("cache: {}\n", style.path(&list.cache));
    let kernels = &list.kernels;
    if kernels.is_empty() {
        let _ = writeln!(
            text,
            "  no kernels yet; build one: {} kernel build --kernel ../linux",
            style.program
        );
        return text;
    }
    let keys = Column::left("KEY", kernels.iter().map(|kernel| kernel.key.as_str()));
    // `-` where nothing is known of an entry.
    let column = |title: &str, of: &dyn Fn(&CachedKernel) -> &str| {
        let cells = kernels.iter().map(|kernel| valid(kernel).map_or("-", of));
        Column::left(title, cells)
    };
    let columns = [
        column("VERSION", &|it| &it.version).at_least(12),
        column("SOURCE", &|it| it.source.kind()).at_least(8),
        column("ARCH", &|it| &it.arch).at_least(7),
        Column::left("BUILT", kernels.iter().map(built)),
    ];
    let table = Table::new(&keys.at_least(48), &columns)
        .gap(1)
        .text(usize::MAX);
    text + &table
}

/// When it was built, with marks; why it cannot be used.
fn built(kernel: &ListedKernel) -> String {
    match &kernel.state {
        KernelState::Valid(valid) => {
            let mut built = valid.built.clone();
            for (is_marked, mark) in [
                (kernel.stale, " (stale kconfig)"),
                (valid.extra_kconfig.is_some(), " (extra kconfig)"),
                (valid.eol == Some(true), " (EOL)"),
            ] {
                built.push_str(if is_marked { mark } else { "" });
            }
            built
        }
        KernelState::Corrupt { why } => format!("(corrupt: {why})"),
        KernelState::OtherVersion { why } => format!("(from another ktstr version: {why})"),
    }
}

fn valid(kernel: &ListedKernel) -> Option<&CachedKernel> {
    match &kernel.state {
        KernelState::Valid(valid) => Some(valid),
        KernelState::Corrupt { .. } | KernelState::OtherVersion { .. } => None,
    }
}

/// What `(stale kconfig)` means, and what to do, where `list` marks a kernel so: a line that warns.
pub fn stale_warning(list: &KernelList, style: &Style) -> Option<String> {
    let mut stale = list.kernels.iter().filter(|it| it.stale).peekable();
    stale.peek()?;
    let has_extra = |it: &ListedKernel| valid(it).is_some_and(|it| it.extra_kconfig.is_some());
    let extra = if stale.any(has_extra) {
        " (add --extra-kconfig PATH for those that are marked (extra kconfig) too)"
    } else {
        ""
    };
    Some(format!(
        "warning: (stale kconfig) marks kernels whose configuration is another version of ktstr's. They are built again when asked for by name, or at once: {} kernel build --force --kernel VERSION{extra}",
        style.program
    ))
}

/// The releases of a range, a line each.
pub fn releases(list: &ListedReleases) -> String {
    let mut text = String::new();
    for version in &list.versions {
        let _ = writeln!(text, "{version}");
    }
    text
}

/// That a kernel is there, in one line; with its version where `spec` does not say it.
pub fn resolved(spec: &KernelSpec, kernel: &ResolvedKernel) -> String {
    let version = match spec {
        KernelSpec::Range { .. } | KernelSpec::Series(_) | KernelSpec::Newest(_) => {
            format!(": {}", kernel.version)
        }
        _ => String::new(),
    };
    format!("resolved kernel \"{spec}\"{version}")
}

/// Key and image of a kernel that is ready, a line each.
pub fn ready(kernel: &ResolvedKernel) -> String {
    let key = match &kernel.cache_key {
        Some(key) => key.as_str(),
        None if kernel.dirty => "none: not cached, as its sources are not a clean git commit",
        // Whatever is built has a configuration.
        None if kernel.config.is_none() => "none: an image is used as it is",
        None => "none: not cached",
    };
    format!("key:   {key}\nimage: {}\n", kernel.image.display())
}

/// What `plan` removes from `cache`, a line each.
pub fn clean_plan(cache: &Cache, plan: &CleanPlan, style: &Style) -> String {
    let mut text = format!("cache: {}\n", style.path(&cache.kernels_dir()));
    if plan.is_empty() {
        text.push_str("  nothing to remove\n");
    }
    for entry in &plan.entries {
        let key = &entry.key;
        let _ = match &entry.state {
            EntryState::Valid(_) | EntryState::OtherVersion(_) => writeln!(text, "  {key}"),
            EntryState::Corrupt(why) => writeln!(text, "  {key} (corrupt: {why})"),
        };
    }
    for build in &plan.builds {
        let build = style.path(build);
        let _ = writeln!(text, "  {build} (what a source tree is built in)");
    }
    text
}

/// How much `plan` removes, for a question or an error: `3 kernels and 1 build directory (120 MiB)`.
pub fn clean_amount(plan: &CleanPlan) -> String {
    // What is broken has no size that is written down.
    let size = Some(plan.size() >> 20).filter(|mib| *mib > 0);
    let size = size.map_or(String::new(), |mib| format!(" ({mib} MiB)"));
    format!("{}{size}", amount(plan.entries.len(), plan.builds.len()))
}

/// What was removed, in one line.
pub fn cleaned(cleaned: &Cleaned) -> String {
    let amount = amount(cleaned.entries.len(), cleaned.builds.len());
    format!("removed {amount}\n")
}

/// What was not removed because it is in use, a line each.
pub fn in_use(cleaned: &Cleaned, style: &Style) -> String {
    let mut text = String::new();
    for build in &cleaned.in_use {
        let _ = writeln!(text, "{}: in use; it stays", style.path(build));
    }
    text
}

fn amount(kernels: usize, builds: usize) -> String {
    let kernels = counted(kernels, "kernel");
    match builds {
        0 => kernels,
        1 => format!("{kernels} and 1 build directory"),
        _ => format!("{kernels} and {builds} build directories"),
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::KernelLabel;
    use ktstr_core::host::Host;
    use ktstr_kernel::cache::{ConfigOrigin, SourceRecord};
    use ktstr_kernel::{BaseConfig, CacheKey};

    use super::*;

    fn listed(key: &str, stale: bool, state: KernelState) -> ListedKernel {
        ListedKernel {
            key: CacheKey::parse(key).unwrap(),
            dir: "/c/kernels/x".into(),
            stale,
            state,
        }
    }

    fn cached(version: &str, extra: Option<&str>, eol: Option<bool>) -> KernelState {
        KernelState::Valid(Box::new(CachedKernel {
            version: version.to_owned(),
            eol,
            source: SourceRecord::Tarball {
                name: "linux.tar".to_owned(),
                sha256: String::new(),
            },
            arch: "x86_64".to_owned(),
            built: "2026-07-04T23:06:12Z".to_owned(),
            build_seconds: 1,
            config_origin: ConfigOrigin::Base(BaseConfig::Lean),
            kconfig_hash: String::new(),
            extra_kconfig: extra.map(str::to_owned),
            toolchain: None,
            image: "/c/bzImage".into(),
            vmlinux: "/c/vmlinux".into(),
            config: "/c/config".into(),
        }))
    }

    #[test]
    fn a_list_has_a_line_for_each_kernel() {
        let why = "no image".to_owned();
        let mut list = KernelList {
            cache: "/home/me/kernels".into(),
            kernels: vec![
                listed("6.12.9-a", false, cached("6.12.9", None, Some(false))),
                listed("6.11.1-b", true, cached("6.11.1", Some("0123"), Some(true))),
                listed("broken", false, KernelState::Corrupt { why }),
            ],
        };
        let style = Style::new("x", Some(20), Some("/home/me".into()));
        let expected = "\
cache: ~/kernels
  KEY                                              VERSION      SOURCE   ARCH    BUILT
  6.12.9-a                                         6.12.9       tarball  x86_64  2026-07-04T23:06:12Z
  6.11.1-b                                         6.11.1       tarball  x86_64  2026-07-04T23:06:12Z (stale kconfig) (extra kconfig) (EOL)
  broken                                           -            -        -       (corrupt: no image)
";
        assert_eq!(text(&list, &style), expected);
        let warning = stale_warning(&list, &style).unwrap();
        let end = ": x kernel build --force --kernel VERSION (add --extra-kconfig PATH for those that are marked (extra kconfig) too)";
        assert!(warning.ends_with(end), "{warning}");
        // A long key moves what is behind it, in every line.
        let long = "k".repeat(60);
        list.kernels[2] = listed(&long, true, cached("6.12.9-rc1-next-20260101", None, None));
        let text = text(&list, &style);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let column = lines[0].find("BUILT").unwrap();
        assert!(
            lines[1..]
                .iter()
                .all(|line| line[column..].starts_with("2026")),
            "{text}"
        );
        list.kernels.truncate(1);
        assert_eq!(stale_warning(&list, &style), None);
    }

    #[test]
    fn a_kernel_without_a_key_says_why() {
        let kernel = ResolvedKernel {
            image: "/i/bzImage".into(),
            vmlinux: None,
            config: None,
            label: KernelLabel::from_version("6.12.9"),
            version: "6.12.9".to_owned(),
            cache_key: None,
            dirty: false,
        };
        let key = |kernel: &ResolvedKernel| ready(kernel).lines().next().unwrap().to_owned();
        assert_eq!(
            ready(&kernel),
            "key:   none: an image is used as it is\nimage: /i/bzImage\n"
        );
        let built = ResolvedKernel {
            config: Some("/i/.config".into()),
            ..kernel.clone()
        };
        assert_eq!(key(&built), "key:   none: not cached");
        let dirty = ResolvedKernel {
            dirty: true,
            ..built.clone()
        };
        assert!(key(&dirty).ends_with("not a clean git commit"));
        let cached = ResolvedKernel {
            cache_key: CacheKey::parse("6.12.9-a").ok(),
            ..built
        };
        assert_eq!(key(&cached), "key:   6.12.9-a");
        let spec = |text: &str| KernelSpec::parse(text, &Host::default()).unwrap();
        assert_eq!(
            resolved(&spec("6.12"), &kernel),
            "resolved kernel \"6.12\": 6.12.9"
        );
        assert_eq!(
            resolved(&spec("6.12.9"), &kernel),
            "resolved kernel \"6.12.9\""
        );
    }

    #[test]
    fn what_is_removed_is_counted() {
        let style = Style::default();
        let mut plan = CleanPlan::default();
        let cache = Cache::new("/c");
        assert_eq!(
            clean_plan(&cache, &plan, &style),
            "cache: /c/kernels\n  nothing to remove\n"
        );
        plan.builds = vec!["/c/builds/linux-1".into()];
        let text = clean_plan(&cache, &plan, &style);
        assert!(text.ends_with("  /c/builds/linux-1 (what a source tree is built in)\n"));
        assert_eq!(clean_amount(&plan), "0 kernels and 1 build directory");
        let done = Cleaned {
            entries: vec![CacheKey::parse("6.12.9-a").unwrap()],
            in_use: plan.builds,
            ..Cleaned::default()
        };
        assert_eq!(cleaned(&done), "removed 1 kernel\n");
        assert_eq!(
            in_use(&done, &style),
            "/c/builds/linux-1: in use; it stays\n"
        );
        assert_eq!(amount(2, 3), "2 kernels and 3 build directories");
    }
}
