//! Checks raw profiles, which LLVM's runtime writes and `llvm-profdata merge` reads.
//!
//! A raw profile is a header of 64-bit words and, after it, the parts whose sizes the header tells. `llvm-profdata` refuses
//! to merge anything where one of many profiles is cut off; such a one is found here and left out.

/// "\xfflprofr\x81", as the first word.
const MAGIC: u64 = u64::from_be_bytes(*b"\xfflprofr\x81");

/// Versions whose header is known: from LLVM 19 on, which Rust has since 1.82.
const VERSIONS: std::ops::RangeInclusive<u64> = 10..=10;

/// Bits of the version that tell how the program was built.
const VARIANTS: u64 = 0xff << 56;

/// The variant whose counters are single bytes.
const BYTE_COUNTERS: u64 = 1 << 60;

/// Words of the header.
const HEADER: usize = 16;

/// Bytes of the record of a function, and of a virtual table.
const FUNCTION: u64 = 64;
const VTABLE: u64 = 24;

/// What is wrong with a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It does not begin like a profile of this machine's.
    #[error("not a raw profile")]
    NotAProfile,
    /// It ends before all that its header tells of.
    #[error("truncated: {length} bytes of {expected}")]
    Truncated {
        /// Its size in bytes.
        length: u64,
        /// What it has at least, in bytes.
        expected: u64,
    },
    /// The sizes in its header are no file's.
    #[error("its header is damaged")]
    Header,
}

/// Checks that `profile` is whole. One of a version that is not known here only has to begin like a profile.
///
/// ```
/// use ktstr_harness::runner::profile::{ProfileError, check};
///
/// assert_eq!(check(b"no profile at all"), Err(ProfileError::NotAProfile));
/// ```
pub fn check(profile: &[u8]) -> Result<(), ProfileError> {
    let length = profile.len() as u64;
    let word = |index: usize| {
        let bytes = profile.get(index * 8..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    if word(0) != Some(MAGIC) {
        return Err(ProfileError::NotAProfile);
    }
    let truncated = |expected| ProfileError::Truncated { length, expected };
    let header = (HEADER * 8) as u64;
    let version = word(1).ok_or(truncated(header))?;
    if !VERSIONS.contains(&(version & !VARIANTS)) {
        return Ok(());
    }
    let mut words = [0; HEADER];
    for (index, field) in words.iter_mut().enumerate() {
        *field = word(index).ok_or(truncated(header))?;
    }
    let expected = expected_length(&words).ok_or(ProfileError::Header)?;
    if length < expected {
        return Err(truncated(expected));
    }
    Ok(())
}

/// The least size of a profile with this header; `None` where no file has it.
fn expected_length(header: &[u64; HEADER]) -> Option<u64> {
    // The words between are distances in memory.
    let [
        _,
        version,
        binary_ids,
        functions,
        before_counters,
        counters,
        after_counters,
        bitmap,
        after_bitmap,
        names,
        _,
        _,
        _,
        vtables,
        vtable_names,
        _,
    ] = *header;
    let counter = if version & BYTE_COUNTERS == 0 { 8 } else { 1 };
    let parts = [
        (HEADER * 8) as u64,
        binary_ids,
        functions.checked_mul(FUNCTION)?,
        before_counters,
        counters.checked_mul(counter)?,
        after_counters,
        bitmap,
        after_bitmap,
        names.checked_next_multiple_of(8)?,
        vtables.checked_mul(VTABLE)?,
        vtable_names.checked_next_multiple_of(8)?,
    ];
    let sum = parts
        .iter()
        .try_fold(0_u64, |sum, part| sum.checked_add(*part))?;
    // No file is larger; a sum near the limit is of damaged numbers.
    i64::try_from(sum).is_ok().then_some(sum)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A profile as the runtime writes it, of zeros.
    pub(in super::super) fn profile(functions: u64, counters: u64, names: u64) -> Vec<u8> {
        let mut header = [0; HEADER];
        header[0] = MAGIC;
        header[1] = *VERSIONS.start();
        header[2] = 32;
        header[3] = functions;
        header[5] = counters;
        header[9] = names;
        whole(&header)
    }

    fn whole(header: &[u64; HEADER]) -> Vec<u8> {
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(expected_length(header).unwrap() as usize, 0);
        bytes
    }

    /// Written by a program of three functions, which rustc 1.95 (LLVM 22) compiled: its header.
    #[test]
    fn a_real_header_tells_the_size_of_its_file() {
        let mut header = [0; HEADER];
        header[0] = MAGIC;
        header[1] = 10;
        header[2] = 0x20;
        header[3] = 3;
        header[5] = 6;
        header[9] = 0x37;
        header[10] = 0xffff_ffff_ffff_ffd0;
        header[11] = 0xffff_aa52_3f83_9350;
        header[12] = 0x0000_55ad_c076_8082;
        header[15] = 2;
        assert_eq!(expected_length(&header), Some(456));
    }

    #[test]
    fn others_are_told_apart() {
        assert_eq!(check(b""), Err(ProfileError::NotAProfile));
        assert_eq!(check(&[0; 4096]), Err(ProfileError::NotAProfile));
        let mut swapped = profile(1, 1, 1);
        swapped[..8].reverse();
        assert_eq!(check(&swapped), Err(ProfileError::NotAProfile));
        let mut later = profile(1, 1, 1)[..24].to_vec();
        later[8] = 99;
        assert_eq!(check(&later), Ok(()));
        let mut damaged = profile(1, 1, 1);
        damaged[5 * 8..6 * 8].fill(0xff);
        assert_eq!(check(&damaged), Err(ProfileError::Header));
        let mut bytes = profile(0, 100, 0);
        bytes[15] = 0x10;
        bytes.truncate(128 + 32 + 100);
        assert_eq!(check(&bytes), Ok(()), "counters of one byte");
    }

    proptest! {
        #[test]
        fn a_whole_one_passes_and_every_part_of_it_is_truncated(
            functions in 0..40_u64,
            counters in 0..200_u64,
            names in 0..100_u64,
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = profile(functions, counters, names);
            prop_assert_eq!(check(&bytes), Ok(()));
            // What follows is of values, whose size no header tells.
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(check(&longer), Ok(()));
            let at = cut.index(bytes.len());
            let error = check(&bytes[..at]).unwrap_err();
            match error {
                ProfileError::NotAProfile => prop_assert!(at < 8),
                ProfileError::Truncated { length, expected } => {
                    prop_assert_eq!(length, at as u64);
                    prop_assert!(expected == bytes.len() as u64 || at < HEADER * 8);
                }
                ProfileError::Header => prop_assert!(false, "{}", at),
            }
        }

        #[test]
        fn any_header_is_judged(words in prop::collection::vec(any::<u64>(), 0..HEADER), tail in 0..300_usize) {
            let mut bytes: Vec<u8> = MAGIC.to_le_bytes().to_vec();
            bytes.extend(10_u64.to_le_bytes());
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize(bytes.len() + tail, 0);
            // Whatever passes is as long as its header says.
            if check(&bytes).is_ok() {
                let mut header = [0; HEADER];
                for (field, chunk) in header.iter_mut().zip(bytes.chunks_exact(8)) {
                    *field = u64::from_le_bytes(chunk.try_into().unwrap());
                }
                prop_assert!(expected_length(&header).unwrap() <= bytes.len() as u64);
            }
        }
    }
}
