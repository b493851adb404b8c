//! The offsets of what is read of the running kernel's run queues.
//!
//! The kernel provides them: a small BPF program names the fields by types of its own, and the kernel fills in the
//! offsets of its types (CO-RE relocations, `kernel/bpf/btf.c`). Reading and searching the 3 MB of
//! `/sys/kernel/btf/vmlinux` in the guest would take longer than a boot there.

use super::bpf::{Program, Relocation, Relocations};
use super::insn::{FRAME, Insn, add, call, copy, exit, set, set_wide, store, store_wide};

/// Number of the variable and offsets of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Number of the per-CPU variable `runqueues` among the kernel's types.
    pub(super) runqueues: u32,
    /// Offset of `rq.nr_running`.
    pub(super) nr_running: i16,
    /// Offset of `rq.scx.local_dsq.nr`; absent on a kernel without sched_ext.
    pub(super) local_dsq_nr: Option<i16>,
}

impl Layout {
    /// Asks the kernel; an error says what it lacks.
    pub(super) fn find() -> Result<Self, String> {
        let error = |error| {
            format!(
                "the kernel does not say where its run queues are (CONFIG_DEBUG_INFO_BTF): {error}"
            )
        };
        // A field that is not there makes the kernel refuse the program.
        let with_dsq = ask(&FIELDS).map(|answer| (answer, true));
        let (answer, has_dsq) = with_dsq
            .or_else(|_| ask(&FIELDS[..1]).map(|answer| (answer, false)))
            .map_err(|found| error(found.to_string()))?;
        let [runqueues, nr_running, local_dsq_nr] = answer;
        // The helper returns a negative number for a name that it does not find.
        let runqueues = (runqueues.cast_signed() > 0).then_some(runqueues);
        Ok(Self {
            runqueues: runqueues.ok_or_else(|| error("no variable `runqueues`".to_owned()))?,
            nr_running: offset(nr_running)
                .ok_or_else(|| error("nr_running is too far".to_owned()))?,
            local_dsq_nr: offset(local_dsq_nr).filter(|_| has_dsq),
        })
    }
}

/// Instructions have 15 bits for an offset.
fn offset(bytes: u32) -> Option<i16> {
    i16::try_from(bytes).ok()
}

/// A field of `struct rq`: its path, and its offset in the types below.
struct Field {
    path: &'static str,
    offset: i32,
}

const FIELDS: [Field; 2] = [
    // rq.nr_running
    Field {
        path: "0:0",
        offset: 0,
    },
    // rq.scx.local_dsq.nr
    Field {
        path: "0:1:0:0",
        offset: 4,
    },
];

/// Numbers of types in [`btf`].
const RQ: u32 = 4;
const FUNCTION: u32 = 6;

fn ask(fields: &[Field]) -> std::io::Result<[u32; 3]> {
    let mut insns = find_runqueues();
    let mut strings = Strings::default();
    let mut places = Vec::new();
    for (word, field) in (1_i16..).zip(fields) {
        places.push(Relocation {
            insn: 8 * insns.len() as u32,
            of: RQ,
            path: strings.add(field.path),
            kind: 0,
        });
        insns.extend([set(1, field.offset), store(CONTEXT, 4 * word, 1)]);
    }
    insns.extend([set(0, 0), exit()]);
    let btf = btf(strings);
    let relocations = Relocations {
        btf: &btf,
        function: FUNCTION,
        places: &places,
    };
    let mut answer = [0; 3];
    Program::load(&insns, Some(relocations))?.run(&mut answer)?;
    Ok(answer)
}

/// The register that keeps the context.
const CONTEXT: u8 = 6;

/// Puts the number of the variable `runqueues` into the first word of the context.
fn find_runqueues() -> Vec<Insn> {
    /// Number of `bpf_btf_find_by_name_kind`.
    const FIND: i32 = 167;
    const KIND_VARIABLE: i32 = 14;
    const NAME: &[u8; 16] = b"runqueues\0\0\0\0\0\0\0";
    let half = |at: usize| {
        let bytes = NAME[at..at + 8].try_into().expect("eight bytes");
        u64::from_ne_bytes(bytes)
    };
    let mut insns = vec![copy(CONTEXT, 1)];
    insns.extend(set_wide(1, half(0)));
    insns.push(store_wide(FRAME, -16, 1));
    insns.extend(set_wide(1, half(8)));
    insns.extend([
        store_wide(FRAME, -8, 1),
        copy(1, FRAME),
        add(1, -16),
        // Its length, with the zero.
        set(2, 10),
        set(3, KIND_VARIABLE),
        set(4, 0),
        call(FIND),
        store(CONTEXT, 0, 0),
    ]);
    insns
}

/// The strings of type information, each with where it begins.
#[derive(Debug)]
struct Strings(Vec<u8>);

impl Default for Strings {
    fn default() -> Self {
        // The empty name is at 0.
        Self(vec![0])
    }
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len();
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at as u32
    }
}

/// The types of the program, as `Documentation/bpf/btf.rst` lays them out:
///
/// ```c
/// struct scx_dispatch_q { unsigned int nr; };
/// struct scx_rq { struct scx_dispatch_q local_dsq; };
/// struct rq { unsigned int nr_running; struct scx_rq scx; };
/// unsigned int locate();
/// ```
fn btf(mut strings: Strings) -> Vec<u8> {
    const INT: u32 = 1 << 24;
    const STRUCT: u32 = 4 << 24;
    const FUNCTION: u32 = 12 << 24;
    const PROTOTYPE: u32 = 13 << 24;
    /// `BTF_FUNC_GLOBAL`
    const GLOBAL: u32 = 1;
    let mut name = |text: &str| strings.add(text);
    // Name, kind and members, size or type; then name, type and offset in bits of each member.
    let types = [
        vec![name("unsigned int"), INT, 4, 32],
        vec![name("scx_dispatch_q"), STRUCT | 1, 4, name("nr"), 1, 0],
        vec![name("scx_rq"), STRUCT | 1, 4, name("local_dsq"), 2, 0],
        vec![
            name("rq"),
            STRUCT | 2,
            8,
            name("nr_running"),
            1,
            0,
            name("scx"),
            3,
            32,
        ],
        vec![0, PROTOTYPE, 1],
        vec![name("locate"), FUNCTION | GLOBAL, 5],
    ]
    .concat();
    let length = 4 * types.len() as u32;
    // Magic number and version; the header's own length; where types and strings are.
    let header = [0x1_eb9f, 24, 0, length, length, strings.0.len() as u32];
    let words = header.into_iter().chain(types);
    let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    bytes.extend(strings.0);
    bytes
}
