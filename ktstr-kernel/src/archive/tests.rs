use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tar::{Builder, EntryType, Header};

use super::*;

const MAKEFILE: &[u8] = b"VERSION = 6\nPATCHLEVEL = 99\nSUBLEVEL = 1\nEXTRAVERSION = -rc2\n";

const KINDS: [(Compression, &[&str]); 4] = [
    (Compression::None, &["cat"]),
    (Compression::Gzip, &["gzip", "-c"]),
    (Compression::Xz, &["xz", "-c", "-0"]),
    (Compression::Zstd, &["zstd", "-q", "-c"]),
];

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// The header is filled in by hand: what a well-meaning library refuses to write is the point.
    fn entry(&mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> &mut Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if content.starts_with(b"#!") {
            0o4777
        } else {
            0o600
        });
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(&mut self, name: &str, content: &[u8]) -> &mut Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    /// The least that is a kernel tree.
    fn tree(top: &str) -> Self {
        let mut tar = Self::new();
        tar.entry(
            EntryType::XGlobalHeader,
            "pax_global_header",
            "",
            b"30 comment=0123456789abcdef012\n",
        )
        .file(&format!("{top}Documentation/Makefile"), b"all:\n")
        .file(&format!("{top}Makefile"), MAKEFILE)
        .file(&format!("{top}Kconfig"), b"")
        .file(&format!("{top}scripts/run.sh"), b"#!/bin/sh\n")
        .entry(EntryType::Directory, &format!("{top}arch/x86/"), "", b"");
        tar
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("archive");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Unpacks into a fresh directory.
    fn unpack(&self, bytes: &[u8], compression: Compression) -> Result<KernelTree, ArchiveError> {
        let path = &self.write(bytes);
        let sha256 = crate::hash::sha256(&mut File::open(path).unwrap(), |_| {}).unwrap();
        let into = self.dir.path().join("into");
        let _ = fs::remove_dir_all(&into);
        fs::create_dir(&into).unwrap();
        Tarball { path, compression }.unpack(&sha256, &into, &mut |_| {})
    }

    /// Everything in the directory but what belongs there.
    fn strays(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().flatten();
        let names = names.map(|item| item.file_name().into_string().unwrap());
        names
            .filter(|name| name != "archive" && name != "into")
            .collect()
    }
}

