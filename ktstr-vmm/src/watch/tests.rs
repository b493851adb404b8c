use super::*;
use CpuActivity::{Idle, Kernel, Program, Stopped};

const WORDS: &[u8] = b"[    1.5] Kernel panic - not syncing: Attempted to kill init!\r\n";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Looks at a guest that is always like this until something comes of it or `limit` is over; when, and what.
fn look_on(
    watch: &mut Watch,
    states: &[CpuActivity],
    limit: Duration,
) -> (Duration, Option<GuestDeath>) {
    loop {
        let now = watch.next_look();
        if now > limit {
            return (limit, None);
        }
        let death = watch.looked(Some(states), now);
        assert!(watch.next_look() > now, "it looks on and on");
        if death.is_some() {
            return (now, death);
        }
    }
}

fn panic() -> GuestDeath {
    GuestDeath::Panic("Attempted to kill init!".to_owned())
}

#[test]
fn words_of_a_panic_are_found_wherever_chunks_end() {
    for at in 0..WORDS.len() {
        let mut watch = Watch::new();
        watch.console(b"boot\n[    1.0] ok\r\n", ms(0));
        watch.console(&WORDS[..at], ms(1));
        watch.console(&WORDS[at..], ms(2));
        watch.console(b"CPU: 0\n", ms(3));
        assert_eq!(watch.panic().map(GuestDeath::Panic), Some(panic()), "{at}");
    }
    for plain in [
        &b""[..],
        b"all is well\n",
        b"Kernel panic\n",
        b"not syncing: x\n",
    ] {
        let mut watch = Watch::new();
        watch.console(plain, ms(0));
        assert_eq!(watch.panic(), None);
    }
    let mut watch = Watch::new();
    // It reset before the end of the line, which came after a very long one.
    watch.console(&b"x".repeat(100_000), ms(0));
    assert!(watch.line.len() <= MAX_LINE);
    watch.console(b"\nKernel panic - not syncing: so", ms(0));
    assert_eq!(watch.panic().as_deref(), Some("so"));
    let end = panic_words(b"[ 2.0] ---[ end Kernel panic - not syncing: so ]---\r");
    assert_eq!(end.as_deref(), Some("so"));
}

#[test]
fn a_kernel_that_panicked_and_stands_is_dead_within_two_seconds() {
    for states in [&[Kernel][..], &[Kernel, Stopped], &[Stopped, Stopped]] {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(1000));
        let (when, death) = look_on(&mut watch, states, ms(600_000));
        assert_eq!(death, Some(panic()));
        assert!(when <= ms(3000), "{when:?}");
    }
}

#[test]
fn its_report_is_waited_for_but_not_for_good() {
    let mut watch = Watch::new();
    watch.console(WORDS, ms(0));
    let mut now = ms(0);
    let ended = loop {
        now += ms(20);
        watch.console(b"Call Trace:\n", now);
        if now >= watch.next_look()
            && let Some(death) = watch.looked(Some(&[Kernel]), now)
        {
            break death;
        }
        assert!(now < ms(60_000), "it waits for good");
    };
    assert_eq!(ended, panic());
    assert!(now >= REPORT_LIMIT);
}

#[test]
fn a_guest_that_lives_is_not_ended_by_words_that_a_program_wrote() {
    for states in [&[Program][..], &[Idle, Stopped], &[Kernel, Idle]] {
        let mut watch = Watch::new();
        watch.console(WORDS, ms(1000));
        assert_eq!(look_on(&mut watch, states, ms(3_600_000)).1, None);
        assert_eq!(watch.panic(), None);
        assert_eq!(watch.false_alarms(), ["Attempted to kill init!"]);
    }
    // One that is mostly in the kernel.
    let mut watch = Watch::new();
    watch.console(WORDS, ms(0));
    for look in 0..200 {
        let states = if look % 10 == 0 { [Program] } else { [Kernel] };
        assert_eq!(watch.looked(Some(&states), watch.next_look()), None);
    }
    assert_eq!(watch.panic(), None);
}

#[test]
fn only_later_frames_are_a_sign_of_life() {
    let mut watch = Watch::new();
    watch.console(WORDS, ms(1000));
    watch.frame(ms(1010));
    assert!(watch.panic().is_some());
    watch.frame(ms(2100));
    assert_eq!(watch.panic(), None);
    // What comes next is taken for itself.
    watch.console(b"Kernel panic - not syncing: other\n", ms(2200));
    assert_eq!(watch.panic().as_deref(), Some("other"));
}

#[test]
fn cpus_that_still_run_while_the_kernel_speaks_are_no_sign_of_life() {
    let mut watch = Watch::new();
    watch.console(WORDS, ms(0));
    for step in 1..100 {
        let now = ms(step * 100);
        watch.console(b"Call Trace:\n", now);
        assert_eq!(watch.looked(Some(&[Kernel, Program]), now), None);
    }
    assert!(watch.panic().is_some());
    assert_eq!(
        look_on(&mut watch, &[Kernel, Stopped], ms(60_000)).1,
        Some(panic())
    );
}

#[test]
fn cpus_that_cannot_be_looked_at_leave_the_words() {
    let mut watch = Watch::new();
    watch.console(WORDS, ms(0));
    let mut death = None;
    while death.is_none() {
        let now = watch.next_look();
        death = watch.looked(None, now);
        assert!(now < ms(20_000));
    }
    assert_eq!(death, Some(panic()));
    let empty: &[CpuActivity] = &[];
    for nothing in [None, Some(empty)] {
        let mut watch = Watch::new();
        for _ in 0..100 {
            assert_eq!(watch.looked(nothing, watch.next_look()), None);
        }
    }
}

#[test]
fn a_guest_that_halted_for_good_is_seen_and_one_that_idles_is_left_alone() {
    let mut watch = Watch::new();
    watch.console(b"[    9.0] reboot: System halted\n", ms(9000));
    let (when, death) = look_on(&mut watch, &[Stopped, Stopped], ms(600_000));
    assert_eq!(death, Some(GuestDeath::Halted));
    assert!(when <= ms(11_000), "{when:?}");

    let mut watch = Watch::new();
    let mut looks = 0;
    while watch.next_look() < ms(600_000) {
        assert_eq!(
            watch.looked(Some(&[Idle, Stopped]), watch.next_look()),
            None
        );
        looks += 1;
    }
    assert!(looks < 20, "{looks} looks in ten minutes");
    // Once is not for good: so it is while firmware starts the CPUs.
    let mut watch = Watch::new();
    assert_eq!(watch.looked(Some(&[Stopped]), ms(1000)), None);
    assert_eq!(watch.looked(Some(&[Kernel]), ms(1100)), None);
    assert_eq!(watch.looked(Some(&[Stopped]), ms(1200)), None);
}
