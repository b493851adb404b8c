//! Settings with which a kernel cannot be built, or would not do what its machine tells it.

use std::path::{Path, PathBuf};

use super::settings;

/// A setting that keeps a kernel from being built or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableOption {
    /// Its name, with `CONFIG_`.
    pub name: String,
    /// Its value, as the configuration has it.
    pub value: String,
    /// What is wrong with it.
    pub fault: OptionFault,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionFault {
    /// It names a file that the build needs, and that is not there.
    NoFile(PathBuf),
    /// The kernel would ignore the arguments that it is booted with.
    IgnoresArguments,
    /// The kernel would ignore the initramfs that it is booted with.
    IgnoresInitramfs,
    /// The arguments that it is booted with would go to init.
    EndsArguments,
    /// The kernel would start another program than the test's init.
    OtherInit,
}

/// Options that name files, and where the build looks for them.
const FILES: &[(&str, Base)] = &[
    ("CONFIG_ACPI_CUSTOM_DSDT_FILE", Base::Includes),
    ("CONFIG_BOOT_CONFIG_EMBED_FILE", Base::Either),
    ("CONFIG_CFG80211_EXTRA_REGDB_KEYDIR", Base::Either),
    ("CONFIG_EFI_SBAT_FILE", Base::Either),
    ("CONFIG_EXTRA_FIRMWARE", Base::Firmware),
    ("CONFIG_INITRAMFS_SOURCE", Base::Output),
    ("CONFIG_IPE_BOOT_POLICY", Base::Either),
    ("CONFIG_MODULE_SIG_KEY", Base::Either),
    ("CONFIG_SYSTEM_BLACKLIST_HASH_LIST", Base::Output),
    ("CONFIG_SYSTEM_REVOCATION_KEYS", Base::Either),
    ("CONFIG_SYSTEM_TRUSTED_KEYS", Base::Either),
    ("CONFIG_UNUSED_KSYMS_WHITELIST", Base::Either),
];

/// What the build makes by itself where the option is as it was.
const MADE: &[(&str, &str)] = &[("CONFIG_MODULE_SIG_KEY", "certs/signing_key.pem")];

/// What a relative name is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// The directory that is built in.
    Output,
    /// That, else the sources: what make finds by itself.
    Either,
    /// The sources' `include`.
    Includes,
    /// `CONFIG_EXTRA_FIRMWARE_DIR`, which may be relative to the sources.
    Firmware,
}

/// The settings of `config` that no kernel of ours may have. `tree` has the sources, `out` is where it is built.
pub(crate) fn unusable(config: &str, tree: &Path, out: &Path) -> Vec<UnusableOption> {
    let found = settings(config);
    let text = |name: &str| found.get(name).and_then(|value| string(value));
    let mut all = Vec::new();
    let mut add = |name: &str, fault| {
        all.push(UnusableOption {
            name: name.to_owned(),
            value: found.get(name).copied().unwrap_or_default().to_owned(),
            fault,
        });
    };
    for (name, base) in FILES {
        let Some(value) = text(name) else { continue };
        let words = value.split_whitespace().filter(|word| {
            // A key on a token, by its URI.
            !word.starts_with("pkcs11:") && !MADE.contains(&(*name, word))
        });
        let dirs: Vec<PathBuf> = match base {
            Base::Output if value.contains(".cpio") => {
                vec![out.to_owned(), tree.to_owned()]
            }
            Base::Output => vec![out.to_owned()],
            Base::Either => vec![out.to_owned(), tree.to_owned()],
            Base::Includes => vec![tree.join("include")],
            Base::Firmware => {
                let dir = text("CONFIG_EXTRA_FIRMWARE_DIR");
                vec![
                    tree.join(
                        dir.filter(|dir| !dir.is_empty())
                            .unwrap_or("/lib/firmware".into()),
                    ),
                ]
            }
        };
        for word in words {
            if !dirs.iter().any(|dir| dir.join(word).exists()) {
                // The last place is the one that a person thinks of.
                add(name, OptionFault::NoFile(dirs[dirs.len() - 1].join(word)));
            }
        }
    }
    for name in ["CONFIG_CMDLINE_OVERRIDE", "CONFIG_CMDLINE_FORCE"] {
        if found.get(name) == Some(&"y") {
            add(name, OptionFault::IgnoresArguments);
        }
    }
    if found.get("CONFIG_INITRAMFS_FORCE") == Some(&"y") {
        add("CONFIG_INITRAMFS_FORCE", OptionFault::IgnoresInitramfs);
    }
    let built_in = text("CONFIG_CMDLINE").unwrap_or_default();
    if built_in.split_whitespace().any(|word| word == "--") {
        add("CONFIG_CMDLINE", OptionFault::EndsArguments);
    } else if built_in
        .split_whitespace()
        .any(|it| it.starts_with("rdinit="))
    {
        add("CONFIG_CMDLINE", OptionFault::OtherInit);
    }
    all
}

