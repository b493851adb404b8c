//! Published checksums.

use std::collections::HashMap;

/// Largest list that is read, bytes. kernel.org's have up to 1 MiB.
pub(super) const LIST_LIMIT: u64 = 16 << 20;

/// The SHA-256 of each source tarball in one directory of kernel.org, from its `sha256sums.asc`.
///
/// That file is signed; the signature is not checked, since a key to check it with would have to come from somewhere, too.
/// What the list proves is that a tarball arrived as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksums(HashMap<String, String>);

impl Checksums {
    /// Reads lines of a checksum and a name; others, such as those of the signature, are passed over. An error says in one
    /// clause what is wrong.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() as u64 > LIST_LIMIT {
            return Err("it is larger than any list of checksums");
        }
        let mut sums = HashMap::new();
        for line in text.split(|&byte| byte == b'\n') {
            let Some((sum, name)) = str::from_utf8(line).ok().and_then(entry) else {
                continue;
            };
            let sum = sum.to_ascii_lowercase();
            match sums.insert(name.to_owned(), sum.clone()) {
                Some(before) if before != sum => {
                    return Err("it has two checksums for one file");
                }
                _ => {}
            }
        }
        if sums.is_empty() {
            return Err("it holds no checksums of tarballs");
        }
        Ok(Self(sums))
    }

    /// The checksum of a file, 64 hexadecimal digits in lower case.
    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Checksum and name of a line about a source tarball.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (sum, rest) = line.trim_end().split_at_checked(64)?;
    let name = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix(" *"))?;
    let is_sum = sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_tarball = name.starts_with("linux-") && name.contains(".tar.");
    (is_sum && is_tarball).then_some((sum, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = "\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

d8bdb8a9e8f0f0a4bb1ab1b1ac3cb1dbe5aa3cc59f4d85c7e5eae3b1a9a7a1c0  ChangeLog-6.14.1
1f0d3b0b7d4c11e4e8a5b6bcd9d5d1d3d7f2a5e6f7081920a1b2c3d4e5f60718  linux-6.14.1.tar.xz
A294B683E7B161BB0517BB32EC7ED1D2EA7603DFBABAD135170ED12D00C47670 *linux-6.14.tar.xz
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
";

    #[test]
    fn reads_what_kernel_org_publishes() {
        let sums = Checksums::parse(LIST.as_bytes()).unwrap();
        assert!(
            sums.of("linux-6.14.1.tar.xz")
                .unwrap()
                .starts_with("1f0d3b")
        );
        assert!(sums.of("linux-6.14.tar.xz").unwrap().starts_with("a294b6"));
        assert_eq!(sums.of("ChangeLog-6.14.1"), None);
        assert_eq!(sums.of("linux-6.14.2.tar.xz"), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, part) in [
            ("", "no checksums"),
            ("<html>503</html>", "no checksums"),
            (&LIST.replace("  ", " "), ""),
            (
                &format!("{LIST}{}  linux-6.14.1.tar.xz\n", "0".repeat(64)),
                "two checksums",
            ),
        ] {
            match Checksums::parse(text.as_bytes()) {
                Err(why) => assert!(!part.is_empty() && why.contains(part), "{text}: {why}"),
                // The line with an asterisk is left.
                Ok(sums) => assert!(part.is_empty() && sums.of("linux-6.14.1.tar.xz").is_none()),
            }
        }
        assert!(Checksums::parse(&vec![b'a'; 17 << 20]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_list_is_read_or_refused(
            cut in 0..LIST.len(),
            noise in proptest::collection::vec(any::<u8>(), 0..80),
            at in 0..LIST.len(),
            random in any::<bool>(),
        ) {
            let mut text = LIST.as_bytes()[cut..].to_vec();
            let at = at.min(text.len());
            text.splice(at..at.saturating_add(noise.len() / 2).min(text.len()), noise.iter().copied());
            match Checksums::parse(if random { &noise } else { &text }) {
                Ok(sums) => {
                    let is_sum = |sum: &String| {
                        sum.len() == 64 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                    };
                    prop_assert!(sums.0.values().all(is_sum));
                }
                Err(why) => prop_assert!(!why.is_empty()),
            }
        }
    }
}
