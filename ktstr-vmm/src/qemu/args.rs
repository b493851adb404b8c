//! QEMU's command line for a machine.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::arch::cmdline;
use crate::backend::Emulation;
use crate::channel::{PORT_NAME, TERMINAL_NAME};
use crate::spec::{LOCAL_DISTANCE, MachineSpec, REMOTE_DISTANCE};

/// The descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    pub(super) console: i32,
    pub(super) channel: i32,
    pub(super) monitor: i32,
    pub(super) terminal: Option<i32>,
}

/// The q35 machine, without devices that no guest here uses. The older i440fx describes interrupt routing in tables
/// that an emulated kernel takes a tenth of a second to interpret.
const MACHINE: &str = "q35,vmport=off,smm=off,i8042=off,usb=off,sata=off,smbus=off";

/// A CPU model for which Linux reads caches from CPUID leaf 0x8000001D for any number of cores, even odd ones: each
/// core has its L1 and L2, each package its L3.
///
/// On AMD models, Linux reads that leaf only with `topoext`, which emulation does not support; on
/// this one it always does (`cpuid4_cache_lookup_regs` in the kernel's `arch/x86/kernel/cpu/cacheinfo.c`).
/// With Intel's leaf 4, threads would not share L1 and L2.
pub(super) const CPU: &str = "Dhyana";

/// All arguments after the program's name.
pub(super) fn arguments(
    spec: &MachineSpec,
    emulation: Emulation,
    kernel: &Path,
    firmware: Option<&Path>,
    fds: &Descriptors,
) -> Vec<OsString> {
    let mut args = Arguments::default();
    args.flags(["-nodefaults", "-no-user-config", "-no-reboot"]);
    args.option("-display", "none");
    args.option("-machine", MACHINE);
    if let Some(firmware) = firmware {
        args.option("-bios", firmware);
    }
    args.option(
        "-accel",
        match emulation {
            Emulation::SingleThreaded => "tcg,thread=single",
            Emulation::MultiThreaded => "tcg,thread=multi",
        },
    );
    args.option("-cpu", CPU);
    topology(&mut args, spec);
    args.option("-kernel", kernel);
    if let Some(initramfs) = &spec.initramfs {
        args.option("-initrd", initramfs);
    }
    args.option("-append", cmdline::for_qemu(spec));

    args.option("-chardev", format!("socket,id=console,fd={}", fds.console));
    args.option("-serial", "chardev:console");
    args.option("-chardev", format!("socket,id=channel,fd={}", fds.channel));
    args.option("-device", "virtio-serial-pci,max_ports=2");
    args.option(
        "-device",
        format!("virtserialport,chardev=channel,name={PORT_NAME}"),
    );
    if let Some(terminal) = fds.terminal {
        args.option("-chardev", format!("socket,id=terminal,fd={terminal}"));
        // It becomes port 0, which is reserved for it.
        args.option(
            "-device",
            format!("virtconsole,chardev=terminal,name={TERMINAL_NAME}"),
        );
    }
    for (index, shared) in spec.shared_directories.iter().enumerate() {
        let mut device = OsString::from(format!("local,id=shared{index},path="));
        device.push(escaped(&shared.path));
        // File numbers of several file systems are kept apart.
        device.push(",security_model=none,readonly=on,multidevs=remap");
        args.option("-fsdev", device);
        let tag = &shared.tag;
        args.option(
            "-device",
            format!("virtio-9p-pci,fsdev=shared{index},mount_tag={tag}"),
        );
    }
    if let Some(path) = &spec.gdb {
        let mut socket = OsString::from("unix:");
        socket.push(escaped(path));
        socket.push(",server=on,wait=off");
        args.option("-gdb", socket);
    }
    args.option("-chardev", format!("socket,id=monitor,fd={}", fds.monitor));
    args.option("-mon", "chardev=monitor,mode=control");
    args.0
}

/// A path as the value of an option: a comma is written twice.
fn escaped(path: &Path) -> OsString {
    let parts = path.as_os_str().as_bytes().split(|&byte| byte == b',');
    let parts: Vec<_> = parts.collect();
    OsString::from_vec(parts.join(b",,".as_slice()))
}