fn compress(bytes: &[u8], command: &[&str]) -> Vec<u8> {
    let place = Place::new();
    let output = Command::new(command[0])
        .args(&command[1..])
        .arg(place.write(bytes))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup", command[0]));
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

fn message(result: Result<KernelTree, ArchiveError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn every_compression_gives_the_tree() {
    let place = Place::new();
    for top in ["linux-6.99-rc2/", "./linux/", ""] {
        for (compression, command) in KINDS {
            let bytes = compress(&Tar::tree(top).bytes(), command);
            let path = &place.write(&bytes);
            assert_eq!(
                Tarball { path, compression }.version().unwrap(),
                "6.99.1-rc2"
            );
            let tree = place.unpack(&bytes, compression).unwrap();
            assert_eq!(tree.version().unwrap(), "6.99.1-rc2");
            let script = tree.path().join("scripts/run.sh").metadata().unwrap();
            assert_eq!(script.permissions().mode() & 0o7777, 0o755);
            let age = script
                .modified()
                .unwrap()
                .duration_since(std::time::UNIX_EPOCH);
            assert_eq!(age.unwrap().as_secs(), 1_000_000);
        }
    }
}

#[test]
fn parallel_compressors_write_several_frames() {
    let tar = Tar::tree("linux/").bytes();
    let (one, two) = tar.split_at(700);
    for (compression, command) in &KINDS[1..] {
        let mut bytes = compress(one, command);
        if *compression == Compression::Zstd {
            // What pzstd puts before each frame.
            bytes.extend(b"\x50\x2a\x4d\x18\x04\0\0\0abcd");
        }
        bytes.extend(compress(two, command));
        Place::new().unpack(&bytes, *compression).unwrap();
    }
}

#[test]
fn no_cut_archive_passes() {
    let place = Place::new();
    let tar = {
        let mut tar = Tar::tree("linux/");
        // Something that does not compress.
        let noise: Vec<u8> = (0..4000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        tar.file("linux/noise", &noise);
        tar.bytes()
    };
    for (compression, command) in KINDS {
        let whole = compress(&tar, command);
        place.unpack(&whole, compression).unwrap();
        // Zero blocks at the end of a tar are more than one; all may go but one.
        let end = whole.len()
            - if compression == Compression::None {
                1024
            } else {
                0
            };
        for cut in (0..end).step_by(97).chain([end - 1]) {
            let text = message(place.unpack(&whole[..cut], compression));
            assert!(
                text.contains("damaged") || text.contains("no kernel source"),
                "{cut}: {text}"
            );
        }
    }
}

#[test]
fn no_flipped_bit_passes_a_checksum() {
    let place = Place::new();
    let tar = Tar::tree("linux/").bytes();
    for (compression, command) in &KINDS[1..] {
        let whole = compress(&tar, command);
        // Behind the header, whose fields (a time, a name) need not matter.
        for at in (20..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            if let Ok(tree) = place.unpack(&bytes, *compression) {
                assert_eq!(
                    fs::read(tree.path().join("Makefile")).unwrap(),
                    MAKEFILE,
                    "{at}"
                );
            }
        }
    }
}

#[test]
fn nothing_leaves_the_directory() {
    use EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    let cases = [
        (Regular, "../out", "", "leads out"),
        (Regular, "/tmp/ktstr-out", "", "leads out"),
        (Regular, "linux/../../out", "", "leads out"),
        (Symlink, "linux/l", "/etc/passwd", "link that leads out"),
        (Symlink, "linux/l", "../../out", "link that leads out"),
        (Symlink, "linux/l", "arch/../../..", "link that leads out"),
        (Link, "linux/l", "/etc/passwd", "link to no file"),
        (Link, "linux/l", "../out", "link to no file"),
        (Link, "linux/l", "linux/arch", "link to no file"),
        (Char, "linux/null", "", "device"),
        (Block, "linux/disk", "", "device"),
        (Fifo, "linux/pipe", "", "device"),
        (Regular, "linux/Makefile", "", "twice"),
        (Regular, "linux/Makefile/x", "", "twice"),
        (EntryType::new(b'V'), "linux/volume", "", "unknown kind"),
    ];
    let place = Place::new();
    for (kind, name, link, part) in cases {
        let mut tar = Tar::tree("linux/");
        tar.entry(kind, name, link, b"");
        let text = message(place.unpack(&tar.bytes(), Compression::None));
        assert!(text.contains(part), "{name}: {text}");
        assert!(text.contains(name), "{text}");
        assert_eq!(place.strays(), [""; 0]);
    }
    assert!(!Path::new("/tmp/ktstr-out").exists());
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Place::new();
    for (first, then) in [("arch/x86", "linux/l/file"), ("Kconfig", "linux/l")] {
        let mut tar = Tar::tree("linux/");
        tar.entry(EntryType::Symlink, "linux/l", first, b"")
            .file(then, b"evil");
        let text = message(place.unpack(&tar.bytes(), Compression::None));
        assert!(text.contains("twice"), "{text}");
    }
}

#[test]
fn links_within_are_links() {
    let mut tar = Tar::tree("linux/");
    tar.entry(EntryType::Symlink, "linux/scripts/s", "../Kconfig", b"")
        .entry(EntryType::Link, "linux/h", "linux/Makefile", b"");
    let place = Place::new();
    let tree = place.unpack(&tar.bytes(), Compression::None).unwrap();
    assert_eq!(
        fs::read_link(tree.path().join("scripts/s")).unwrap(),
        Path::new("../Kconfig")
    );
    assert_eq!(fs::read(tree.path().join("h")).unwrap(), MAKEFILE);
}

#[test]
fn what_is_no_kernel_is_said() {
    let place = Place::new();
    let mut other = Tar::new();
    other.file("hello-1.0/Makefile", b"all:\n\tcc hello.c\n");
    let other = other.bytes();
    let path = &place.write(&other);
    let compression = Compression::None;
    let text = Tarball { path, compression }
        .version()
        .unwrap_err()
        .to_string();
    assert!(text.contains("no kernel source tree"), "{text}");
    let text = message(place.unpack(&other, compression));
    assert!(text.contains("no Kconfig in it"), "{text}");
    let mut two = Tar::tree("one/");
    two.file("two/Makefile", b"");
    assert!(message(place.unpack(&two.bytes(), compression)).contains("no Makefile"));
}

#[test]
fn an_archive_that_changes_meanwhile_is_noticed() {
    let place = Place::new();
    let path = &place.write(&Tar::tree("linux/").bytes());
    let into = place.dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let tarball = Tarball {
        path,
        compression: Compression::None,
    };
    let error = tarball
        .unpack(&"0".repeat(64), &into, &mut |_| {})
        .unwrap_err();
    assert!(error.to_string().contains("it changed"), "{error}");
}

#[test]
fn a_full_disk_is_called_so() {
    let place = Place::new();
    let disk = place.dir.path().join("into");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIP a_full_disk_is_called_so: mounting a tmpfs takes root");
        return;
    }
    let mut tar = Tar::tree("linux/");
    tar.file("linux/big", &vec![7; 200 << 10]);
    let path = &place.write(&tar.bytes());
    let sha256 = crate::hash::sha256(&mut File::open(path).unwrap(), |_| {}).unwrap();
    let compression = Compression::None;
    let result = Tarball { path, compression }.unpack(&sha256, &disk, &mut |_| {});
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    assert!(unmounted.success());
    assert!(message(result).contains("no space left"));
}

#[test]
fn the_bytes_read_are_counted() {
    let place = Place::new();
    let mut tar = Tar::tree("linux/");
    tar.file("linux/big", &vec![7; 5 << 20]);
    let bytes = tar.bytes();
    let path = &place.write(&bytes);
    let sha256 = crate::hash::sha256(&mut File::open(path).unwrap(), |_| {}).unwrap();
    let into = place.dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let mut seen = BTreeSet::new();
    let compression = Compression::None;
    let tarball = Tarball { path, compression };
    tarball
        .unpack(&sha256, &into, &mut |done| _ = seen.insert(done))
        .unwrap();
    assert!(seen.len() >= 5, "{seen:?}");
    assert_eq!(seen.last().copied(), Some(bytes.len() as u64));
}
