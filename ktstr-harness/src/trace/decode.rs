//! From the bytes of a record to an event.

use std::time::Duration;

use super::event::{Call, Event, Task, What};
use super::format::{Field, Format, FormatError};

/// Knows the records of the events that are switched on.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoder {
    /// By the number of the event; a handful.
    kinds: Vec<(u16, Kind)>,
    /// Of every record: `common_type`, `common_pid`.
    common: Option<(Field, Field)>,
}

#[derive(Debug, Clone)]
enum Kind {
    Switch {
        prev: TaskFields,
        state: Field,
        next: TaskFields,
    },
    Wakeup {
        task: TaskFields,
        target: Field,
        new: bool,
    },
    Migrate {
        task: TaskFields,
        from: Field,
        to: Field,
    },
    Hotplug {
        cpu: Field,
        target: Field,
    },
    Affinity {
        pid: Field,
    },
    Call {
        function: usize,
        values: Vec<Field>,
    },
}

#[derive(Debug, Clone, Copy)]
struct TaskFields {
    comm: Field,
    pid: Field,
    prio: Field,
}

/// States of a task that leaves its CPU, and the flag of one that was preempted (`TASK_REPORT_MAX`): the kernel's
/// `include/linux/sched.h` and `include/trace/events/sched.h`.
const NOT_RUNNABLE: i64 = 0xff;

impl Decoder {
    /// Learns one of the kernel's own events.
    pub(super) fn learn(&mut self, event: &str, description: &str) -> Result<(), FormatError> {
        let format = Format::parse(description);
        let task = |prefix: &str| -> Result<TaskFields, FormatError> {
            Ok(TaskFields {
                comm: format.field(&format!("{prefix}comm"))?,
                pid: format.integer(&format!("{prefix}pid"))?,
                prio: format.integer(&format!("{prefix}prio"))?,
            })
        };
        let kind = match event {
            "sched_switch" => Kind::Switch {
                prev: task("prev_")?,
                state: format.integer("prev_state")?,
                next: task("next_")?,
            },
            "sched_migrate_task" => Kind::Migrate {
                task: task("")?,
                from: format.integer("orig_cpu")?,
                to: format.integer("dest_cpu")?,
            },
            "cpuhp_enter" => Kind::Hotplug {
                cpu: format.integer("cpu")?,
                target: format.integer("target")?,
            },
            _ => Kind::Wakeup {
                task: task("")?,
                target: format.integer("target_cpu")?,
                new: event == "sched_wakeup_new",
            },
        };
        self.add(&format, kind)
    }

    /// Learns the event of a task whose CPUs are set.
    pub(super) fn learn_affinity(&mut self, description: &str) -> Result<(), FormatError> {
        let format = Format::parse(description);
        let pid = format.integer("pid")?;
        self.add(&format, Kind::Affinity { pid })
    }

    /// Learns the event of a watched function with so many values, which are called `v0`, `v1` and so on.
    pub(super) fn learn_call(
        &mut self,
        function: usize,
        values: usize,
        description: &str,
    ) -> Result<(), FormatError> {
        let format = Format::parse(description);
        let values = (0..values).map(|index| format.integer(&format!("v{index}")));
        let values = values.collect::<Result<_, _>>()?;
        self.add(&format, Kind::Call { function, values })
    }

    fn add(&mut self, format: &Format, kind: Kind) -> Result<(), FormatError> {
        let common = (
            format.integer("common_type")?,
            format.integer("common_pid")?,
        );
        self.common = Some(common);
        self.kinds.push((format.id, kind));
        Ok(())
    }

    /// The event in the bytes of a record; `None` for one that is not known, or too short for what it says it is.
    pub(super) fn event(&self, at: u64, cpu: u32, record: &[u8]) -> Option<Event> {
        let (kind, current) = self.common?;
        let id = kind.read(record)?;
        let (_, kind) = self
            .kinds
            .iter()
            .find(|(known, _)| i64::from(*known) == id)?;
        let number = |field: Field| field.read(record).map(|number| number as u32);
        let what = match kind {
            Kind::Switch { prev, state, next } => What::Switch {
                prev: prev.read(record)?,
                runnable: state.read(record)? & NOT_RUNNABLE == 0,
                next: next.read(record)?,
            },
            Kind::Wakeup { task, target, new } => What::Wakeup {
                task: task.read(record)?,
                target: number(*target)?,
                new: *new,
            },
            Kind::Migrate { task, from, to } => What::Migrate {
                task: task.read(record)?,
                from: number(*from)?,
                to: number(*to)?,
            },
            // The lowest state is that of a CPU that is off.
            Kind::Hotplug { cpu, target } => What::Hotplug {
                cpu: number(*cpu)?,
                online: target.read(record)? > 0,
            },
            Kind::Affinity { pid } => What::Affinity {
                pid: pid.read(record)? as i32,
            },
            Kind::Call { function, values } => {
                let values = values.iter().filter_map(|value| value.read(record));
                What::Call(Call::new(*function, values))
            }
        };
        Some(Event {
            at: Duration::from_nanos(at),
            cpu,
            current: current.read(record)? as i32,
            what,
        })
    }
}

