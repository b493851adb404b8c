//! A map from ids of tasks, which is asked for every event.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type PidMap<T> = HashMap<i32, T, BuildHasherDefault<PidHasher>>;

/// Ids are well spread by themselves.
#[derive(Debug, Default)]
pub(super) struct PidHasher(u64);

impl Hasher for PidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }

    fn write_i32(&mut self, pid: i32) {
        self.0 = u64::from(pid.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
