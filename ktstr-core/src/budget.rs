//! Which cases to run when there is not time for all: those that cover most.
//!
//! A case covers its test, its topology, its scheduler and its kernel, and each pair of these. Cases are taken one by one:
//! always the one that adds most coverage for its time, until none fits. The result depends on nothing but the cases, so
//! that every process that selects from the same ones selects the same.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;
use std::time::Duration;

use crate::CaseName;
use crate::record::MeasuredTimes;

/// A case that could run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What tells it from the others, such as the test binary and the case's name.
    pub id: (String, String),
    /// The test function, or what else is tested.
    pub test: String,
    /// The shape of the machine; empty for the host.
    pub topology: String,
    /// The scheduler under test.
    pub scheduler: String,
    /// The kernel; empty where the session has only one.
    pub kernel: String,
    /// How long it is expected to take.
    pub time: Duration,
    /// Whether it is taken only where time is left when no other fits any more.
    pub later: bool,
}

/// What is run of the candidates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The selected candidates, by their index among the candidates, in the order in which they were taken.
    pub selected: Vec<usize>,
    /// How long they are expected to take in all.
    pub time: Duration,
    /// What no selected case covers.
    pub left_out: LeftOut,
}

/// What no selected case covers, each sorted; and how many cases were not selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Number of cases that do not run.
    pub cases: usize,
    /// Tests of which no case runs.
    pub tests: Vec<String>,
    /// Topologies on which nothing runs.
    pub topologies: Vec<String>,
    /// Schedulers under which nothing runs.
    pub schedulers: Vec<String>,
    /// Kernels on which nothing runs.
    pub kernels: Vec<String>,
}

/// `12 cases are left out, and with them 2 tests (a, b), 1 scheduler (x)`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("test", "tests", &self.tests),
            ("topology", "topologies", &self.topologies),
            ("scheduler", "schedulers", &self.schedulers),
            ("kernel", "kernels", &self.kernels),
        ];
        let missing: Vec<String> = kinds
            .into_iter()
            .filter(|(.., values)| !values.is_empty())
            .map(|(one, many, values)| {
                let noun = if values.len() == 1 { one } else { many };
                format!("{} {noun} ({})", values.len(), few(values))
            })
            .collect();
        match (self.cases, missing.as_slice()) {
            (0, _) => f.write_str("nothing is left out"),
            (1, []) => f.write_str("1 case is left out"),
            (cases, []) => write!(f, "{cases} cases are left out"),
            (1, missing) => write!(f, "1 case is left out, and with it {}", missing.join(", ")),
            (cases, missing) => write!(
                f,
                "{cases} cases are left out, and with them {}",
                missing.join(", ")
            ),
        }
    }
}

/// The first of `values`.
fn few(values: &[String]) -> String {
    const FEW: usize = 5;
    let more = if values.len() > FEW { ", ..." } else { "" };
    values[..values.len().min(FEW)].join(", ") + more
}

/// A property of a case: its kind, and its value.
type Feature<'c> = (usize, &'c str);

/// What a property is worth that nothing selected has, against a pair of properties ([`PAIR`]) that nothing selected has,
/// and against nothing new: a test that does not run at all is the worst gap.
const SINGLE: u64 = 100;
const PAIR: u64 = 10;

impl Candidate {
    /// The case `name` of a test binary, on a machine of the shape `topology`, with the time that it is expected to take by
    /// what was `measured`.
    pub fn new(
        binary_id: &str,
        name: &CaseName,
        topology: String,
        scheduler: String,
        measured: &MeasuredTimes,
    ) -> Self {
        Self {
            id: (binary_id.to_owned(), name.to_string()),
            test: name.test().unwrap_or(CaseName::VERIFIER).to_owned(),
            scheduler,
            kernel: name.kernel().map(ToString::to_string).unwrap_or_default(),
            time: measured.expected(binary_id, name, &topology),
            later: false,
            topology,
        }
    }

