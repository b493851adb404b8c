//! Loads the kernel into guest memory, with the data that the 64-bit boot protocol requires.
//!
//! `Documentation/arch/x86/boot.rst` of the kernel, "64-bit Boot Protocol".

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::bzimage::BzImage;
use linux_loader::loader::elf::Elf;
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{ACPI_END, ACPI_START, DEVICES_START, HIGH_MEMORY, Ram, ZERO_PAGE};
use crate::error::KvmError;
use crate::image::{Image, ImageFormat};

/// The command line with a final NUL.
const CMDLINE: u64 = 0x2_0000;

/// The end of usable memory below 1 MiB: a PC has its extended BIOS data area there.
const LOW_MEMORY_END: u64 = 0x9_fc00;

/// Offset of the 64-bit entry point from the start of a bzImage's code.
const ENTRY_64: u64 = 0x200;

/// The type of a boot loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;

/// Types of memory: `E820_TYPE_RAM` and `E820_TYPE_RESERVED`.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

const PAGE: u64 = 4096;

/// The parts of a boot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) image: &'a Image,
    pub(crate) initramfs: Option<&'a Path>,
    pub(crate) cmdline: &'a str,
    /// ACPI tables, for [`ACPI_START`].
    pub(crate) acpi: &'a [u8],
}

/// Writes everything into `memory`; returns the address of the entry point.
pub(crate) fn load(
    memory: &GuestMemoryMmap,
    ram: &[Ram],
    payload: &Payload<'_>,
) -> Result<u64, KvmError> {
    let (kernel, entry) = kernel(memory, payload.image)?;
    let write = |bytes: &[u8], at: u64| {
        memory
            .write_slice(bytes, GuestAddress(at))
            .map_err(KvmError::memory)
    };
    write(payload.cmdline.as_bytes(), CMDLINE)?;
    write(&[0], CMDLINE + payload.cmdline.len() as u64)?;
    write(payload.acpi, ACPI_START)?;

    let mut params = boot_params {
        hdr: kernel.setup_header.unwrap_or_else(elf_header),
        acpi_rsdp_addr: ACPI_START,
        ..boot_params::default()
    };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = CMDLINE as u32;
    params.hdr.cmdline_size = payload.cmdline.len() as u32;
    if let Some(path) = payload.initramfs {
        let (at, size) = initramfs(memory, ram, path, kernel_end(&params.hdr, &kernel))?;
        params.hdr.ramdisk_image = at as u32;
        params.hdr.ramdisk_size = size as u32;
    }
    for (entry, piece) in params.e820_table.iter_mut().zip(e820(ram)) {
        *entry = piece;
        params.e820_entries += 1;
    }
    let params = BootParams::new(&params, GuestAddress(ZERO_PAGE));
    LinuxBootConfigurator::write_bootparams(&params, memory).map_err(KvmError::memory)?;
    Ok(entry)
}

fn kernel(memory: &GuestMemoryMmap, image: &Image) -> Result<(KernelLoaderResult, u64), KvmError> {
    let error = |why: String| KvmError::Kernel {
        path: image.path.clone(),
        why,
    };
    let mut file = File::open(&image.path).map_err(|found| error(found.to_string()))?;
    let high = Some(GuestAddress(HIGH_MEMORY));
    let loaded = match image.format {
        ImageFormat::BzImage => BzImage::load(memory, None, &mut file, high),
        ImageFormat::Elf => Elf::load(memory, None, &mut file, high),
    };
    let loaded = loaded.map_err(|found| error(found.to_string()))?;
    let behind = match image.format {
        ImageFormat::BzImage => ENTRY_64,
        ImageFormat::Elf => 0,
    };
    Ok((loaded, loaded.kernel_load.0 + behind))
}

/// A setup header for a kernel without one: a bzImage has its own.
fn elf_header() -> setup_header {
    setup_header {
        boot_flag: 0xaa55,
        // "HdrS"
        header: 0x5372_6448,
        version: 0x020f,
        // Loaded high.
        loadflags: 1,
        kernel_alignment: 0x20_0000,
        initrd_addr_max: 0x7fff_ffff,
        ..setup_header::default()
    }
}

/// The end of the memory that the kernel uses while it unpacks itself, and after.
fn kernel_end(header: &setup_header, kernel: &KernelLoaderResult) -> u64 {
    // A compressed kernel unpacks itself to its preferred address.
    let unpacked = header.pref_address + u64::from(header.init_size);
    kernel.kernel_end.max(unpacked)
}

/// Writes the initramfs to the end of the memory below the devices, away from where the kernel unpacks itself.
fn initramfs(
    memory: &GuestMemoryMmap,
    ram: &[Ram],
    path: &Path,
    kernel_end: u64,
) -> Result<(u64, u64), KvmError> {
    let what = "reading the initramfs";
    let mut file = File::open(path).map_err(KvmError::host(what))?;
    let size = file
        .seek(std::io::SeekFrom::End(0))
        .and_then(|size| file.rewind().map(|()| size))
        .map_err(KvmError::host(what))?;
    let room = low_end(ram).checked_sub(size).map(|at| at / PAGE * PAGE);
    let at = room
        .filter(|at| *at >= kernel_end)
        .ok_or(KvmError::NoRoom { bytes: size })?;
    memory
        .read_exact_volatile_from(GuestAddress(at), &mut file, size as usize)
        .map_err(KvmError::memory)?;
    Ok((at, size))
}