impl TaskFields {
    fn read(&self, record: &[u8]) -> Option<Task> {
        Some(Task {
            pid: self.pid.read(record)? as i32,
            prio: self.prio.read(record)? as i32,
            comm: self.comm.bytes(record)?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n";

    /// As Linux 6.12 describes them.
    pub(crate) fn decoder() -> Decoder {
        let mut decoder = Decoder::default();
        let field = |name: &str, offset: u32, size: u32, signed: u32| {
            format!("\tfield:x {name};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n")
        };
        let switch = [
            field("prev_comm[16]", 8, 16, 0),
            field("prev_pid", 24, 4, 1),
            field("prev_prio", 28, 4, 1),
            field("prev_state", 32, 8, 1),
            field("next_comm[16]", 40, 16, 0),
            field("next_pid", 56, 4, 1),
            field("next_prio", 60, 4, 1),
        ];
        let wakeup = [
            field("comm[16]", 8, 16, 0),
            field("pid", 24, 4, 1),
            field("prio", 28, 4, 1),
            field("target_cpu", 32, 4, 1),
        ];
        let describe =
            |id: u16, fields: &[String]| format!("ID: {id}\n{COMMON}{}", fields.concat());
        decoder
            .learn("sched_switch", &describe(1, &switch))
            .unwrap();
        decoder
            .learn("sched_wakeup", &describe(2, &wakeup))
            .unwrap();
        let call = describe(3, &[field("v0", 16, 8, 0), field("v1", 24, 4, 1)]);
        decoder.learn_call(0, 2, &call).unwrap();
        assert!(decoder.learn_call(0, 3, &call).is_err());
        assert!(
            decoder
                .learn("sched_migrate_task", &describe(4, &wakeup))
                .is_err()
        );
        decoder
    }

    /// The record of a switch.
    pub(crate) fn switch(prev: i32, state: u64, next: i32) -> Vec<u8> {
        let mut record = vec![0; 64];
        record[..2].copy_from_slice(&1_u16.to_le_bytes());
        record[4..8].copy_from_slice(&prev.to_le_bytes());
        record[8..12].copy_from_slice(b"prev");
        record[24..28].copy_from_slice(&prev.to_le_bytes());
        record[28..32].copy_from_slice(&120_u32.to_le_bytes());
        record[32..40].copy_from_slice(&state.to_le_bytes());
        record[40..44].copy_from_slice(b"next");
        record[56..60].copy_from_slice(&next.to_le_bytes());
        record[60..64].copy_from_slice(&120_u32.to_le_bytes());
        record
    }

    #[test]
    fn switches_tell_who_could_go_on() {
        let decoder = decoder();
        let runnable = |state| match decoder.event(5, 1, &switch(7, state, 8)).unwrap().what {
            What::Switch {
                prev,
                runnable,
                next,
            } => {
                assert_eq!(
                    (prev.to_string(), next.to_string()),
                    ("prev (7)".to_owned(), "next (8)".to_owned())
                );
                runnable
            }
            other => panic!("{other:?}"),
        };
        // R, R+, S, D, X, I
        assert_eq!(
            [0, 0x100, 1, 2, 0x10, 0x80].map(runnable),
            [true, true, false, false, false, false]
        );
        assert_eq!(decoder.event(5, 1, &switch(7, 0, 8)[..63]), None);
        assert_eq!(decoder.event(5, 1, &[9, 0, 0, 0]), None);
        assert_eq!(Decoder::default().event(5, 1, &switch(7, 0, 8)), None);
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_passed_over(record in prop::collection::vec(any::<u8>(), 0..80), id in 0..5_u8) {
            let decoder = decoder();
            let mut record = record;
            let _ = decoder.event(1, 2, &record);
            if record.len() > 1 {
                record[..2].copy_from_slice(&[id, 0]);
                let _ = decoder.event(1, 2, &record);
            }
        }
    }
}
