//! Loops in the verifier's log, made short.
//!
//! The verifier writes a line for each instruction that it walks through, and it walks through a loop as often as the
//! loop goes round. What differs between iterations is what it knows of registers: numbers. So lines are compared by
//! what they say without that, and a sequence of lines that comes three times or more in a row keeps its first and its
//! last time.

mod line;

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use self::line::essence;

/// Longer sequences are not taken for iterations.
const MAX_PERIOD: usize = 4096;

/// How many of the next places where a line comes again are tried as the end of an iteration.
const CANDIDATES: usize = 8;

/// Loops that hold loops are found one level at a time.
const MAX_DEPTH: usize = 8;

/// `log` with loops collapsed: first iteration, how many were left out, last iteration.
///
/// It is never longer than `log`, and nothing but repeats of what stands before the gap is left out.
pub fn collapse(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let mut text = String::with_capacity(log.len().min(64 << 10));
    for item in items(&lines) {
        match item {
            Item::Line(at) => text.push_str(lines[at]),
            Item::Omitted { iterations, .. } => {
                let _ = write!(text, "{}", note(iterations));
            }
        }
        text.push('\n');
    }
    if !log.ends_with('\n') {
        text.pop();
    }
    text
}

fn note(iterations: usize) -> String {
    format!("    [{iterations} identical iterations omitted]")
}

/// A line of the collapsed log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    /// A line of the log, by its number.
    Line(usize),
    /// What stands before this, so many lines of the log, came so many times more.
    Omitted { iterations: usize, lines: usize },
}

impl Item {
    /// How many lines of the log it stands for.
    fn lines(self) -> usize {
        match self {
            Self::Line(_) => 1,
            Self::Omitted { iterations, lines } => iterations * lines,
        }
    }
}

fn items(lines: &[&str]) -> Vec<Item> {
    let mut keys = Keys::default();
    let mut items: Vec<(Item, u32)> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| (Item::Line(at), keys.of_line(line)))
        .collect();
    for _ in 0..MAX_DEPTH {
        let Some(shorter) = collapse_once(&items, lines, &mut keys) else {
            break;
        };
        items = shorter;
    }
    items.into_iter().map(|(item, _)| item).collect()
}

/// What items are compared by: equal numbers are equal items.
#[derive(Default)]
struct Keys {
    lines: HashMap<String, u32>,
    gaps: HashMap<Item, u32>,
}

impl Keys {
    fn count(&self) -> u32 {
        (self.lines.len() + self.gaps.len()) as u32
    }

    fn of_line(&mut self, line: &str) -> u32 {
        let new = self.count();
        *self.lines.entry(essence(line)).or_insert(new)
    }

    fn of_gap(&mut self, gap: Item) -> u32 {
        let new = self.count();
        *self.gaps.entry(gap).or_insert(new)
    }
}

/// Iterations of one and the same, one after another.
struct Repeat {
    period: usize,
    times: usize,
}

impl Repeat {
    /// Items that go.
    fn saved(&self) -> usize {
        self.period * (self.times - 2)
    }
}

/// One level of loops collapsed; `None` where there is none.
fn collapse_once(
    items: &[(Item, u32)],
    lines: &[&str],
    keys: &mut Keys,
) -> Option<Vec<(Item, u32)>> {
    let ids: Vec<u32> = items.iter().map(|(_, key)| *key).collect();
    let next = next_places(&ids);
    let mut shorter = Vec::with_capacity(items.len());
    let mut at = 0;
    while at < items.len() {
        let Some(repeat) = best_repeat(items, &ids, &next, at, lines) else {
            shorter.push(items[at]);
            at += 1;
            continue;
        };
        let Repeat { period, times } = repeat;
        let iteration = items[at..at + period].iter();
        let gap = Item::Omitted {
            iterations: times - 2,
            lines: iteration.map(|(item, _)| item.lines()).sum(),
        };
        let end = at + times * period;
        shorter.extend_from_slice(&items[at..at + period]);
        shorter.push((gap, keys.of_gap(gap)));
        shorter.extend_from_slice(&items[end - period..end]);
        at = end;
    }
    (shorter.len() < items.len() || shorter.iter().ne(items)).then_some(shorter)
}

/// For each place the next one of the same key; the length where there is none.
fn next_places(ids: &[u32]) -> Vec<usize> {
    let mut last: HashMap<u32, usize> = HashMap::new();
    let mut next = vec![ids.len(); ids.len()];
    for (at, id) in ids.iter().enumerate().rev() {
        if let Some(later) = last.insert(*id, at) {
            next[at] = later;
        }
    }
    next
}

/// The iterations that begin `at` and are worth most.
fn best_repeat(
    items: &[(Item, u32)],
    ids: &[u32],
    next: &[usize],
    at: usize,
    lines: &[&str],
) -> Option<Repeat> {
    let mut best: Option<Repeat> = None;
    let mut place = at;
    for _ in 0..CANDIDATES {
        place = next[place];
        let period = place - at;
        if period > MAX_PERIOD || at + 3 * period > ids.len() {
            break;
        }
        let times = times(&ids[at..], period);
        if times < 3 || !stands_alone(&items[at..place]) {
            continue;
        }
        let repeat = Repeat { period, times };
        let gone = at + period..at + period + repeat.saved();
        if best
            .as_ref()
            .is_none_or(|best| repeat.saved() > best.saved())
            && bytes(items, lines, gone) > note(times - 2).len()
        {
            best = Some(repeat);
        }
    }
    best
}