    /// Test, topology, scheduler, kernel.
    fn features(&self) -> [Feature<'_>; 4] {
        [
            (0, &self.test),
            (1, &self.topology),
            (2, &self.scheduler),
            (3, &self.kernel),
        ]
    }
}

/// Selects from `candidates` what covers most, where `threads` cases run at a time and all shall have ended after `budget`.
///
/// The times of the selected cases, spread over the threads, and that of the longest of them fit the budget together: in
/// whatever order cases start, the last one then ends in time (Graham's bound for list scheduling), if the times hold.
///
/// ```
/// use std::time::Duration;
/// use ktstr_core::budget::{Candidate, select};
///
/// let case = |name: &str, topology: &str, seconds| Candidate {
///     id: ("tests".to_owned(), name.to_owned()),
///     test: name.to_owned(),
///     topology: topology.to_owned(),
///     scheduler: "mine".to_owned(),
///     kernel: String::new(),
///     time: Duration::from_secs(seconds),
///     later: false,
/// };
/// let cases = [case("a", "1n1l2c1t", 10), case("b", "1n1l2c1t", 30), case("c", "1n2l2c1t", 10)];
/// let selection = select(&cases, Duration::from_secs(30), 1);
/// assert_eq!(selection.selected, [0, 2]);
/// assert_eq!(selection.left_out.tests, ["b"]);
/// ```
pub fn select(candidates: &[Candidate], budget: Duration, threads: usize) -> Selection {
    let mut room = Room {
        budget,
        threads: u32::try_from(threads.max(1)).unwrap_or(u32::MAX),
        sum: Duration::ZERO,
        longest: Duration::ZERO,
    };
    let mut covered = Covered::default();
    let mut selected = Vec::new();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // By their names: the order in which they came is no matter.
    order.sort_by_key(|index| &candidates[*index].id);
    let ranked = order.into_iter().enumerate();
    let mut open: BinaryHeap<Ranked> = ranked
        .map(|(place, index)| Ranked::new(&candidates[index], index, place, &covered))
        .collect();
    while let Some(best) = open.pop() {
        let case = &candidates[best.index];
        if !room.fits(case.time) {
            continue;
        }
        // What a case adds only shrinks. If it is still as much as when it was ranked, no other adds more.
        let now = Ranked::new(case, best.index, best.place, &covered);
        if now != best {
            open.push(now);
            continue;
        }
        room.take(case.time);
        covered.add(case);
        selected.push(best.index);
    }
    Selection {
        left_out: left_out(candidates, &covered, candidates.len() - selected.len()),
        time: room.sum,
        selected,
    }
}

/// A candidate by what it adds for its time; the greatest comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ranked {
    later: bool,
    gain: u64,
    /// What takes no time is not worth more than anything else: at least 1.
    millis: u64,
    /// Its place in the order of names.
    place: usize,
    index: usize,
}

