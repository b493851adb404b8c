//! The verifier sweep: every declared scheduler on every machine and kernel, and what came of it.
//!
//! Each cell is a case of nextest, run in a machine of its own. What they came to is read from their records.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use ktstr_core::record::{Sidecar, Stage, VerifierStats};
use ktstr_core::{CaseName, Outcome, Preset};

use super::options::{self, Word};
use super::{Listing, Session, SessionError, SessionReport};
use ktstr_harness::dispatch::VERIFIER_RAW;

/// A sweep over a project's schedulers.
#[derive(Debug, Clone)]
pub struct Sweep {
    session: Session,
    schedulers: Vec<String>,
    raw: bool,
    nextest_args: Vec<OsString>,
}

/// A sweep that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// Nextest could not do its part.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is nothing to sweep.
    #[error(
        "no test binary declares a scheduler that has a cell on these kernels; declare one by declare_scheduler! in a test target with `harness = false`, and see its `kernels`"
    )]
    NoScheduler,
    /// A scheduler that was asked for is not there.
    #[error("--scheduler {name}: no such scheduler has a cell on these kernels; there are {}", there.join(", "))]
    Unknown {
        /// The one that was asked for.
        name: String,
        /// Those that are there.
        there: Vec<String>,
    },
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepReport {
    /// How the session ended: the exit code is nextest's.
    pub session: SessionReport,
    /// By scheduler, in the order of their names.
    pub schedulers: Vec<SchedulerReport>,
}

/// What became of one scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerReport {
    /// Its name.
    pub name: String,
    /// Labels of the kernels that it has cells on.
    pub kernels: Vec<String>,
    /// The presets that it has cells on, in the order of [`Preset::ALL`].
    pub presets: Vec<&'static str>,
    /// The cells that ran, by kernel and preset.
    pub cells: BTreeMap<(String, String), CellReport>,
}

/// What became of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen; absent where the machine did not get so far.
    pub stats: Option<VerifierStats>,
}

/// Verified instructions (`verified_insns`), from the machine with the fewest to that with the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The fewest.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.least == self.most {
            f.pad(&self.least.to_string())
        } else {
            f.pad(&format!("{}..{}", self.least, self.most))
        }
    }
}

impl Sweep {
    /// A sweep as part of `session`, which should have kernels: without one there are no cells.
    ///
    /// `nextest_args` are those for `cargo nextest run`; filter expressions among them narrow the sweep.
    pub fn new<A: Into<OsString>>(
        session: Session,
        nextest_args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            session,
            schedulers: Vec::new(),
            raw: false,
            nextest_args: nextest_args.into_iter().map(Into::into).collect(),
        }
    }

    /// Only these schedulers; all where there is none.
    #[must_use]
    pub fn schedulers(mut self, names: Vec<String>) -> Self {
        self.schedulers = names;
        self
    }

    /// Failed cells show the verifier's log as it is, with every iteration of its loops.
    #[must_use]
    pub fn raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Runs every cell; nextest's output goes where this process's goes.
    pub fn run(self) -> Result<SweepReport, SweepError> {
        let Self {
            session,
            schedulers,
            raw,
            nextest_args,
        } = self;
        let session = session.nextest_args(nextest_args.iter().cloned());
        let table = Table::of(&session.list()?, &schedulers)?;
        let mut session = session.nextest_args(arguments(&nextest_args, &table.expression()));
        if raw {
            session = session.variable(VERIFIER_RAW, "1");
        }
        let report = session.run()?;
        let records = report.runs.iter().flat_map(|run| &run.sidecars);
        Ok(SweepReport {
            schedulers: table.reports(records),
            session: report,
        })
    }
}

impl SchedulerReport {
    /// What was verified on `kernel`, by program.
    pub fn programs(&self, kernel: &str) -> BTreeMap<String, Span> {
        let mut spans: BTreeMap<String, Span> = BTreeMap::new();
        let cells = self.cells.iter().filter(|((of, _), _)| of == kernel);
        for stats in cells.filter_map(|(_, cell)| cell.stats.as_ref()) {
            // What a scheduler was rejected with is no figure of its.
            if stats.stage == Stage::Load {
                continue;
            }
            for (name, insns) in distinct(stats) {
                let span = spans.entry(name).or_insert(Span {
                    least: insns,
                    most: insns,
                });
                span.least = span.least.min(insns);
                span.most = span.most.max(insns);
            }
        }
        spans
    }
}

