//! From what changed to schedulers and tests.

use std::collections::BTreeSet;
use std::path::Path;

use ktstr_core::CaseName;
use ktstr_harness::dispatch::SchedulerUse;

use super::impact::{FileImpact, Impact};
use super::project::below;
use super::schedulers::TestBinary;

/// The longest part of a filter expression for one binary, in bytes: a program gets no more than 128 KiB in one argument.
const LONGEST: usize = 8 << 10;

/// What the changes since a baseline affect, of the schedulers and tests of a project.
#[derive(Debug, Clone)]
pub struct Affected {
    /// The changes, and the packages that they reach.
    pub impact: Impact,
    /// The packages of schedulers that are affected, in order.
    pub schedulers: BTreeSet<String>,
    /// Those of them that each of the [impact's files](Impact::files) affects, in the order of the files.
    pub by_file: Vec<BTreeSet<String>>,
    /// The tests that are affected.
    pub tests: Tests,
}

/// Which tests of a project are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tests {
    /// Every one.
    All,
    /// None.
    None,
    /// Those that a filter expression of nextest's selects.
    Matching(String),
}

impl Affected {
    /// Where nothing is affected, of which no scheduler needs to be known.
    pub(super) fn nothing(impact: Impact) -> Self {
        Self {
            by_file: impact.files.iter().map(|_| BTreeSet::new()).collect(),
            impact,
            schedulers: BTreeSet::new(),
            tests: Tests::None,
        }
    }
}

impl Impact {
    /// The schedulers and tests of `binaries` that are affected.
    ///
    /// A scheduler is affected with its package, with a file that it is started with, and with every package that has tests
    /// of it or declares it; one whose package is not known, with any. A test is affected with its scheduler and with its
    /// own package.
    pub fn select(self, binaries: &[TestBinary]) -> Affected {
        if self.is_nothing() {
            return Affected::nothing(self);
        }
        let all = || {
            let uses = binaries.iter().flat_map(|binary| &binary.schedulers);
            uses.flat_map(|scheduler| self.packages_of(scheduler))
                .collect()
        };
        let by_file: Vec<BTreeSet<String>> = self
            .files
            .iter()
            .map(|file| {
                if file.is_everything() {
                    all()
                } else {
                    self.schedulers(file, binaries)
                }
            })
            .collect();
        if self.is_everything() {
            return Affected {
                schedulers: all(),
                by_file,
                tests: Tests::All,
                impact: self,
            };
        }
        Affected {
            schedulers: by_file.iter().flatten().cloned().collect(),
            by_file,
            tests: self.tests(binaries),
            impact: self,
        }
    }

    fn schedulers(&self, file: &FileImpact, binaries: &[TestBinary]) -> BTreeSet<String> {
        let uses = binaries.iter().flat_map(|binary| {
            let uses = binary.schedulers.iter();
            uses.map(move |scheduler| (binary.package(), scheduler))
        });
        let affected = uses.filter(|(package, scheduler)| {
            let has_tests = !scheduler.tests.is_empty() || self.declares(package, scheduler);
            self.reaches(file, scheduler) || (has_tests && file.packages.contains(*package))
        });
        affected
            .flat_map(|(_, scheduler)| self.packages_of(scheduler))
            .collect()
    }

    fn tests(&self, binaries: &[TestBinary]) -> Tests {
        let parts: Vec<String> = binaries
            .iter()
            .filter_map(|binary| {
                let is_own = |file: &FileImpact| file.packages.contains(binary.package());
                if self.files.iter().any(is_own) {
                    return Some(format!("binary_id(={})", binary.id));
                }
                let is_affected = |scheduler: &&SchedulerUse| {
                    self.files.iter().any(|file| self.reaches(file, scheduler))
                };
                let affected = binary.schedulers.iter().filter(is_affected);
                part(&binary.id, affected, self.tests_with_programs(binary))
            })
            .collect();
        if parts.is_empty() {
            Tests::None
        } else {
            Tests::Matching(parts.join(" + "))
        }
    }