/// How often what `ids` begin with comes in a row.
fn times(ids: &[u32], period: usize) -> usize {
    let mut blocks = ids.chunks_exact(period);
    let Some(first) = blocks.next() else { return 0 };
    1 + blocks.take_while(|block| *block == first).count()
}

/// Whether every gap in it tells of items that are in it as well.
fn stands_alone(items: &[(Item, u32)]) -> bool {
    let mut before = 0;
    items.iter().all(|(item, _)| {
        let stands = match item {
            Item::Line(_) => true,
            Item::Omitted { lines, .. } => *lines <= before,
        };
        before += item.lines();
        stands
    })
}

/// What is printed for these items, in bytes, without the last line break.
fn bytes(items: &[(Item, u32)], lines: &[&str], range: Range<usize>) -> usize {
    let length = |item: &Item| match item {
        Item::Line(at) => lines[*at].len(),
        Item::Omitted { iterations, .. } => note(*iterations).len(),
    };
    let lengths = items[range].iter().map(|(item, _)| length(item) + 1);
    lengths.sum::<usize>().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One iteration of a loop as the kernel writes it, the `n`th.
    fn iteration(n: usize) -> String {
        format!(
            "; sum += next() >> (i & 7); @ faults.h:206\n\
             2: (bc) w8 = w6                       ; R6_w={n} R8_w={n}\n\
             4: (85) call bpf_get_prandom_u32#7    ; R0{}=scalar()\n\
             6: (0c) w0 += w7                      ; R0_w=scalar(id={n},var_off=(0x0; {:#x}))\n\
             7: (56) if w6 != 0x1770 goto pc-8     ; R6_w={n}\n",
            if n.is_multiple_of(3) { "_w" } else { "" },
            0xffff >> (n % 8)
        )
    }

    #[test]
    fn a_loop_keeps_its_first_and_its_last_iteration() {
        let body: String = (0..6000).map(iteration).collect();
        let log = format!("0: R1=ctx() R10=fp0\n{body}R0 invalid mem access 'scalar'\n");
        let expected = format!(
            "0: R1=ctx() R10=fp0\n{}    [5998 identical iterations omitted]\n{}R0 invalid mem access 'scalar'\n",
            iteration(0),
            iteration(5999)
        );
        assert_eq!(collapse(&log), expected);
        // Two of them are no loop to speak of.
        let twice = iteration(0) + &iteration(1);
        assert_eq!(collapse(&twice), twice);
    }

    #[test]
    fn loops_in_loops_are_found() {
        let outer = |n: usize| {
            let inner: String = (0..10).map(iteration).collect();
            format!("from 9 to 1: R0={n} R6=scalar(id={n})\n1: (b7) r7 = 0  ; R7_w={n}\n{inner}")
        };
        let log: String = (0..50).map(outer).collect();
        let text = collapse(&log);
        assert_eq!(
            text.matches("[48 identical iterations omitted]").count(),
            1,
            "{text}"
        );
        assert_eq!(
            text.matches("[8 identical iterations omitted]").count(),
            2,
            "{text}"
        );
        assert_eq!(text.lines().count(), 2 * (2 + 2 * 5 + 1) + 1);
        // Where the inner loop grows, no outer iteration is like another.
        let growing: String = (3..20)
            .map(|n| (0..n).map(iteration).collect::<String>() + "9: (95) exit\n")
            .collect();
        let text = collapse(&growing);
        assert_eq!(text.matches("identical iterations omitted").count(), 17);
    }

    /// Keys of the lines that `items` stand for.
    fn expanded(items: &[Item], lines: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for item in items {
            match *item {
                Item::Line(at) => all.push(essence(lines[at])),
                Item::Omitted { iterations, lines } => {
                    let before = all[all.len() - lines..].to_vec();
                    all.extend(vec![before; iterations].concat());
                }
            }
        }
        all
    }

    /// Logs of few kinds of lines, with loops and loops in them.
    fn any_log() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            (0..4u8, any::<u16>()).prop_map(|(at, n)| format!("{at}: (07) r1 += 1 ; R1_w={n}\n")),
            (0..3u8, any::<u8>()).prop_map(|(at, n)| format!("from {at} to 1: R0={n}\n")),
            "[a-c0-9: ;]{0,6}\n",
        ];
        line.prop_recursive(4, 400, 6, |inner| {
            (prop::collection::vec(inner, 1..6), 1..7usize)
                .prop_map(|(block, times)| block.concat().repeat(times))
        })
    }

    proptest! {
        #[test]
        fn nothing_but_repeats_is_left_out(log in any_log()) {
            let lines: Vec<&str> = log.lines().collect();
            let all: Vec<String> = lines.iter().map(|line| essence(line)).collect();
            let items = items(&lines);
            prop_assert_eq!(expanded(&items, &lines), all);
            // Lines stay in their order, and as they are.
            let kept: Vec<usize> = items.iter().filter_map(|item| match item {
                Item::Line(at) => Some(*at),
                Item::Omitted { .. } => None,
            }).collect();
            prop_assert!(kept.is_sorted());
            prop_assert_eq!(kept.first(), (!lines.is_empty()).then_some(&0));
            prop_assert_eq!(kept.last().map(|last| last + 1), (!lines.is_empty()).then_some(lines.len()));
        }

        #[test]
        fn it_is_never_longer_and_always_the_same(log in any_log()) {
            let text = collapse(&log);
            prop_assert!(text.len() <= log.len());
            prop_assert!(text.lines().count() <= log.lines().count());
            prop_assert_eq!(collapse(&log), text);
        }

        #[test]
        fn any_text_is_taken(log in ".{0,200}") {
            prop_assert!(collapse(&log).len() <= log.len());
        }
    }
}
