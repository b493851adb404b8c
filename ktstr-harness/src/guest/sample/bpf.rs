//! Loading and calling BPF programs that need no map and no compiler.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::super::bpf::{bpf, owned};
use super::insn::Insn;

/// `include/uapi/linux/bpf.h` of the kernel.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_BTF_LOAD: libc::c_long = 18;
const BPF_PROG_TYPE_SYSCALL: u32 = 31;
const BPF_F_SLEEPABLE: u32 = 1 << 4;

/// A loaded program that works on a buffer.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

/// What the kernel is to fill into a program from its own types.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relocations<'a> {
    /// The types as the program knows them: BTF.
    pub(super) btf: &'a [u8],
    /// Number of the program's own function among them.
    pub(super) function: u32,
    /// The places.
    pub(super) places: &'a [Relocation],
}

/// A place in a program that depends on the kernel's types: `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Relocation {
    /// Offset of the instruction, in bytes.
    pub(super) insn: u32,
    /// The type it is about.
    pub(super) of: u32,
    /// Where in the strings the path to the field is.
    pub(super) path: u32,
    /// What is asked for; 0 is the offset of the field in bytes.
    pub(super) kind: u32,
}

#[derive(Default)]
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    core_relo_cnt: u32,
    fd_array: u64,
    core_relos: u64,
    core_relo_rec_size: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct BtfAttributes {
    btf: u64,
    log_buf: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct RunAttributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

impl Program {
    /// Loads a program of type `BPF_PROG_TYPE_SYSCALL`.
    pub(super) fn load(insns: &[Insn], relocations: Option<Relocations<'_>>) -> io::Result<Self> {
        let mut attributes = LoadAttributes {
            prog_type: BPF_PROG_TYPE_SYSCALL,
            insn_cnt: length(insns)?,
            insns: insns.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            prog_flags: BPF_F_SLEEPABLE,
            ..LoadAttributes::default()
        };
        let btf = relocations.map(|wanted| load_btf(wanted.btf)).transpose()?;
        // The function begins at instruction 0: `struct bpf_func_info`.
        let function = [0, relocations.map_or(0, |wanted| wanted.function)];
        if let (Some(wanted), Some(btf)) = (relocations, &btf) {
            attributes.prog_btf_fd = btf.as_raw_fd().cast_unsigned();
            attributes.func_info = function.as_ptr() as u64;
            attributes.func_info_rec_size = size_of_val(&function) as u32;
            attributes.func_info_cnt = 1;
            attributes.core_relos = wanted.places.as_ptr() as u64;
            attributes.core_relo_rec_size = size_of::<Relocation>() as u32;
            attributes.core_relo_cnt = length(wanted.places)?;
        }
        // SAFETY: the attributes are as the command has them; what they point to lives until it returns, and the
        // kernel only reads it.
        let fd = unsafe { bpf(BPF_PROG_LOAD, &raw mut attributes) }?;
        // SAFETY: the kernel has just made it for us.
        unsafe { owned(fd) }.map(Self)
    }

    /// Calls it once: it reads and writes `words`.
    pub(super) fn run(&self, words: &mut [u32]) -> io::Result<()> {
        let mut attributes = RunAttributes {
            prog_fd: self.0.as_raw_fd().cast_unsigned(),
            ctx_size_in: u32::try_from(size_of_val(words)).map_err(io::Error::other)?,
            ctx_in: words.as_mut_ptr() as u64,
            ..RunAttributes::default()
        };
        // SAFETY: the attributes are as the command has them; the kernel reads and writes the buffer within the
        // size that is given, and nobody else has it meanwhile.
        unsafe { bpf(BPF_PROG_TEST_RUN, &raw mut attributes) }.map(drop)
    }
}

fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = BtfAttributes {
        btf: bytes.as_ptr() as u64,
        btf_size: length(bytes)?,
        ..BtfAttributes::default()
    };
    // SAFETY: the attributes are as the command has them; the kernel only reads the bytes.
    let fd = unsafe { bpf(BPF_BTF_LOAD, &raw mut attributes) }?;
    // SAFETY: the kernel has just made it for us.
    unsafe { owned(fd) }
}

fn length<T>(slice: &[T]) -> io::Result<u32> {
    u32::try_from(slice.len()).map_err(io::Error::other)
}