    /// The tests of a binary that run a program whose package is affected, or not known.
    fn tests_with_programs<'b>(&self, binary: &'b TestBinary) -> BTreeSet<&'b String> {
        let programs = binary.schedulers.iter().flat_map(|it| &it.programs);
        let is_affected = |package: &String| {
            let is_unknown = !self.known.contains(package);
            let mut files = self.files.iter();
            files.any(|file| {
                file.packages.contains(package) || (is_unknown && !file.packages.is_empty())
            })
        };
        programs
            .filter(|(package, _)| is_affected(package))
            .flat_map(|(_, tests)| tests)
            .collect()
    }

    /// Whether a changed file affects the scheduler itself.
    fn reaches(&self, file: &FileImpact, scheduler: &SchedulerUse) -> bool {
        let packages = self.packages_of(scheduler);
        let is_file = |path: &Path| {
            let path = below(&self.root, path);
            path.is_some_and(|path| file.names.iter().any(|name| path.starts_with(name)))
        };
        let is_unknown = |package: &String| !self.known.contains(package);
        let matters = !file.packages.is_empty();
        packages
            .iter()
            .any(|package| file.packages.contains(package))
            || (matters && packages.iter().any(is_unknown))
            || scheduler.program.as_deref().is_some_and(is_file)
            || scheduler.config_file.as_deref().is_some_and(is_file)
    }

    /// The packages that the program of a scheduler is from: the one that is declared, or those with a program of its
    /// file's name.
    fn packages_of(&self, scheduler: &SchedulerUse) -> BTreeSet<String> {
        if let Some(package) = &scheduler.package {
            return BTreeSet::from([package.clone()]);
        }
        let program = scheduler.program.as_deref().and_then(Path::file_name);
        let program = program.and_then(|name| self.programs.get(name.to_str()?));
        program.cloned().unwrap_or_default()
    }

    /// Whether the scheduler is declared in `package`.
    fn declares(&self, package: &str, scheduler: &SchedulerUse) -> bool {
        let dir = scheduler.manifest_dir.as_deref();
        let dir = dir.and_then(|dir| below(&self.root, dir));
        dir.is_some_and(|dir| self.dirs.get(&dir).is_some_and(|name| name == package))
    }
}

/// The filter expression for tests and cells of `schedulers` in a binary, and for `more` tests; `None` where there are none
/// of those.
fn part<'s>(
    binary: &str,
    schedulers: impl Iterator<Item = &'s SchedulerUse>,
    more: BTreeSet<&'s String>,
) -> Option<String> {
    let schedulers: Vec<&SchedulerUse> = schedulers.collect();
    if schedulers.is_empty() && more.is_empty() {
        return None;
    }
    let cells: Vec<String> = schedulers.iter().map(|it| escaped(&it.scheduler)).collect();
    let tests = schedulers.iter().flat_map(|it| &it.tests);
    let tests: BTreeSet<&String> = tests.chain(more).collect();
    let tests: Vec<String> = tests.into_iter().map(|name| escaped(name)).collect();
    let mut names = Vec::new();
    if !cells.is_empty() {
        names.push(format!("{}\\/({})\\/", CaseName::VERIFIER, cells.join("|")));
    }
    if !tests.is_empty() {
        let kinds = [CaseName::BASE, CaseName::GAUNTLET, CaseName::HOST].join("|");
        names.push(format!("({kinds})\\/({})(\\/|$)", tests.join("|")));
    }
    let regex = format!("^({})", names.join("|"));
    if regex.len() > LONGEST {
        return Some(format!("binary_id(={binary})"));
    }
    Some(format!("(binary_id(={binary}) & test(/{regex}/))"))
}

/// `text` in a regular expression of nextest's.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_alphanumeric() && c != '_' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn scheduler(name: &str, tests: &[&str]) -> SchedulerUse {
        SchedulerUse {
            scheduler: name.to_owned(),
            package: None,
            program: None,
            config_file: None,
            manifest_dir: None,
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
            programs: BTreeMap::new(),
        }
    }

    #[test]
    fn expressions_select_every_case_of_a_test() {
        let one = [scheduler("scx-a", &["x", "y"])];
        let expected = r"(binary_id(=p::t) & test(/^(verifier\/(scx\-a)\/|(ktstr|gauntlet|host)\/(x|y)(\/|$))/))";
        assert_eq!(part("p::t", one.iter(), BTreeSet::new()).unwrap(), expected);
        let untested = [scheduler("a", &[])];
        let expected = r"(binary_id(=p) & test(/^(verifier\/(a)\/)/))";
        assert_eq!(
            part("p", untested.iter(), BTreeSet::new()).unwrap(),
            expected
        );
        assert_eq!(part("p", [].iter(), BTreeSet::new()), None);
        let with_program = "z".to_owned();
        let more = BTreeSet::from([&with_program]);
        let expected = r"(binary_id(=p) & test(/^((ktstr|gauntlet|host)\/(z)(\/|$))/))";
        assert_eq!(part("p", [].iter(), more).unwrap(), expected);
        let long = "t".repeat(LONGEST);
        let long = [scheduler("a", &[&long])];
        assert_eq!(
            part("p", long.iter(), BTreeSet::new()).unwrap(),
            "binary_id(=p)"
        );
    }
}
