use super::super::event::What;
use super::super::event::tests::{event, task};
use super::*;

fn wake(at: u64, pid: i32) -> Event {
    event(
        at,
        0,
        What::Wakeup {
            task: task(pid),
            target: 0,
            new: false,
        },
    )
}

fn runs(at: u64, pid: i32) -> Event {
    event(
        at,
        0,
        What::Switch {
            prev: task(0),
            runnable: true,
            next: task(pid),
        },
    )
}

fn woken(event: &Event) -> Option<i64> {
    match event.what {
        What::Wakeup { task, .. } => Some(task.pid.into()),
        _ => None,
    }
}

fn run(event: &Event) -> Option<i64> {
    match event.what {
        What::Switch { next, .. } => Some(next.pid.into()),
        _ => None,
    }
}

fn ruled(rule: Rule, events: &[Event], end: u64) -> Ruled {
    let mut rules = Rules::new(vec![rule]);
    for event in events {
        rules.take(event);
    }
    rules.finish(Duration::from_micros(end)).remove(0)
}

#[test]
fn never_and_always() {
    let events: Vec<Event> = (0..20).map(|at| wake(at, at as i32)).collect();
    let is = |wanted: i64| move |event: &Event| woken(event) == Some(wanted);
    let broken = ruled(Rule::never("x", is(9)), &events, 99);
    assert_eq!((broken.broken, broken.count), (1, 1));
    let first = broken.first.unwrap();
    assert_eq!(first.event.at, Duration::from_micros(9));
    let shown: Vec<u128> = first
        .moments
        .iter()
        .map(|event| event.at.as_micros())
        .collect();
    assert_eq!(shown, (3..=15).collect::<Vec<_>>());
    assert_eq!(ruled(Rule::never("x", is(50)), &events, 99).broken, 0);
    let small = |limit: i64| move |event: &Event| woken(event) < Some(limit);
    let all = ruled(
        Rule::always("x", |event| woken(event).is_some(), small(18)),
        &events,
        99,
    );
    assert_eq!((all.broken, all.count), (2, 20));
}

#[test]
fn within_a_time() {
    let rule = || Rule::within("x", Duration::from_micros(10), woken, run);
    let fine = ruled(
        rule(),
        &[
            wake(1, 7),
            wake(2, 8),
            runs(11, 7),
            runs(12, 8),
            wake(95, 9),
        ],
        100,
    );
    assert_eq!((fine.broken, fine.count, fine.max), (0, 3, Some(10_000)));
    let late = ruled(rule(), &[wake(1, 7), wake(5, 7), runs(12, 7)], 100);
    assert_eq!((late.broken, late.first.unwrap().event), (1, wake(1, 7)));
    let never = ruled(rule(), &[wake(1, 7)], 100);
    assert_eq!((never.broken, never.max), (1, Some(99_000)));
    let mut rules = Rules::new(vec![rule()]);
    rules.take(&wake(1, 7));
    rules.lost();
    assert_eq!(rules.finish(Duration::from_micros(100))[0].broken, 0);
}

#[test]
fn counts_and_maxima_have_limits() {
    let events: Vec<Event> = (0..20).map(|at| wake(at, at as i32)).collect();
    let count = ruled(
        Rule::count("x", |event| woken(event).is_some()).at_most(5),
        &events,
        99,
    );
    assert_eq!((count.count, count.broken), (20, 1));
    assert_eq!(count.first.unwrap().event.at, Duration::from_micros(5));
    let max = ruled(Rule::max("x", woken).at_most(17), &events, 99);
    assert_eq!((max.max, max.broken), (Some(19), 2));
    assert_eq!(ruled(Rule::max("x", woken), &events, 99).broken, 0);
}
