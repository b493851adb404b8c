//! Which schedulers and tests changes affect, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_driver::affected::{Affected, Impact, Rule, Tests};

use crate::Style;
use crate::text::{counted, wrap};

/// What each changed file affects: by which rule, and which schedulers.
pub fn explanation(affected: &Affected, style: &Style) -> String {
    let mut text = String::new();
    if let Some(baseline) = &affected.impact.baseline {
        let (commit, origin) = (short(&baseline.commit), &baseline.origin);
        let said = format!("{}: compared with {commit} ({origin})", style.program);
        let _ = writeln!(text, "{}", wrap(&line(&said), style.width, "\n  "));
    }
    for (file, schedulers) in affected.impact.files.iter().zip(&affected.by_file) {
        let _ = writeln!(text, "{}", style.path(&file.path));
        let mut by_rule: BTreeMap<Rule, Vec<&str>> = BTreeMap::new();
        for (rule, package) in &file.causes {
            by_rule.entry(*rule).or_default().extend(package.as_deref());
        }
        for (rule, packages) in by_rule {
            let said = match packages.as_slice() {
                [] => words(rule).to_owned(),
                packages => format!("{}: {}", words(rule), packages.join(", ")),
            };
            indented(&mut text, &said, style);
        }
        if file.causes.iter().any(|(_, package)| package.is_some()) {
            indented(&mut text, &affects(schedulers), style);
        }
    }
    text
}

/// What a person must not miss of the schedulers that are affected: that everything is, and why, or that none is.
pub fn schedulers_notice(affected: &Affected, style: &Style) -> String {
    let impact = &affected.impact;
    if impact.is_everything() {
        let none = "no test binary declares a scheduler that is built from a package";
        let none = affected.schedulers.is_empty().then(|| notice(none, style));
        return everything(impact, style) + &none.unwrap_or_default();
    }
    if affected.schedulers.is_empty() {
        return notice(
            &format!("NO SCHEDULER IS AFFECTED by {}", changes(impact)),
            style,
        );
    }
    String::new()
}

/// Likewise of tests; where some are affected, of which schedulers they are.
pub fn tests_notice(affected: &Affected, style: &Style) -> String {
    let impact = &affected.impact;
    match &affected.tests {
        Tests::All => everything(impact, style),
        Tests::None => {
            let said = format!("NO TEST IS AFFECTED by {}; nothing runs", changes(impact));
            notice(&said, style)
        }
        Tests::Matching(_) => {
            let packages: Vec<&str> = impact.packages().into_iter().collect();
            let mut said = format!("tests that {} affect: those of ", changes(impact));
            if !affected.schedulers.is_empty() {
                let schedulers: Vec<&str> =
                    affected.schedulers.iter().map(String::as_str).collect();
                let _ = write!(said, "the schedulers {}, and those ", schedulers.join(", "));
            }
            let _ = write!(said, "in the packages {}", packages.join(", "));
            notice(&said, style)
        }
    }
}

fn everything(impact: &Impact, style: &Style) -> String {
    let mut whys: Vec<String> = impact.uncertain.clone();
    for file in &impact.files {
        let rules = file.causes.iter().map(|(rule, _)| *rule);
        for rule in rules.filter(|rule| rule.is_everything()) {
            whys.push(format!("{} {}", style.path(&file.path), words(rule)));
        }
    }
    let more = whys.len().saturating_sub(3);
    whys.truncate(3);
    if more > 0 {
        whys.push(format!("and {more} more"));
    }
    notice(
        &format!("everything is affected: {}", whys.join("; ")),
        style,
    )
}

/// What was looked at.
fn changes(impact: &Impact) -> String {
    let since = impact
        .baseline
        .as_ref()
        .map_or_else(String::new, |baseline| {
            format!(" since {} ({})", short(&baseline.commit), baseline.origin)
        });
    match impact.files.len() {
        0 => format!("your changes: there are none{since}"),
        files => format!("your changes of {}{since}", counted(files, "file")),
    }
}

fn affects(schedulers: &BTreeSet<String>) -> String {
    if schedulers.is_empty() {
        return "affects no scheduler".to_owned();
    }
    let names: Vec<&str> = schedulers.iter().map(String::as_str).collect();
    format!("affects {}", names.join(", "))
}

/// Why a file matters, as what follows its name.
fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::Lockfile => "decides the versions of dependencies: affects everything",
        Rule::Toolchain => "decides which compiler builds: affects everything",
        Rule::CargoConfig => "configures cargo: affects everything",
        Rule::WorkspaceManifest => "is the workspace's manifest: affects everything",
        Rule::BuildScript => "is a build script's, which may do anything: affects everything",
        Rule::Unattributed => "is of no package, and no documentation: affects everything",
        Rule::Documentation => "is documentation: affects nothing",
        Rule::InPackage => "is in the package",
        Rule::BuildInput => "was read by a build of the package",
        Rule::Named => "is named in sources of the package",
        Rule::UnknownInputs => {
            "may be read by the build script of the package, of which no build tells"
        }
        Rule::Unseen => "has changed where git does not see it",
        // More may come.
        _ => "is affected",
    }
}

