//! What a result depends on beside its test, topology and kernel version: two results compare only where these agree.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Bytes of a program that are read at once.
const CHUNK: usize = 256 << 10;

/// The kernel build of a run, as the kernel cache describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelBuild {
    /// Key of the cache entry, such as `6.14.2-tarball-x86_64-kcabd40422`.
    pub key: String,
    /// What its configuration was made from: `defconfig`, `lean`, or `own` for the tree's `.config`.
    pub base_config: String,
    /// When it was built, RFC 3339 in UTC.
    pub built: String,
}

/// The build of the scheduler under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerBuild {
    /// The cargo package that it was built from; absent for a program that was given by path.
    pub package: Option<String>,
    /// The cargo profile that it was built with; absent like the package.
    pub profile: Option<String>,
    /// Hash of the program, see [`program_hash`]; absent for a scheduler of the kernel's own.
    pub program_hash: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSetup {
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// CPU model that the guest sees; absent if the host does not name its own.
    pub cpu_model: Option<String>,
    /// Version of the program that ran the machine, such as QEMU's `7.2.19`; absent if it said none.
    #[serde(default)]
    pub backend_version: Option<String>,
}

/// The value of a check.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// The check is made, or is not.
    Switch(bool),
    /// The most or the least that passes, by the check's name.
    Number(f64),
}

/// 32 hexadecimal digits that tell the program at `path` from others: XXH3 of its bytes, with 128 bits.
pub fn program_hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("{:032x}", hasher.digest128())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    #[test]
    fn a_program_of_any_size_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        for size in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            assert_eq!(
                program_hash(&path).unwrap(),
                format!("{:032x}", xxh3_128(&bytes))
            );
        }
        assert!(program_hash(dir.path()).is_err());
    }
}
