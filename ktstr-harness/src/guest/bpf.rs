//! bpf(2): the call itself, and the BPF programs that the kernel has.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use ktstr_core::record::VerifiedProgram;

/// Commands of `enum bpf_cmd` in the kernel's `include/uapi/linux/bpf.h`.
const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// More programs than these are not looked at: a scheduler has some twenty.
const MAX_PROGRAMS: usize = 1024;

/// For both commands that begin with a number.
#[derive(Default)]
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the last field that is read here. Its pointers stay null: what they would be filled
/// with is not asked for.
#[derive(Default)]
#[repr(C)]
struct ProgInfo {
    prog_type: u32,
    id: u32,
    before_name: [u64; 7],
    name: [u8; 16],
    after_name: [u64; 17],
    verified_insns: u32,
    attach_btf_obj_id: u32,
}

const _: () = assert!(std::mem::offset_of!(ProgInfo, name) == 64);
const _: () = assert!(std::mem::offset_of!(ProgInfo, verified_insns) == 216);

/// Numbers of all programs that are loaded, rising; empty where the kernel does not tell.
pub(super) fn program_ids() -> Vec<u32> {
    let mut ids = Vec::new();
    let mut last = 0;
    while ids.len() < MAX_PROGRAMS
        && let Ok(next) = next_id(last)
    {
        ids.push(next);
        last = next;
    }
    ids
}

/// What the kernel says of the program `id`.
pub(super) fn program(id: u32) -> io::Result<VerifiedProgram> {
    let mut by_id = ById {
        id,
        ..ById::default()
    };
    // SAFETY: the attributes are as the command has them and hold no pointer.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &raw mut by_id) }?;
    // SAFETY: the kernel has just made it for us.
    let fd = unsafe { owned(fd) }?;
    let mut info = ProgInfo::default();
    let mut get = GetInfo {
        bpf_fd: fd.as_raw_fd().cast_unsigned(),
        info_len: size_of::<ProgInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the attributes are as the command has them; the kernel writes at most `info_len` bytes to `info`, of
    // which any bytes are a value, and which lives until the call returns.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &raw mut get) }?;
    // What the kernel has written, which knows fewer fields where it is older.
    let has_count = get.info_len as usize >= std::mem::offset_of!(ProgInfo, attach_btf_obj_id);
    let end = info.name.iter().position(|&byte| byte == 0);
    Ok(VerifiedProgram {
        name: String::from_utf8_lossy(&info.name[..end.unwrap_or(info.name.len())]).into_owned(),
        prog_type: info.prog_type,
        verified_insns: has_count.then_some(u64::from(info.verified_insns)),
    })
}

fn next_id(last: u32) -> io::Result<u32> {
    let mut by_id = ById {
        id: last,
        ..ById::default()
    };
    // SAFETY: the attributes are as the command has them and hold no pointer; the kernel writes `next_id`.
    unsafe { bpf(PROG_GET_NEXT_ID, &raw mut by_id) }?;
    Ok(by_id.next_id)
}

/// bpf(2).
///
/// # Safety
/// `attributes` must be what `command` takes, with pointers that hold for what it does with them.
pub(super) unsafe fn bpf<A>(command: libc::c_long, attributes: *mut A) -> io::Result<libc::c_long> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// What a command that makes a descriptor gives.
///
/// # Safety
/// `fd` must be a descriptor that nobody else owns.
pub(super) unsafe fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the caller's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