/// The programs that the kernel gives a figure for; names that it cut to the same are told apart by a number.
fn distinct(stats: &VerifierStats) -> Vec<(String, u64)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut distinct = Vec::new();
    for program in &stats.programs {
        let time = times.entry(&program.name).or_insert(0);
        *time += 1;
        let name = match *time {
            1 => program.name.clone(),
            time => format!("{}#{time}", program.name),
        };
        distinct.extend(program.verified_insns.map(|insns| (name, insns)));
    }
    distinct
}

/// The cells of a project.
struct Table {
    /// By scheduler: the binary that runs them, and kernel and preset of each.
    schedulers: BTreeMap<String, (String, BTreeSet<(String, String)>)>,
}

impl Table {
    fn of(listing: &Listing, wanted: &[String]) -> Result<Self, SweepError> {
        let mut schedulers: BTreeMap<String, (String, BTreeSet<_>)> = BTreeMap::new();
        for (id, binary) in &listing.binaries {
            for case in &binary.cases {
                let Ok(CaseName::Verifier {
                    scheduler,
                    kernel,
                    preset,
                }) = case.parse()
                else {
                    continue;
                };
                // Test targets that share a module declare the same; it need not be swept twice.
                let (holder, cells) = schedulers
                    .entry(scheduler)
                    .or_insert_with(|| (id.clone(), BTreeSet::new()));
                if holder == id {
                    cells.insert((kernel.to_string(), preset.name.to_owned()));
                }
            }
        }
        if schedulers.is_empty() {
            return Err(SweepError::NoScheduler);
        }
        if let Some(name) = wanted.iter().find(|name| !schedulers.contains_key(*name)) {
            return Err(SweepError::Unknown {
                name: name.clone(),
                there: schedulers.into_keys().collect(),
            });
        }
        if !wanted.is_empty() {
            schedulers.retain(|name, _| wanted.contains(name));
        }
        Ok(Self { schedulers })
    }

    /// The filter expression of nextest that selects the cells.
    fn expression(&self) -> String {
        let terms: Vec<String> = self
            .schedulers
            .iter()
            .map(|(name, (binary, _))| {
                let test = CaseName::VERIFIER;
                // A dot is all that a name may hold and an expression takes for something else.
                let name = name.replace('.', "\\.");
                format!("(binary_id(={binary}) & test(/^{test}\\/{name}\\//))")
            })
            .collect();
        terms.join(" + ")
    }

    fn reports<'s>(self, records: impl Iterator<Item = &'s Sidecar>) -> Vec<SchedulerReport> {
        let mut ran: BTreeMap<&str, &Sidecar> = BTreeMap::new();
        for record in records {
            ran.insert(&record.case, record);
        }
        let report = |(name, (_, cells)): (String, (String, BTreeSet<(String, String)>))| {
            let kernels: BTreeSet<&String> = cells.iter().map(|(kernel, _)| kernel).collect();
            let presets = Preset::ALL.iter().map(|preset| preset.name);
            let presets = presets.filter(|name| cells.iter().any(|(_, preset)| preset == name));
            let result = |cell: &(String, String)| {
                let (kernel, preset) = cell;
                let case = format!("{}/{name}/{kernel}/{preset}", CaseName::VERIFIER);
                let record = ran.get(case.as_str())?;
                let report = CellReport {
                    outcome: record.verdict.outcome(),
                    stats: record.verifier.clone(),
                };
                Some((cell.clone(), report))
            };
            SchedulerReport {
                kernels: kernels.into_iter().cloned().collect(),
                presets: presets.collect(),
                cells: cells.iter().filter_map(result).collect(),
                name,
            }
        };
        self.schedulers.into_iter().map(report).collect()
    }
}

