//! What is on the run queues of all CPUs at one moment.
//!
//! No file of the kernel shows local dispatch queues, and `/sys/kernel/debug/sched/debug` walks every task for every
//! CPU. A dozen BPF instructions per CPU read the fields of `struct rq` where they are (`kernel/sched/sched.h`), for
//! all CPUs in one system call.

use super::bpf::Program;
use super::insn::{
    Insn, add, call, copy, exit, load, set, skip_if_equal, skip_unless_equal, store, variable,
};
use super::layout::Layout;

/// The run queue of one CPU at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunQueue {
    /// Tasks that run or wait there, without the one that looks.
    pub(super) runnable: u32,
    /// Tasks on its local dispatch queue; absent on a kernel without sched_ext.
    pub(super) local_dsq: Option<u32>,
}

/// Reads run queues.
#[derive(Debug)]
pub(super) struct Reader {
    program: Program,
    /// Two words for each CPU.
    words: Vec<u32>,
}

/// Stands for what the program did not write.
const UNWRITTEN: u32 = u32::MAX;

impl Reader {
    /// A reader for the CPUs below `cpus`; an error says what this kernel lacks.
    pub(super) fn new(cpus: u32) -> Result<Self, String> {
        let layout = Layout::find()?;
        let program = Program::load(&program(layout, cpus), None)
            .map_err(|error| format!("bpf program that reads run queues: {error}"))?;
        let words = vec![UNWRITTEN; 2 * cpus as usize];
        Ok(Self { program, words })
    }

    /// The run queues, by CPU; `None` for a CPU that is not there.
    pub(super) fn read(&mut self) -> Result<Vec<Option<RunQueue>>, String> {
        self.words.fill(UNWRITTEN);
        let done = self.program.run(&mut self.words);
        done.map_err(|error| format!("bpf program that reads run queues: {error}"))?;
        let present = |word: u32| (word != UNWRITTEN).then_some(word);
        Ok(self
            .words
            .chunks_exact(2)
            .map(|words| {
                Some(RunQueue {
                    runnable: present(words[0])?,
                    local_dsq: present(words[1]),
                })
            })
            .collect())
    }
}

/// For each CPU: how many tasks are on its run queue, and on its local dispatch queue, to the two words of the
/// context that are its own.
fn program(layout: Layout, cpus: u32) -> Vec<Insn> {
    /// Numbers of `bpf_get_smp_processor_id` and `bpf_per_cpu_ptr`.
    const SMP_PROCESSOR_ID: i32 = 8;
    const PER_CPU_PTR: i32 = 153;
    let (context, own_cpu) = (6, 7);
    let mut insns = vec![copy(context, 1), call(SMP_PROCESSOR_ID), copy(own_cpu, 0)];
    for cpu in 0..cpus.cast_signed() {
        let word = i16::try_from(8 * cpu).unwrap_or(i16::MAX);
        insns.extend(variable(1, layout.runqueues));
        insns.extend([set(2, cpu), call(PER_CPU_PTR)]);
        let mut body = vec![
            load(1, 0, layout.nr_running),
            // Init, which runs this program, is on the queue as well.
            skip_unless_equal(own_cpu, cpu, 1),
            add(1, -1),
            store(context, word, 1),
        ];
        if let Some(offset) = layout.local_dsq_nr {
            body.extend([load(1, 0, offset), store(context, word + 4, 1)]);
        }
        let length = i16::try_from(body.len()).unwrap_or(i16::MAX);
        insns.push(skip_if_equal(0, 0, length));
        insns.extend(body);
    }
    insns.extend([set(0, 0), exit()]);
    insns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cpu_has_its_part_of_the_program() {
        let bare = Layout {
            runqueues: 5,
            nr_running: 4,
            local_dsq_nr: None,
        };
        let full = Layout {
            local_dsq_nr: Some(40),
            ..bare
        };
        let length = |layout, cpus| program(layout, cpus).len();
        assert_eq!(length(full, 512) - length(full, 511), 11);
        assert_eq!(length(bare, 2) - length(bare, 1), 9);
    }
}