impl Ranked {
    fn new(case: &Candidate, index: usize, place: usize, covered: &Covered<'_>) -> Self {
        Self {
            later: case.later,
            gain: covered.gain(case),
            millis: u64::try_from(case.time.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
            place,
            index,
        }
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let worth = |gain: u64, others_millis: u64| u128::from(gain) * u128::from(others_millis);
        (other.later.cmp(&self.later))
            .then(worth(self.gain, other.millis).cmp(&worth(other.gain, self.millis)))
            .then(other.place.cmp(&self.place))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The time that is left.
struct Room {
    budget: Duration,
    threads: u32,
    sum: Duration,
    longest: Duration,
}

impl Room {
    fn fits(&self, time: Duration) -> bool {
        let longest = self.longest.max(time);
        let sum = self.sum.saturating_add(time);
        // The longest one may start when the others end.
        let end = sum.saturating_sub(longest) / self.threads;
        end.saturating_add(longest) <= self.budget
    }

    fn take(&mut self, time: Duration) {
        self.sum = self.sum.saturating_add(time);
        self.longest = self.longest.max(time);
    }
}

/// What the selected cases cover.
#[derive(Default)]
struct Covered<'c> {
    singles: BTreeSet<Feature<'c>>,
    pairs: BTreeSet<(Feature<'c>, Feature<'c>)>,
}

impl<'c> Covered<'c> {
    fn gain(&self, case: &'c Candidate) -> u64 {
        let features = case.features();
        let singles = features.iter().filter(|it| !self.singles.contains(*it));
        let pairs = pairs(features).filter(|pair| !self.pairs.contains(pair));
        // A case that adds nothing is still better than time that is not used.
        1 + SINGLE * singles.count() as u64 + PAIR * pairs.count() as u64
    }

    fn add(&mut self, case: &'c Candidate) {
        let features = case.features();
        self.singles.extend(features);
        self.pairs.extend(pairs(features));
    }

    fn missing(&self, kind: usize, all: impl Iterator<Item = &'c str>) -> Vec<String> {
        let all: BTreeSet<&str> = all.collect();
        let missing = all
            .into_iter()
            .filter(|value| !self.singles.contains(&(kind, *value)));
        missing.map(str::to_owned).collect()
    }
}

fn pairs(features: [Feature<'_>; 4]) -> impl Iterator<Item = (Feature<'_>, Feature<'_>)> {
    const ALL: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    ALL.into_iter()
        .map(move |(a, b)| (features[a], features[b]))
}

fn left_out<'c>(candidates: &'c [Candidate], covered: &Covered<'c>, cases: usize) -> LeftOut {
    let missing = |kind: usize, value: fn(&'c Candidate) -> &'c str| {
        covered.missing(kind, candidates.iter().map(value))
    };
    LeftOut {
        cases,
        tests: missing(0, |case| &case.test),
        topologies: missing(1, |case| &case.topology),
        schedulers: missing(2, |case| &case.scheduler),
        kernels: missing(3, |case| &case.kernel),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn case(test: &str, topology: &str, scheduler: &str, kernel: &str, millis: u64) -> Candidate {
        Candidate {
            id: (
                "b".to_owned(),
                [test, topology, scheduler, kernel].join("/"),
            ),
            test: test.to_owned(),
            topology: topology.to_owned(),
            scheduler: scheduler.to_owned(),
            kernel: kernel.to_owned(),
            time: Duration::from_millis(millis),
            later: false,
        }
    }

    fn names(cases: &[Candidate], selection: &Selection) -> Vec<String> {
        let names = selection.selected.iter();
        names.map(|index| cases[*index].id.1.clone()).collect()
    }

    #[test]
    fn every_test_comes_before_any_second_variant() {
        let cases = [
            case("a", "small", "x", "k", 1000),
            case("a", "large", "x", "k", 1000),
            case("a", "huge", "x", "k", 1000),
            case("b", "small", "y", "k", 1000),
            case("c", "small", "x", "l", 1000),
        ];
        let selection = select(&cases, Duration::from_secs(3), 1);
        // Three tests, two schedulers, two kernels.
        assert_eq!(
            names(&cases, &selection),
            ["a/huge/x/k", "b/small/y/k", "c/small/x/l"]
        );
        assert_eq!(selection.time, Duration::from_secs(3));
        let left_out = &selection.left_out;
        let told = "2 cases are left out, and with them 1 topology (large)";
        assert_eq!(left_out.to_string(), told);
        assert_eq!(
            (left_out.cases, left_out.topologies.as_slice()),
            (2, ["large".to_owned()].as_slice())
        );
        assert!(
            left_out.tests.is_empty()
                && left_out.schedulers.is_empty()
                && left_out.kernels.is_empty()
        );
    }

    #[test]
    fn threads_share_the_time_and_the_longest_ends_in_it() {
        let cases: Vec<_> = (0..9)
            .map(|n| case(&format!("t{n}"), "s", "x", "k", 1000))
            .collect();
        let count = |seconds, threads| {
            select(&cases, Duration::from_secs(seconds), threads)
                .selected
                .len()
        };
        assert_eq!(count(3, 1), 3);
        // Two at a time: the last one starts when four others have ended at the latest.
        assert_eq!(count(3, 2), 5);
        assert_eq!(count(0, 2), 0);
        assert_eq!(count(100, 2), 9);
        // What takes longer than there is time for is left out, whatever it covers.
        let long = [
            case("long", "only-here", "only", "only", 60_000),
            case("a", "s", "x", "k", 10),
        ];
        let selection = select(&long, Duration::from_secs(59), 64);
        assert_eq!(names(&long, &selection), ["a/s/x/k"]);
        assert_eq!(selection.left_out.tests, ["long"]);
    }

    #[test]
    fn what_comes_later_takes_what_is_left() {
        let mut cases = [
            case("a", "small", "x", "k", 1000),
            case("a", "large", "y", "l", 10),
            case("b", "small", "x", "k", 1000),
        ];
        cases[1].later = true;
        let of = |seconds| names(&cases, &select(&cases, Duration::from_secs(seconds), 1));
        assert_eq!(of(2), ["a/small/x/k", "b/small/x/k"]);
        assert_eq!(of(3), ["a/small/x/k", "b/small/x/k", "a/large/y/l"]);
    }

    fn any_case() -> impl Strategy<Value = Candidate> {
        ("[a-d]", "[a-d]", "[a-c]", "[a-b]", 0u64..5000).prop_map(
            |(test, topology, scheduler, kernel, time)| {
                case(&test, &topology, &scheduler, &kernel, time)
            },
        )
    }

    /// The end of `cases` on `threads`, each started as soon as a thread is free, in this order.
    fn end_of(cases: &[&Candidate], threads: usize) -> Duration {
        let mut free = vec![Duration::ZERO; threads];
        for case in cases {
            free.sort();
            free[0] += case.time;
        }
        free.into_iter().max().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_selected_ends_in_time_in_any_order(
            cases in prop::collection::vec(any_case(), 0..40),
            seconds in 0u64..30,
            threads in 1usize..6,
            seed in any::<u64>(),
        ) {
            let budget = Duration::from_secs(seconds);
            let selection = select(&cases, budget, threads);
            let mut selected: Vec<&Candidate> = selection.selected.iter().map(|index| &cases[*index]).collect();
            selected.sort_by_key(|case| xxhash_rust::xxh3::xxh3_64_with_seed(case.id.1.as_bytes(), seed));
            prop_assert!(end_of(&selected, threads) <= budget);
            prop_assert_eq!(selection.selected.len() + selection.left_out.cases, cases.len());
            let distinct: BTreeSet<_> = selection.selected.iter().collect();
            prop_assert_eq!(distinct.len(), selection.selected.len());
            // With time for all, none is left out.
            let more = select(&cases, budget + Duration::from_secs(1_000_000), threads);
            prop_assert_eq!(more.left_out.cases, 0);
        }

        #[test]
        fn the_order_of_the_candidates_is_no_matter(
            cases in prop::collection::btree_map("[a-z]{1,3}", any_case(), 0..20),
            seconds in 0u64..30,
            seed in any::<u64>(),
        ) {
            let cases: Vec<Candidate> = cases
                .into_iter()
                .map(|(name, case)| Candidate { id: ("b".to_owned(), name), ..case })
                .collect();
            let mut other = cases.clone();
            other.sort_by_key(|case| xxhash_rust::xxh3::xxh3_64_with_seed(case.id.1.as_bytes(), seed));
            let budget = Duration::from_secs(seconds);
            let (one, two) = (select(&cases, budget, 2), select(&other, budget, 2));
            prop_assert_eq!(names(&cases, &one), names(&other, &two));
            prop_assert_eq!(one.left_out, two.left_out);
        }
    }
}
