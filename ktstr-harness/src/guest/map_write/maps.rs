//! BPF maps by bpf(2): which there are, what they hold, and writing into them.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::super::bpf::{bpf, owned};
use super::btf;

/// Commands of `enum bpf_cmd` in the kernel's `include/uapi/linux/bpf.h`.
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BTF_GET_FD_BY_ID: libc::c_long = 19;

/// `BPF_F_MMAPABLE`: programs of the host side can map the values.
const MMAPABLE: u32 = 1 << 10;

/// More maps than these are not looked at: a scheduler has some twenty.
const MAX_MAPS: usize = 1024;

const PAGE: usize = 4096;

/// For the commands that begin with a number.
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

/// `struct bpf_map_info`.
#[derive(Debug, Default)]
#[repr(C)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_vmlinux_value_type_id: u32,
    netns_dev: u64,
    netns_ino: u64,
    btf_id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_id: u32,
}

const _: () = assert!(std::mem::offset_of!(MapInfo, name) == 24);
const _: () = assert!(std::mem::offset_of!(MapInfo, btf_value_type_id) == 72);

/// `struct bpf_btf_info`.
#[derive(Default)]
#[repr(C)]
struct BtfInfo {
    btf: u64,
    btf_size: u32,
    id: u32,
    name: u64,
    name_len: u32,
    kernel_btf: u32,
}

/// The attributes of commands for an element.
#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A map of the kernel.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    info: MapInfo,
}

/// The kinds of maps whose elements can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapKind {
    Array,
    Hash,
}

/// Numbers of all maps that there are, rising; empty where the kernel does not tell.
pub(super) fn ids() -> Vec<u32> {
    let mut ids = Vec::new();
    let mut last = 0;
    while ids.len() < MAX_MAPS
        && let Ok(next) = next_id(last)
    {
        ids.push(next);
        last = next;
    }
    ids
}

fn next_id(last: u32) -> io::Result<u32> {
    let mut by_id = ById {
        id: last,
        ..ById::default()
    };
    // SAFETY: the attributes are as the command has them and hold no pointer; the kernel writes `next_id`.
    unsafe { bpf(MAP_GET_NEXT_ID, &raw mut by_id) }?;
    Ok(by_id.next_id)
}

/// What the kernel says of the object behind `fd`.
///
/// # Safety
/// `I` must be the structure that the kernel fills in for such an object, of which any bytes are a value, and pointers in
/// `info` must hold for what the kernel writes to them.
unsafe fn get_info<I>(fd: &OwnedFd, info: &mut I) -> io::Result<()> {
    let mut get = GetInfo {
        bpf_fd: fd.as_raw_fd().cast_unsigned(),
        info_len: size_of::<I>() as u32,
        info: ptr::from_mut(info) as u64,
    };
    // SAFETY: the attributes are as the command has them; the kernel writes at most `info_len` bytes to `info`, which
    // lives until the call returns. The rest is the caller's.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &raw mut get) }.map(drop)
}

fn by_id(command: libc::c_long, id: u32) -> io::Result<OwnedFd> {
    let mut by_id = ById {
        id,
        ..ById::default()
    };
    // SAFETY: the attributes are as the command has them and hold no pointer.
    let fd = unsafe { bpf(command, &raw mut by_id) }?;
    // SAFETY: the kernel has just made it for us.
    unsafe { owned(fd) }
}

impl Map {
    /// The map of that number.
    pub(super) fn open(id: u32) -> io::Result<Self> {
        let fd = by_id(MAP_GET_FD_BY_ID, id)?;
        let mut info = MapInfo::default();
        // SAFETY: the structure is the one for maps, and has no pointers.
        unsafe { get_info(&fd, &mut info) }?;
        Ok(Self { fd, info })
    }

