//! Finds the cells of a project in nextest's list, and their results in the records.

use std::collections::{BTreeMap, BTreeSet};

use ktstr_core::record::Sidecar;
use ktstr_core::{CaseName, Preset};

use super::{CellReport, SchedulerReport, SweepError};
use crate::Listing;

/// The cells of a project.
pub(super) struct Table {
    /// By scheduler: the binary that runs them, and kernel and preset of each.
    schedulers: BTreeMap<String, (String, BTreeSet<(String, String)>)>,
}

impl Table {
    pub(super) fn of(listing: &Listing, wanted: &[String]) -> Result<Self, SweepError> {
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
            return Err(SweepError::UnknownScheduler {
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
    pub(super) fn expression(&self) -> String {
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

    pub(super) fn reports<'s>(
        self,
        records: impl Iterator<Item = &'s Sidecar>,
    ) -> Vec<SchedulerReport> {
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

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use ktstr_core::record::{Stage, VerifiedProgram, VerifierStats};

    use super::*;
    use crate::nextest::Binary;

    fn listing(binaries: &[(&str, &[&str])]) -> Listing {
        let binary = |(id, cases): &(&str, &[&str])| {
            let cases = cases.iter().map(|case| (*case).to_owned()).collect();
            let path = format!("/t/{id}").into();
            let binary = Binary {
                path,
                cases,
                ..Binary::default()
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