/// What a string option says, without its quotes; `None` where it is none, or off.
fn string(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

impl std::fmt::Display for UnusableOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, fault } = self;
        write!(f, "{name}={value} ")?;
        match fault {
            OptionFault::NoFile(path) => write!(
                f,
                "names {}, which does not exist: set it to the absolute path of a file that does, or to \"\"",
                path.display()
            ),
            OptionFault::IgnoresArguments => f.write_str(
                "has the kernel ignore the arguments that its machine boots it with: turn it off",
            ),
            OptionFault::IgnoresInitramfs => f.write_str(
                "has the kernel ignore the initramfs with the test: turn it off",
            ),
            OptionFault::EndsArguments => f.write_str(
                "ends the kernel's arguments with `--`, so that its machine's would go to init: take it out",
            ),
            OptionFault::OtherInit => f.write_str(
                "starts another program than the test's init: take `rdinit=` out",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn faults(config: &str, tree: &Path, out: &Path) -> Vec<(String, OptionFault)> {
        let all = unusable(config, tree, out).into_iter();
        all.map(|option| (option.name, option.fault)).collect()
    }

    #[test]
    fn files_are_looked_for_where_make_does() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, out) = (dir.path().join("tree"), dir.path().join("out"));
        for path in [
            "tree/certs/a.pem",
            "tree/fw/x.bin",
            "out/b.pem",
            "tree/x.cpio.gz",
            "tree/list",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let missing =
            |name: &str, path: PathBuf| vec![(name.to_owned(), OptionFault::NoFile(path))];
        for fine in [
            "CONFIG_SYSTEM_TRUSTED_KEYS=\"\"",
            "CONFIG_SYSTEM_TRUSTED_KEYS=\"certs/a.pem\"",
            "CONFIG_SYSTEM_REVOCATION_KEYS=\"b.pem\"",
            "# CONFIG_SYSTEM_TRUSTED_KEYS is not set",
            "CONFIG_MODULE_SIG_KEY=\"certs/signing_key.pem\"",
            "CONFIG_MODULE_SIG_KEY=\"pkcs11:token=x\"",
            "CONFIG_EXTRA_FIRMWARE=\"x.bin\"\nCONFIG_EXTRA_FIRMWARE_DIR=\"fw\"",
            "CONFIG_INITRAMFS_SOURCE=\"x.cpio.gz\"",
            "CONFIG_CMDLINE=\"quiet init=/sbin/init\"",
            "# CONFIG_CMDLINE_OVERRIDE is not set",
        ] {
            assert_eq!(faults(fine, &tree, &out), [], "{fine}");
        }
        for (name, value, path) in [
            (
                "CONFIG_SYSTEM_TRUSTED_KEYS",
                "debian/certs/x.pem",
                tree.join("debian/certs/x.pem"),
            ),
            (
                "CONFIG_MODULE_SIG_KEY",
                "/no/such.pem",
                "/no/such.pem".into(),
            ),
            // Make reads it from the directory it builds in.
            ("CONFIG_INITRAMFS_SOURCE", "list", out.join("list")),
            (
                "CONFIG_EXTRA_FIRMWARE",
                "ktstr/no.bin",
                "/lib/firmware/ktstr/no.bin".into(),
            ),
            ("CONFIG_BOOT_CONFIG_EMBED_FILE", "b", tree.join("b")),
        ] {
            let config = format!("{name}=\"{value}\"\n");
            assert_eq!(
                faults(&config, &tree, &out),
                missing(name, path),
                "{config}"
            );
        }
        let text = unusable("CONFIG_MODULE_SIG_KEY=\"/no/x\"", &tree, &out)[0].to_string();
        assert_eq!(
            text,
            "CONFIG_MODULE_SIG_KEY=\"/no/x\" names /no/x, which does not exist: set it to the absolute path of a file that does, or to \"\""
        );
    }

    #[test]
    fn what_keeps_our_arguments_from_the_kernel_is_found() {
        let here = Path::new("/");
        for (config, fault) in [
            (
                "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"quiet\"\nCONFIG_CMDLINE_OVERRIDE=y",
                OptionFault::IgnoresArguments,
            ),
            ("CONFIG_CMDLINE_FORCE=y", OptionFault::IgnoresArguments),
            ("CONFIG_INITRAMFS_FORCE=y", OptionFault::IgnoresInitramfs),
            ("CONFIG_CMDLINE=\"quiet --\"", OptionFault::EndsArguments),
            ("CONFIG_CMDLINE=\"rdinit=/bin/sh\"", OptionFault::OtherInit),
        ] {
            let found = faults(config, here, here);
            assert_eq!(found.len(), 1, "{config}");
            assert_eq!(found[0].1, fault, "{config}");
        }
    }
}
