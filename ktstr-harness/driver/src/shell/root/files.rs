//! Files that the tools of a shell read.

use ktstr_vmm::initramfs::InitramfsBuilder;

/// Content, place, mode.
const FILES: &[(&str, &str, u32)] = &[
    (
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/passwd",
        0o644,
    ),
    (
        "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
        "/etc/group",
        0o644,
    ),
    ("ktstr\n", "/etc/hostname", 0o644),
    ("127.0.0.1 localhost ktstr\n", "/etc/hosts", 0o644),
    (
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
        "/etc/nsswitch.conf",
        0o644,
    ),
    // Of bash at a terminal.
    (
        "HISTCONTROL=ignoredups\n\
         shopt -s checkwinsize\n\
         alias ls='ls --color=auto'\n\
         alias ll='ls -l'\n\
         alias grep='grep --color=auto'\n",
        "/root/.bashrc",
        0o644,
    ),
    // Without one, vim looks for defaults that are not here.
    (
        "set nocompatible backspace=indent,eol,start ruler\n",
        "/root/.vimrc",
        0o644,
    ),
];

/// Place, mode.
const DIRECTORIES: &[(&str, u32)] = &[
    ("/mnt", 0o755),
    ("/root", 0o700),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
];

/// Target, place.
const LINKS: &[(&str, &str)] = &[("/proc/self/mounts", "/etc/mtab"), ("/run", "/var/run")];

/// Adds them.
pub(super) fn add(mut root: InitramfsBuilder) -> InitramfsBuilder {
    for &(path, mode) in DIRECTORIES {
        root = root.directory(path, mode);
    }
    for &(target, path) in LINKS {
        root = root.symlink(target, path);
    }
    for &(content, path, mode) in FILES {
        root = root.inline(content, path, mode);
    }
    root
}