    /// Its name as the kernel has it, of 15 bytes at most.
    pub(super) fn name(&self) -> String {
        let name = &self.info.name;
        let end = name.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&name[..end.unwrap_or(name.len())]).into_owned()
    }

    /// Its kind, or why its elements cannot be written.
    pub(super) fn kind(&self) -> Result<MapKind, String> {
        let other = match self.info.map_type {
            2 => return Ok(MapKind::Array),
            1 | 9 => return Ok(MapKind::Hash),
            5 | 6 | 10 => "has a value for each CPU",
            26 => "is the scheduler's own table of functions",
            29 => "has a value for each task",
            27 | 31 => "is a ring buffer",
            33 => "is an arena",
            number => return Err(format!("is of a kind that has no such values ({number})")),
        };
        Err(format!(
            "{other}; values of arrays and hash maps can be written"
        ))
    }

    pub(super) fn key_size(&self) -> usize {
        self.info.key_size as usize
    }

    pub(super) fn value_size(&self) -> usize {
        self.info.value_size as usize
    }

    pub(super) fn max_entries(&self) -> u64 {
        u64::from(self.info.max_entries)
    }

    /// Number of the type of its values among those of its type information.
    pub(super) fn value_type(&self) -> Option<u32> {
        let is_there = self.info.btf_id != 0 && self.info.btf_value_type_id != 0;
        is_there.then_some(self.info.btf_value_type_id)
    }

    /// The bytes of its type information.
    pub(super) fn btf(&self) -> io::Result<Vec<u8>> {
        let fd = by_id(BTF_GET_FD_BY_ID, self.info.btf_id)?;
        let mut info = BtfInfo::default();
        // SAFETY: the structure is the one for type information; without a buffer the kernel only tells the size.
        unsafe { get_info(&fd, &mut info) }?;
        let mut bytes = vec![0; info.btf_size.min(btf::LIMIT) as usize];
        let mut info = BtfInfo {
            btf: bytes.as_mut_ptr() as u64,
            btf_size: bytes.len() as u32,
            ..BtfInfo::default()
        };
        // SAFETY: as above; the kernel writes at most `btf_size` bytes to the buffer, which lives until the call returns.
        unsafe { get_info(&fd, &mut info) }?;
        Ok(bytes)
    }

    /// Writes `bytes` into the value of `key`, from `offset` on. Programs of the scheduler may write beside them meanwhile
    /// where the map can be mapped, as those of variables can; in others the rest of the value is written back as it was
    /// read.
    pub(super) fn write(
        &self,
        key: &[u8],
        index: usize,
        offset: usize,
        bytes: &[u8],
    ) -> io::Result<()> {
        let end = offset.checked_add(bytes.len());
        if end.is_none_or(|end| end > self.value_size()) || key.len() != self.key_size() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.info.map_type == 2 && self.info.map_flags & MMAPABLE != 0 {
            return self.write_mapped(index, offset, bytes);
        }
        let mut value = vec![0; self.value_size()];
        match self.element(MAP_LOOKUP_ELEM, key, &mut value) {
            Ok(()) => {}
            // A hash map gets a new element, zero but for this.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.element(MAP_UPDATE_ELEM, key, &mut value)
    }

    fn element(&self, command: libc::c_long, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        let mut attributes = Element {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: key.as_ptr() as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the attributes are as both commands have them; key and value have the sizes of the map's, which is of a
        // kind without values for each CPU, and live until the call returns.
        unsafe { bpf(command, &raw mut attributes) }.map(drop)
    }

    fn write_mapped(&self, index: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let out_of_range = || io::Error::from(io::ErrorKind::InvalidInput);
        if index as u64 >= self.max_entries() {
            return Err(out_of_range());
        }
        // Elements are aligned to eight bytes (`array_map_alloc` of the kernel's `kernel/bpf/arraymap.c`).
        let stride = self.value_size().next_multiple_of(8);
        let length = stride.checked_mul(self.info.max_entries as usize);
        let length = length.ok_or_else(out_of_range)?.next_multiple_of(PAGE);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                access,
                MapFlags::SHARED,
                &self.fd,
                0,
            )
        }?;
        let at = index * stride + offset;
        // SAFETY: `at` and what is written there are within element `index`, and that is within the mapping.
        unsafe { store(start.cast::<u8>().add(at), bytes) };
        // SAFETY: exactly this mapping, to which nothing points any more.
        unsafe { munmap(start.cast::<c_void>(), length) }?;
        Ok(())
    }
}

/// Writes to memory that BPF programs read at the same time: a number of the processor's at once, as they would see it torn
/// otherwise.
///
/// # Safety
/// `to` must be valid for writes of as many bytes.
#[expect(clippy::cast_ptr_alignment, reason = "it is looked at first")]
unsafe fn store(to: *mut u8, bytes: &[u8]) {
    macro_rules! at_once {
        ($type:ty) => {
            if let Ok(bytes) = bytes.try_into()
                && to.cast::<$type>().is_aligned()
            {
                // SAFETY: the caller's, and it is aligned.
                unsafe {
                    to.cast::<$type>()
                        .write_volatile(<$type>::from_ne_bytes(bytes))
                };
                return;
            }
        };
    }
    at_once!(u64);
    at_once!(u32);
    at_once!(u16);
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { to.add(at).write_volatile(*byte) };
    }
}