/// CPUs and memory.
fn topology(args: &mut Arguments, spec: &MachineSpec) {
    let shape = spec.topology;
    args.option(
        "-smp",
        format!(
            "{},sockets={},dies=1,cores={},threads={}",
            shape.cpus(),
            shape.llcs(),
            shape.cores(),
            shape.threads()
        ),
    );
    args.option("-m", format!("{}M", spec.memory_mib));
    if shape.numa_nodes() > 1 {
        numa(args, spec);
    }
}

/// NUMA nodes: the memory and the CPUs of each, and the distances between them.
fn numa(args: &mut Arguments, spec: &MachineSpec) {
    let shape = spec.topology;
    let nodes = shape.numa_nodes();
    for node in 0..nodes {
        // The first node gets the remainder.
        let share = spec.memory_mib / nodes;
        let size = if node == 0 {
            spec.memory_mib - share * (nodes - 1)
        } else {
            share
        };
        args.option(
            "-object",
            format!("memory-backend-ram,id=m{node},size={size}M"),
        );
        args.option("-numa", format!("node,nodeid={node},memdev=m{node}"));
        let per_node = shape.llcs_per_node();
        for llc in node * per_node..(node + 1) * per_node {
            args.option("-numa", format!("cpu,node-id={node},socket-id={llc}"));
        }
    }
    for from in 0..nodes {
        for to in 0..nodes {
            let distance = if from == to {
                LOCAL_DISTANCE
            } else {
                REMOTE_DISTANCE
            };
            args.option("-numa", format!("dist,src={from},dst={to},val={distance}"));
        }
    }
}

#[derive(Debug, Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flags<const N: usize>(&mut self, flags: [&str; N]) {
        self.0.extend(flags.map(OsString::from));
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Topology;
    use proptest::prelude::*;

    use super::*;
    use crate::spec::SharedDirectory;

    const FDS: Descriptors = Descriptors {
        console: 3,
        channel: 4,
        monitor: 5,
        terminal: None,
    };

    #[test]
    fn what_is_asked_for_is_passed_on_and_nothing_else() {
        let mut spec = MachineSpec::new("/kernel", Topology::constant(1, 1, 1, 1));
        let of = |spec: &MachineSpec| {
            let emulation = Emulation::SingleThreaded;
            let args = arguments(spec, emulation, Path::new("/kernel"), None, &FDS);
            let args: Vec<_> = args
                .iter()
                .map(|arg| arg.to_str().unwrap().to_owned())
                .collect();
            args.join(" ")
        };
        let plain = of(&spec);
        assert!(!plain.contains("9p") && !plain.contains("gdb"), "{plain}");
        spec.shared_directories = vec![SharedDirectory {
            tag: "root".to_owned(),
            path: "/srv/a,b c".into(),
        }];
        spec.gdb = Some("/tmp/x/gdb".into());
        let told = of(&spec);
        let shared = "-fsdev local,id=shared0,path=/srv/a,,b c,security_model=none,readonly=on,multidevs=remap \
                      -device virtio-9p-pci,fsdev=shared0,mount_tag=root";
        assert!(told.contains(shared), "{told}");
        assert!(
            told.contains("-gdb unix:/tmp/x/gdb,server=on,wait=off"),
            "{told}"
        );
    }

    proptest! {
        /// QEMU reads two commas as one, and a single one as the end of the value.
        #[test]
        fn a_path_survives_as_a_value(path in prop::collection::vec(1u8.., 0..20)) {
            let path = OsString::from_vec(path);
            let value = escaped(Path::new(&path)).into_vec();
            let mut read = Vec::new();
            let mut bytes = value.iter().copied().peekable();
            while let Some(byte) = bytes.next() {
                if byte == b',' {
                    prop_assert_eq!(bytes.next(), Some(b','));
                }
                read.push(byte);
            }
            prop_assert_eq!(OsString::from_vec(read), path);
        }
    }
}
