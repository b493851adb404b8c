//! What the kernel's scheduler did, as data that a test judges.
//!
//! A [`Watch`] reads the kernel's own trace of switches and wake-ups while a test runs, and, where the author names some,
//! the calls of any functions of the kernel with fields of their arguments. Events are judged as they come and are not
//! kept: [`Rule`]s say what must [never](Rule::never) or [always](Rule::always) be so, what must come
//! [within](Rule::within) a time, and [count](Rule::count) and [measure](Rule::max).
//!
//! Two checks need no rule. Work conservation is [`Watch::max_wasted`]: the longest time that a CPU is idle while a task
//! waits that may use it. Wake-to-run time is [`Watch::max_wake_to_run`]. As the keys `max_wasted_ms` and
//! `max_wake_to_run_ms` of `#[ktstr_test]` they judge a whole test.
//!
//! # What waits, and for which CPUs
//!
//! A task waits from its `sched_wakeup`, or from the `sched_switch` that takes it off a CPU while it can still run, until
//! a `sched_switch` puts it on one. It may use the CPUs of `Cpus_allowed_list` in its `/proc/PID/status`: affinity and
//! cpuset. That is read within a second, and what rests on it is dropped when a change of the task's CPUs is
//! seen before then. A CPU is idle while its idle task runs and it is online. Tasks that wait by design are left out:
//! those of the deadline policy, which have a budget, and those whose cgroup has a quota (`cpu.max`).
//!
//! # Cost and losses
//!
//! The kernel writes events to a ring buffer for each CPU: 1 MiB, less on machines of more than 64 CPUs, which share 64
//! MiB, but not less than 128 KiB. They are read when a buffer is a quarter full, and once to four times a second. What does not
//! fit is lost, oldest first; the kernel counts it. [`Report::cpu_time`] is what reading and judging took. Where events
//! are lost, what was seen before and after still counts, and a limit that is not broken is inconclusive.

mod decode;
mod error;
mod event;
mod facts;
mod format;
mod function;
mod latency;
mod machine;
mod page;
mod report;
mod rule;
mod session;
mod stream;
mod tracefs;
mod watch;

pub use error::TraceError;
pub use event::{Call, Event, Task, What};
pub use function::Function;
pub use latency::{Latency, TaskLatency};
pub use machine::Waste;
pub use report::Report;
pub(crate) use report::lost_words;
pub use rule::{Broken, Rule, Ruled};
pub use session::Counts;
pub(crate) use session::{Plan, Session};
pub(crate) use tracefs::remove_abandoned;
pub use watch::{Watch, Watching};
