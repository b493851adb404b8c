use std::cell::Cell;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::TermLike;
use ktstr_core::KernelLabel;
use ktstr_core::host::Host;
use ktstr_kernel::CacheKey;
use ktstr_kernel::discover::Origin;

use super::*;

/// Everything that was written.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that draws whatever it is told, and never moves.
impl TermLike for Written {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.clone().write_all(text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Time that passed for the clock of this thread's reporter.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn clock() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now) + PASSED.get()
}

fn style() -> Style {
    Style::new("x", None, Some("/home/me".into()))
}

/// A reporter of lines, and what it writes.
fn lines() -> (Reporter, Written) {
    let out = Written::default();
    let reporter = Reporter::lines(&style(), out.clone()).with_clock(clock);
    (reporter, out)
}

fn wait(seconds: u64) {
    PASSED.set(PASSED.get() + Duration::from_secs(seconds));
}

fn kernel() -> ResolvedKernel {
    ResolvedKernel {
        image: "/home/me/bzImage".into(),
        vmlinux: None,
        config: None,
        label: KernelLabel::from_version("6.12.9"),
        version: "6.12.9".to_owned(),
        cache_key: None,
        dirty: false,
    }
}

#[test]
fn lines_tell_steps_and_transfers() {
    let (reporter, out) = lines();
    let tell = |event| Progress::event(&reporter, event);
    let transfer = |state| {
        let name = "linux.tar.xz";
        tell(Event::Transfer { name, state });
    };
    let total = Some(100 << 20);
    transfer(Transfer::Started { done: 0, total });
    wait(5);
    transfer(Transfer::Advanced { done: 1 << 20 });
    wait(5);
    transfer(Transfer::Advanced { done: 50 << 20 });
    transfer(Transfer::Retrying {
        why: "it broke off",
        wait: Duration::from_secs(1),
    });
    transfer(Transfer::Started {
        done: 50 << 20,
        total,
    });
    transfer(Transfer::Finished {
        size: 100 << 20,
        took: Duration::from_secs(70),
    });
    // It is over.
    wait(20);
    transfer(Transfer::Advanced { done: 1 });
    let stage = Stage::Compile;
    tell(Event::Started {
        stage,
        total: Some(10),
    });
    wait(10);
    tell(Event::Advanced {
        stage,
        done: 5,
        what: Some("a.o"),
    });
    tell(Event::Finished {
        stage,
        took: Duration::from_secs(20),
    });
    let expected = "\
x: fetching linux.tar.xz (100.0 MiB)
x: linux.tar.xz: 50 %, 5.0 MiB a second, 10.0 s left
x: linux.tar.xz: it broke off; trying again in 1.0 s
x: resuming linux.tar.xz at 50.0 MiB
x: fetched linux.tar.xz (100.0 MiB) in 1m 10s
x: compiling (about 10 steps)
x: compiling: 5 steps, 50 %, about 10 s left
x: compiling took 20.0 s
";
    assert_eq!(out.text(), expected);
}

#[test]
fn what_happens_is_told_with_the_name_of_the_program() {
    let (reporter, out) = lines();
    let key = CacheKey::parse("6.12.9-a").unwrap();
    let tell = |event| Progress::event(&reporter, event);
    tell(Event::CacheHit {
        source: "../linux".as_ref(),
        key: &key,
        age: Duration::from_secs(120),
    });
    tell(Event::Waiting {
        key: &key,
        holder: None,
    });
    tell(Event::Note("a note\n\u{1b}[2Jof a server\u{7}"));
    reporter.resolved(
        &KernelSpec::parse("6.12", &Host::default()).unwrap(),
        &kernel(),
    );
    let found = Found {
        kernel: kernel(),
        origin: Origin::NewestCached,
    };
    SessionObserver::event(&reporter, SessionEvent::KernelFound(&found));
    let nextest = SessionEvent::NextestOutput {
        stream: ktstr_driver::OutputStream::Stdout,
        line: b"  PASS a",
    };
    SessionObserver::event(&reporter, nextest);
    let expected = "\
x: cache hit for ../linux (6.12.9-a, built 2 minutes ago)
x: waiting for another process, which builds 6.12.9-a; see `x locks`
x: a note of a server?
x: resolved kernel \"6.12\": 6.12.9
x: kernel 6.12.9: ~/bzImage (newest cached kernel)
  PASS a
";
    assert_eq!(out.text(), expected);
}

#[test]
fn bars_are_drawn_where_they_belong() {
    let (bars, out) = (Written::default(), Written::default());
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(bars.clone()), 255);
    let reporter = Reporter::bars(&style(), target, out.clone());
    let tell = |event| Progress::event(&reporter, event);
    for (stage, total) in [
        (Stage::Unpack, None),
        (Stage::Unpack, Some(10)),
        (Stage::Compile, None),
        (Stage::Compile, Some(10)),
        (Stage::Configure, None),
        (Stage::Checkout, Some(10)),
    ] {
        tell(Event::Started { stage, total });
        tell(Event::Advanced {
            stage,
            // More than was estimated.
            done: 11,
            what: Some("a.o"),
        });
        tell(Event::Finished {
            stage,
            took: Duration::from_secs(1),
        });
    }
    let transfer = |state| tell(Event::Transfer { name: "f", state });
    for total in [None, Some(10)] {
        transfer(Transfer::Started { done: 1, total });
        transfer(Transfer::Advanced { done: 2 });
        transfer(Transfer::Failed);
    }
    let (bars, out) = (bars.text(), out.text());
    for name in [
        "unpacking ",
        "compiling ",
        "configuring ",
        "checking out ",
        "f ",
    ] {
        assert!(bars.contains(name), "{name}: {bars}");
    }
    assert!(out.starts_with("x: unpacking took 1.0 s\n"), "{out}");
    assert_eq!(out.lines().count(), 6, "{out}");
}
