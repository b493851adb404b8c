//! The profiles that a guest sends, as files beside those of the host.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ktstr_core::host::files::write_atomic;
use ktstr_core::text;

use super::{Coverage, profile};
use crate::protocol::{MAX_PROFILES, PROFILE_LIMIT};

/// The longest part of a file's name that comes from the case, in bytes.
const LONGEST: usize = 80;

/// Takes the profiles of one guest.
pub(in super::super) struct ReceivedProfiles {
    dir: PathBuf,
    /// How the names of its files begin: no other guest's do.
    prefix: String,
    case: String,
    /// Those that were announced.
    count: usize,
    written: usize,
    notes: usize,
    current: Option<Current>,
}

/// A profile whose parts are coming.
struct Current {
    name: String,
    size: usize,
    bytes: Vec<u8>,
}

impl ReceivedProfiles {
    /// Of a guest that runs `case`; files go into `dir`.
    pub(in super::super) fn new(dir: PathBuf, case: &str) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let short: String = case.chars().map(plain).take(LONGEST).collect();
        Self {
            dir,
            prefix: format!(
                "ktstr-guest-{short}-{}-{}",
                std::process::id(),
                since.as_nanos()
            ),
            case: case.to_owned(),
            count: 0,
            written: 0,
            notes: 0,
            current: None,
        }
    }

    /// Takes the announcement of a profile called `name` of `size` bytes. The error is how the guest breaks the protocol.
    pub(in super::super) fn announce(&mut self, name: String, size: u64) -> Result<(), String> {
        self.count += 1;
        // One more tells of those that were not sent.
        if self.count > MAX_PROFILES + 1 || size > PROFILE_LIMIT || self.current.is_some() {
            return Err("the guest sent more profiles than it may".to_owned());
        }
        self.current = Some(Current {
            name,
            // Smaller than the limit.
            size: size as usize,
            bytes: Vec::new(),
        });
        Ok(())
    }

    /// Takes the next part of the profile that was announced. Writes it when it is complete; a note tells where it was left
    /// out instead. The error is how the guest breaks the protocol.
    pub(in super::super) fn part(&mut self, part: &[u8]) -> Result<Option<String>, String> {
        let Some(current) = &mut self.current else {
            return Err("the guest sent a part of a profile that it did not announce".to_owned());
        };
        if current.bytes.len() + part.len() > current.size {
            return Err("the guest sent more of a profile than it announced".to_owned());
        }
        current.bytes.extend_from_slice(part);
        if current.bytes.len() < current.size {
            return Ok(None);
        }
        let Some(whole) = self.current.take() else {
            return Ok(None);
        };
        let left_out = self.take(&whole).err();
        Ok(left_out.map(|note| self.keep(note)))
    }

    /// The note on a profile that the guest cannot send. The error is how the guest breaks the protocol.
    pub(in super::super) fn refused(&mut self, name: &str, why: &str) -> Result<String, String> {
        self.announce(name.to_owned(), 0)?;
        self.current = None;
        let note = self.left_out(name, why);
        Ok(self.keep(note))
    }

    /// At the end of the guest: a note where nothing is known of what it reached.
    pub(in super::super) fn end(mut self, has_reported: bool) -> Option<String> {
        let note = self.last_note(has_reported)?;
        Some(self.keep(note))
    }

    fn last_note(&self, has_reported: bool) -> Option<String> {
        if let Some(current) = &self.current {
            let (length, size) = (current.bytes.len(), current.size);
            let why = format!("only {length} bytes of {size} came");
            return Some(self.left_out(&current.name, &why));
        }
        match (self.count, has_reported) {
            (0, true) => Some(format!(
                "coverage: the guest of {} left no profile, so its lines are not counted; its binary is not measured",
                self.case
            )),
            (0, false) => Some(format!(
                "coverage: what the guest of {} reached is not counted, since its machine ended without a report",
                self.case
            )),
            _ => None,
        }
    }

    fn take(&mut self, whole: &Current) -> Result<(), String> {
        profile::check(&whole.bytes)
            .map_err(|error| self.left_out(&whole.name, &error.to_string()))?;
        let file = format!("{}-{}.profraw", self.prefix, self.written);
        let path = self.dir.join(file);
        write_atomic(&path, &whole.bytes)
            .map_err(|error| self.left_out(&whole.name, &format!("{}: {error}", path.display())))?;
        self.written += 1;
        Ok(())
    }

    /// Leaves `note` to the session: nextest shows what a test says only where it fails.
    fn keep(&mut self, note: String) -> String {
        let dir = Coverage::notes(&self.dir);
        let file = dir.join(format!("{}-{}", self.prefix, self.notes));
        self.notes += 1;
        // It is told by the test in any case.
        let _ = fs::create_dir_all(&dir).and_then(|()| write_atomic(&file, note.as_bytes()));
        note
    }

    fn left_out(&self, name: &str, why: &str) -> String {
        let name = text::cut(&text::line(name), LONGEST);
        let why = text::line(why);
        format!(
            "coverage: the profile {name} of {} is left out: {why}",
            self.case
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::tests::profile;
    use super::*;

    fn files(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn whole_profiles_are_written_and_others_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut received = ReceivedProfiles::new(dir.path().to_owned(), "ktstr/a test");
        let bytes = profile(3, 5, 7);
        let mut send = |name: &str, bytes: &[u8], size: usize| {
            received.announce(name.to_owned(), size as u64)?;
            let mut note = None;
            for part in bytes.chunks(100) {
                note = received.part(part)?.or(note);
            }
            Ok::<_, String>(note)
        };
        assert_eq!(send("1", &bytes, bytes.len()), Ok(None));
        assert_eq!(send("2", &bytes, bytes.len()), Ok(None));
        let cut = &bytes[..bytes.len() - 8];
        let note = send("3_0.profraw", cut, cut.len()).unwrap().unwrap();
        assert_eq!(
            note,
            format!(
                "coverage: the profile 3_0.profraw of ktstr/a test is left out: truncated: {} bytes of {}",
                cut.len(),
                bytes.len()
            )
        );
        let note = send("4\n", b"garbage", 7).unwrap().unwrap();
        assert!(note.ends_with(": not a raw profile"), "{note}");
        assert_eq!(send("5", cut, bytes.len()), Ok(None));
        let note = received.end(true).unwrap();
        assert!(
            note.contains("profile 5 of") && note.contains("bytes of"),
            "{note}"
        );
        let notes = files(&Coverage::notes(dir.path()));
        assert_eq!(notes.len(), 3);
        assert!(
            notes[0]
                .1
                .starts_with(b"coverage: the profile 3_0.profraw of ")
        );
        let files = files(dir.path());
        assert_eq!(files.len(), 2);
        for (index, (name, content)) in files.iter().enumerate() {
            assert!(name.starts_with("ktstr-guest-ktstr_a_test-"), "{name}");
            assert!(name.ends_with(&format!("-{index}.profraw")), "{name}");
            assert_eq!(content, &bytes);
        }
    }

    #[test]
    fn a_guest_that_breaks_the_protocol_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let received = || ReceivedProfiles::new(dir.path().to_owned(), "c");
        assert!(received().part(b"x").is_err());
        assert!(
            received()
                .announce(String::new(), PROFILE_LIMIT + 1)
                .is_err()
        );
        let mut longer = received();
        longer.announce(String::new(), 3).unwrap();
        assert!(longer.part(b"1234").is_err());
        assert!(
            longer.announce(String::new(), 3).is_err(),
            "one is not over"
        );
        let mut many = received();
        for _ in 0..MAX_PROFILES {
            many.announce(String::new(), 1).unwrap();
            many.part(b"x").unwrap();
        }
        let note = many.refused("of 7 programs", "too many").unwrap();
        assert_eq!(
            note,
            "coverage: the profile of 7 programs of c is left out: too many"
        );
        assert!(many.announce(String::new(), 1).is_err());
        assert!(files(dir.path()).is_empty());
        assert_eq!(many.end(true), None);
        assert!(received().end(true).unwrap().contains("left no profile"));
        assert!(received().end(false).unwrap().contains("without a report"));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut received = ReceivedProfiles::new(dir.path().join("none"), "c");
        let bytes = profile(1, 1, 1);
        received
            .announce("1".to_owned(), bytes.len() as u64)
            .unwrap();
        let note = received.part(&bytes).unwrap().unwrap();
        assert!(
            note.contains("/none/") && note.contains("No such file"),
            "{note}"
        );
    }
}
