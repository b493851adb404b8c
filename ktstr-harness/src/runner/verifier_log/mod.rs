//! The verifier's log of rejected programs, as libbpf prints it into a scheduler's output.

mod collapse;

pub use collapse::collapse;

const BEGIN: &str = "-- BEGIN PROG LOAD LOG --";
const END: &str = "-- END PROG LOAD LOG --";

/// The log of one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramLog<'o> {
    /// The program; empty where libbpf does not say.
    pub program: &'o str,
    /// What the verifier said of it.
    pub text: &'o str,
}

impl<'o> ProgramLog<'o> {
    /// Why the program was rejected: the last thing that the verifier said before its figures.
    pub fn complaint(&self) -> Option<&'o str> {
        let is_figure = |line: &str| {
            // `print_verification_stats` of the kernel
            ["processed ", "verification time ", "stack depth "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let mut lines = self.text.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !is_figure(line))
    }
}

/// The logs in what a scheduler's program said, and all else that it said.
pub fn split(output: &str) -> (Vec<ProgramLog<'_>>, String) {
    let mut logs = Vec::new();
    let mut others = String::new();
    let mut rest = output;
    while let Some(begin) = rest.find(BEGIN) {
        let (before, after) = rest.split_at(begin);
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        others.push_str(&before[..line]);
        // `libbpf: prog 'NAME': `
        let program = before[line..].split('\'').nth(1).unwrap_or_default();
        let text = after[BEGIN.len()..].trim_start_matches(['\r', '\n']);
        // It may have been cut short.
        let (text, behind) = text.split_once(END).unwrap_or((text, ""));
        logs.push(ProgramLog { program, text });
        rest = behind.strip_prefix('\n').unwrap_or(behind);
    }
    others.push_str(rest);
    (logs, others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUTPUT: &str = "\
hello
libbpf: prog 'rejected': BPF program load failed: -EACCES
libbpf: prog 'rejected': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
1: (61) r0 = *(u32 *)(r0 +0)
R0 invalid mem access 'scalar'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'rejected': failed to load: -EACCES
libbpf: prog 'other': -- BEGIN PROG LOAD LOG --
cut sho";

    #[test]
    fn logs_are_told_from_the_rest() {
        let (logs, others) = split(OUTPUT);
        let [rejected, other] = logs.as_slice() else {
            panic!("{logs:?}")
        };
        assert_eq!(rejected.program, "rejected");
        assert_eq!(rejected.text.lines().count(), 4);
        assert_eq!(rejected.complaint(), Some("R0 invalid mem access 'scalar'"));
        assert_eq!((other.program, other.text), ("other", "cut sho"));
        assert_eq!(
            others,
            "hello\nlibbpf: prog 'rejected': BPF program load failed: -EACCES\n\
             libbpf: prog 'rejected': failed to load: -EACCES\n"
        );
        assert_eq!(split("no log\n"), (vec![], "no log\n".to_owned()));
    }

    proptest! {
        #[test]
        fn any_output_is_taken(noise in ".{0,60}", cut in 0..OUTPUT.len()) {
            let text = format!("{}{noise}", &OUTPUT[..cut]);
            let (logs, others) = split(&text);
            let length: usize = logs.iter().map(|log| log.text.len()).sum();
            prop_assert!(length + others.len() <= text.len());
            for log in logs {
                let _ = log.complaint();
            }
        }
    }
}