/// `args` with `expression` in front; nextest would run what any of several expressions selects, so those among them
/// become part of it.
fn arguments(args: &[OsString], expression: &str) -> Vec<OsString> {
    let mut others = Vec::new();
    let mut narrower = Vec::new();
    for word in options::parse(args) {
        match word {
            Word::Option {
                name: "--filterset",
                value,
                ..
            } => narrower.extend(value.map(|value| value.to_string_lossy().into_owned())),
            Word::Option { args, .. } | Word::Rest(args) => others.extend(args),
            Word::Filter(arg) | Word::Unknown(arg) => others.push(arg),
        }
    }
    let mut expression = format!("({expression})");
    if !narrower.is_empty() {
        let narrower: Vec<String> = narrower.iter().map(|one| format!("({one})")).collect();
        expression = format!("{expression} & ({})", narrower.join(" + "));
    }
    let own = ["--run-ignored", "all", "-E"].map(OsString::from);
    let own = own.into_iter().chain([expression.into()]);
    own.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use ktstr_core::record::VerifiedProgram;

    use super::*;
    use crate::listing::Binary;

    fn listing(binaries: &[(&str, &[&str])]) -> Listing {
        let binary = |(id, cases): &(&str, &[&str])| {
            let cases = cases.iter().map(|case| (*case).to_owned()).collect();
            let path = format!("/t/{id}").into();
            let selected = BTreeSet::new();
            let binary = Binary {
                path,
                cases,
                selected,
            };
            ((*id).to_owned(), binary)
        };
        Listing {
            binaries: binaries.iter().map(binary).collect(),
        }
    }

    const CASES: &[(&str, &[&str])] = &[
        (
            "p::a",
            &["ktstr/x", "verifier/one.x/kernel_6_12/4cpu-1llc-nosmt"],
        ),
        (
            "p::b",
            &[
                "verifier/one.x/kernel_6_12/4cpu-1llc-nosmt",
                "verifier/two/kernel_6_12/8cpu-2llc-smt",
                "verifier/two/kernel_6_12/4cpu-1llc-nosmt",
                "verifier/two/kernel_6_14/4cpu-1llc-nosmt",
                "verifier/odd",
            ],
        ),
    ];

    #[test]
    fn each_scheduler_is_swept_once() {
        let listing = listing(CASES);
        let table = Table::of(&listing, &[]).unwrap();
        assert_eq!(
            table.expression(),
            r"(binary_id(=p::a) & test(/^verifier\/one\.x\//)) + (binary_id(=p::b) & test(/^verifier\/two\//))"
        );
        let two = Table::of(&listing, &["two".to_owned()]).unwrap();
        assert_eq!(
            two.expression(),
            r"(binary_id(=p::b) & test(/^verifier\/two\//))"
        );
        let error = Table::of(&listing, &["three".to_owned()])
            .map(|_| ())
            .unwrap_err();
        assert!(
            error.to_string().ends_with("there are one.x, two"),
            "{error}"
        );
        let error = Table::of(&Listing::default(), &[]).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("declare_scheduler!"), "{error}");
    }

    #[test]
    fn expressions_narrow_the_sweep() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let joined = |line: &str| {
            let args = arguments(&words(line), "X");
            let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
            args.join(" ")
        };
        assert_eq!(joined("-p x"), "--run-ignored all -E (X) -p x");
        assert_eq!(
            joined("-p x -E a --filter-expr=b -Ec -- -E d"),
            "--run-ignored all -E (X) & ((a) + (b) + (c)) -p x -- -E d"
        );
    }

    #[test]
    fn records_become_cells_and_figures() {
        let table = Table::of(&listing(CASES), &["two".to_owned()]).unwrap();
        let program = |name: &str, insns| VerifiedProgram {
            name: name.to_owned(),
            prog_type: 27,
            verified_insns: insns,
        };
        let record = |preset: &str, stage, verdict, programs| Sidecar {
            verifier: Some(VerifierStats {
                stage,
                load_s: None,
                programs,
            }),
            ..Sidecar::new(
                "verifier",
                &format!("verifier/two/kernel_6_12/{preset}"),
                verdict,
            )
        };
        let records = [
            record(
                "4cpu-1llc-nosmt",
                Stage::Liveness,
                Verdict::pass(),
                vec![
                    program("a", Some(5)),
                    program("a", Some(1)),
                    program("b", None),
                ],
            ),
            record(
                "8cpu-2llc-smt",
                Stage::Dispatch,
                Verdict::fail("dispatch", "x"),
                vec![program("a", Some(7)), program("a", Some(1))],
            ),
        ];
        let reports = table.reports(records.iter());
        let [two] = reports.as_slice() else {
            panic!("{reports:?}")
        };
        assert_eq!(two.kernels, ["kernel_6_12", "kernel_6_14"]);
        assert_eq!(two.presets, ["4cpu-1llc-nosmt", "8cpu-2llc-smt"]);
        assert_eq!(two.cells.len(), 2);
        let programs = two.programs("kernel_6_12");
        let spans: Vec<String> = programs.iter().map(|(n, s)| format!("{n} {s}")).collect();
        assert_eq!(spans, ["a 5..7", "a#2 1"]);
        assert!(two.programs("kernel_6_14").is_empty());
    }
}