fn indented(text: &mut String, said: &str, style: &Style) {
    let said = wrap(&line(said), style.width.saturating_sub(4), "\n    ");
    let _ = writeln!(text, "  {said}");
}

fn notice(said: &str, style: &Style) -> String {
    let said = line(&format!("{}: {said}", style.program));
    format!("{}\n", wrap(&said, style.width.saturating_sub(2), "\n  "))
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ktstr_driver::affected::FileImpact;
    use ktstr_driver::baseline::{Baseline, BaselineOrigin};

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn file(path: &str, causes: &[(Rule, Option<&str>)], packages: &[&str]) -> FileImpact {
        let causes = causes
            .iter()
            .map(|(rule, package)| (*rule, package.map(str::to_owned)));
        FileImpact {
            path: path.into(),
            causes: causes.collect(),
            packages: Arc::new(set(packages)),
            names: BTreeSet::new(),
        }
    }

    fn impact(files: Vec<FileImpact>) -> Impact {
        let baseline = Baseline {
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            head: "f".repeat(40),
            origin: BaselineOrigin::MergeBase {
                with: "origin/main".to_owned(),
            },
            other_merge_bases: Vec::new(),
            is_shallow: false,
        };
        Impact::new(Some(baseline), files)
    }

    #[test]
    fn each_file_says_by_which_rule_it_affects_what() {
        let scheds: Vec<String> = (0..12).map(|n| format!("scx_number{n:02}")).collect();
        let scheds: Vec<&str> = scheds.iter().map(String::as_str).collect();
        let in_package = (Rule::InPackage, Some("shared"));
        let affected = Affected {
            schedulers: set(&scheds),
            by_file: vec![set(&scheds), set(&[]), set(&[])],
            tests: Tests::Matching("x".to_owned()),
            impact: impact(vec![
                file(
                    "shared/src/\u{1b}lib.rs",
                    &[in_package, (Rule::Named, Some("scx_number00"))],
                    &scheds,
                ),
                file("README.md", &[(Rule::Documentation, None)], &[]),
                file("tool/x.rs", &[(Rule::InPackage, Some("tool"))], &["tool"]),
            ]),
        };
        let expected = "\
cargo ktstr: compared with 0123456789ab (merge base of HEAD and origin/main)
shared/src/?lib.rs
  is in the package: shared
  is named in sources of the package: scx_number00
  affects scx_number00, scx_number01, scx_number02, scx_number03,
    scx_number04, scx_number05, scx_number06, scx_number07, scx_number08,
    scx_number09, scx_number10, scx_number11
README.md
  is documentation: affects nothing
tool/x.rs
  is in the package: tool
  affects no scheduler
";
        let style = Style::default();
        assert_eq!(explanation(&affected, &style), expected);
        assert_eq!(schedulers_notice(&affected, &style), "");
        let notice = tests_notice(&affected, &style);
        assert!(notice.starts_with("cargo ktstr: tests that your changes of 3 files since"));
        assert!(notice.lines().all(|line| line.len() <= 80), "{notice}");
    }

    #[test]
    fn an_empty_selection_is_loud() {
        let nothing = Affected {
            schedulers: set(&[]),
            by_file: vec![],
            tests: Tests::None,
            impact: impact(vec![]),
        };
        let style = Style::default();
        let said = schedulers_notice(&nothing, &style).replace("\n  ", " ");
        let expected = "cargo ktstr: NO SCHEDULER IS AFFECTED by your changes: there are none since \
            0123456789ab (merge base of HEAD and origin/main)\n";
        assert_eq!(said, expected);
        let said = tests_notice(&nothing, &style).replace("\n  ", " ");
        assert!(said.contains("NO TEST IS AFFECTED") && said.ends_with("; nothing runs\n"));
    }

    #[test]
    fn what_affects_everything_is_named() {
        let lock = file("Cargo.lock", &[(Rule::Lockfile, None)], &[]);
        let mut impact = impact(vec![lock; 5]);
        impact.uncertain.push("git is away".to_owned());
        let all = Affected {
            schedulers: set(&["a"]),
            by_file: vec![set(&["a"]); 5],
            tests: Tests::All,
            impact,
        };
        let said = tests_notice(&all, &Style::default()).replace("\n  ", " ");
        let expected =
            "cargo ktstr: everything is affected: git is away; Cargo.lock decides the versions";
        assert!(
            said.starts_with(expected) && said.ends_with("; and 3 more\n"),
            "{said}"
        );
    }
}