/// The end of the memory below the devices; up to there, nodes are contiguous.
fn low_end(ram: &[Ram]) -> u64 {
    let low = ram.iter().filter(|piece| piece.start < DEVICES_START);
    low.map(|piece| piece.start + piece.size).max().unwrap_or(0)
}

/// The memory map.
fn e820(ram: &[Ram]) -> Vec<boot_e820_entry> {
    let entry = |start: u64, end: u64, kind| boot_e820_entry {
        addr: start,
        size: end - start,
        r#type: kind,
    };
    let mut map = vec![
        entry(0, LOW_MEMORY_END, E820_RAM),
        entry(ACPI_START, ACPI_END, E820_RESERVED),
        entry(HIGH_MEMORY, low_end(ram), E820_RAM),
    ];
    let above = ram.iter().filter(|piece| piece.start >= DEVICES_START);
    map.extend(above.map(|piece| entry(piece.start, piece.start + piece.size, E820_RAM)));
    map
}

#[cfg(test)]
mod tests {
    use ktstr_core::Topology;

    use super::super::layout::ram;
    use super::*;

    fn guest_memory(ram: &[Ram]) -> GuestMemoryMmap {
        let pieces: Vec<_> = ram
            .iter()
            .map(|piece| (GuestAddress(piece.start), piece.size as usize))
            .collect();
        GuestMemoryMmap::from_ranges(&pieces).unwrap()
    }

    /// 512 bytes of boot sector, as many of set-up, 4 KiB of code.
    fn image(dir: &Path) -> Image {
        let mut bytes = vec![0; 1024 + 4096];
        bytes[0x1f1] = 1;
        bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        bytes[0x211] = 1;
        bytes[0x214..0x218].copy_from_slice(&0x10_0000_u32.to_le_bytes());
        bytes[1024] = 0x77;
        let path = dir.join("bzImage");
        std::fs::write(&path, bytes).unwrap();
        Image {
            path,
            format: ImageFormat::BzImage,
        }
    }

    #[test]
    fn everything_is_where_the_zero_page_says() {
        let dir = tempfile::tempdir().unwrap();
        let initramfs = dir.path().join("initramfs");
        std::fs::write(&initramfs, [0x42; 5000]).unwrap();
        let ram = ram(Topology::constant(1, 1, 2, 1), 256);
        let memory = guest_memory(&ram);
        let image = image(dir.path());
        let payload = Payload {
            image: &image,
            initramfs: Some(&initramfs),
            cmdline: "console=ttyS0",
            acpi: b"RSD PTR ",
        };
        let entry = load(&memory, &ram, &payload).unwrap();
        assert_eq!(entry, 0x10_0200);
        assert_eq!(
            memory.read_obj::<u8>(GuestAddress(0x10_0000)).unwrap(),
            0x77
        );

        let params: boot_params = memory.read_obj(GuestAddress(ZERO_PAGE)).unwrap();
        let (at, size) = (params.hdr.ramdisk_image, params.hdr.ramdisk_size);
        assert_eq!((at, size), ((256 << 20) - 8192, 5000));
        assert_eq!(
            memory
                .read_obj::<u8>(GuestAddress(u64::from(at) + 4999))
                .unwrap(),
            0x42
        );
        let mut text = [0; 14];
        let cmdline = GuestAddress(u64::from(params.hdr.cmd_line_ptr));
        memory.read_slice(&mut text, cmdline).unwrap();
        assert_eq!(&text, b"console=ttyS0\0");
        let rsdp = params.acpi_rsdp_addr;
        memory
            .read_slice(&mut text[..8], GuestAddress(rsdp))
            .unwrap();
        assert_eq!(&text[..8], b"RSD PTR ");
        assert_eq!(params.e820_entries, 3);
    }

    #[test]
    fn memory_above_the_devices_is_in_the_map() {
        let ram = ram(Topology::constant(2, 2, 2, 1), 6144);
        let map: Vec<(u64, u64, u32)> = e820(&ram)
            .into_iter()
            .map(|entry| (entry.addr, entry.size, entry.r#type))
            .collect();
        assert_eq!(map.len(), 4);
        assert_eq!(map[2], (0x10_0000, (3 << 30) - 0x10_0000, E820_RAM));
        assert_eq!(map[3], (4 << 30, 3 << 30, E820_RAM));
    }

    #[test]
    fn an_initramfs_that_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let initramfs = dir.path().join("initramfs");
        let file = File::create(&initramfs).unwrap();
        file.set_len(300 << 20).unwrap();
        let ram = ram(Topology::constant(1, 1, 2, 1), 256);
        let memory = guest_memory(&ram);
        let payload = Payload {
            image: &image(dir.path()),
            initramfs: Some(&initramfs),
            cmdline: "",
            acpi: b"",
        };
        let error = load(&memory, &ram, &payload).unwrap_err();
        assert!(matches!(error, KvmError::NoRoom { .. }), "{error}");
    }
}
