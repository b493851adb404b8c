//! Extra kconfig: a user's fragment, merged over ktstr's.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{setting, wanted};
use crate::fragment::options_hash;

/// A user's configuration fragment, merged over ktstr's; its options win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraKconfig {
    path: PathBuf,
    text: String,
    hash: String,
}

/// Why a file is not a configuration fragment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtraKconfigError {
    /// It could not be read.
    #[error("extra kconfig {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a device or the like.
    #[error(
        "extra kconfig {path}: it is neither a regular file nor a pipe; give a file of CONFIG_X=value lines"
    )]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// It is a pipe whose writer takes too long.
    #[error(
        "extra kconfig {path}: the writer of this pipe was not done after {} s; give a file",
        PIPE_WAIT.as_secs()
    )]
    Slow {
        /// The pipe.
        path: PathBuf,
    },
    /// It is too large for a fragment.
    #[error(
        "extra kconfig {path}: it is larger than {} KiB; give the options that matter, not a whole image or archive",
        MAX_BYTES >> 10
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// One of its lines sets no option.
    #[error(
        "extra kconfig {path}, line {line}: {why}; write CONFIG_X=value, `# CONFIG_X is not set` or a comment"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A whole configuration of a distribution has some 300 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// How long a pipe may take to tell all.
const PIPE_WAIT: Duration = Duration::from_secs(30);

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl ExtraKconfig {
    /// Reads the fragment at `path`, and checks every line of it.
    pub fn read(path: &Path) -> Result<Self, ExtraKconfigError> {
        let owned = || path.to_owned();
        let read_error = |source| ExtraKconfigError::Read {
            path: owned(),
            source,
        };
        let kind = path.metadata().map_err(read_error)?.file_type();
        let bytes = if kind.is_file() {
            let mut bytes = Vec::new();
            File::open(path)
                .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
                .map_err(read_error)?;
            bytes
        } else if kind.is_fifo() {
            let bytes = read_pipe(path, PIPE_WAIT).map_err(read_error)?;
            bytes.ok_or_else(|| ExtraKconfigError::Slow { path: owned() })?
        } else {
            return Err(ExtraKconfigError::NoFile { path: owned() });
        };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ExtraKconfigError::TooLarge { path: owned() });
        }
        Self::parse(path, &bytes)
    }

    /// As [`read`](Self::read), of what was read; `path` is what errors call it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ExtraKconfigError> {
        let line_error = |at: usize, why| ExtraKconfigError::Line {
            path: path.to_owned(),
            line: at + 1,
            why,
        };
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mut text = String::with_capacity(bytes.len());
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = str::from_utf8(line).map_err(|_| line_error(at, "it is not UTF-8"))?;
            let line = line.trim();
            fault(line).map_or(Ok(()), |why| Err(line_error(at, why)))?;
            text.push_str(line);
            text.push('\n');
        }
        let options = wanted(&[&text]);
        let hash = options_hash(
            options
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        Ok(Self {
            path: path.to_owned(),
            text,
            hash,
        })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The eight digits behind `xkc` in cache keys: of the options alone, not of the comments.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether it sets no option: a kernel with it is the kernel without it.
    pub fn is_empty(&self) -> bool {
        wanted(&[&self.text]).is_empty()
    }

    /// Its lines.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// All that is written to a pipe such as a shell's `<(…)`, but little more than is taken; `None` where that is not all
/// there after `wait`.
fn read_pipe(path: &Path, wait: Duration) -> io::Result<Option<Vec<u8>>> {
    // Opening it otherwise would wait for who writes to it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut pipe = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    while bytes.len() as u64 <= MAX_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        // Without a writer so far it waits; once all of them are gone it does not.
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(Errno::INTR) => continue,
            polled => polled?,
        };
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}

/// What keeps a line from being part of a fragment.
fn fault(line: &str) -> Option<&'static str> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Some("it has control characters");
    }
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let Some((_, value)) = setting(line) else {
        return Some("it sets no option");
    };
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    match value {
        "" => Some("the option has no value (n turns it off)"),
        _ if quoted => None,
        _ if value.contains('"') => Some("the value's quotes do not match"),
        _ if value.contains(char::is_whitespace) => {
            Some("the value has blanks; comments take lines of their own")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<ExtraKconfig, ExtraKconfigError> {
        ExtraKconfig::parse(Path::new("my.kconfig"), text.as_bytes())
    }

    #[test]
    fn only_options_count() {
        let hash = |text| parse(text).unwrap().hash;
        let one = hash("CONFIG_A=y\n# CONFIG_B is not set\n");
        assert_eq!(
            one,
            hash("# why\r\n\n  CONFIG_A=n\nCONFIG_A=y  \nCONFIG_B=n")
        );
        assert_eq!(one.len(), 8);
        assert_ne!(one, hash("CONFIG_A=y\n"));
        assert_ne!(one, hash(""));
        assert_eq!(hash(""), hash("# CONFIG_B is unset\n#CONFIG_A=y\n"));
        hash("CONFIG_S=\"two words\"\nCONFIG_E=\"\"\nCONFIG_X=0x10\nCONFIG_N=-7\n");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, part) in [
            ("\nFOO=y\n", 2, "it sets no option"),
            ("# x\n\nCONFIG_A-B=y", 3, "it sets no option"),
            ("CONFIG_A", 1, "it sets no option"),
            ("CONFIG_A =y", 1, "it sets no option"),
            ("CONFIG_A=", 1, "no value"),
            ("CONFIG_A=y # because", 1, "lines of their own"),
            ("CONFIG_A=\"x", 1, "quotes"),
            ("CONFIG_A=\"", 1, "quotes"),
            ("CONFIG_A=\"a\\\u{1b}[1m\"", 1, "control characters"),
            ("#\0", 1, "control characters"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            let start = format!("extra kconfig my.kconfig, line {line}: ");
            assert!(message.starts_with(&start), "{text:?}: {message}");
            assert!(message.contains(part), "{text:?}: {message}");
        }
        let bytes = b"CONFIG_A=y\nCONFIG_\xff=y\n";
        let error = ExtraKconfig::parse(Path::new("f"), bytes).unwrap_err();
        assert!(error.to_string().contains("line 2: it is not UTF-8"));
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| ExtraKconfig::read(path).unwrap_err().to_string();
        assert!(refused(dir.path()).contains("neither a regular file nor a pipe"));
        assert!(refused(Path::new("/dev/zero")).contains("neither a regular file nor a pipe"));
        let path = dir.path().join("f");
        assert!(refused(&path).contains("No such file"));
        std::fs::write(&path, vec![b'\n'; (1 << 20) + 1]).unwrap();
        assert!(refused(&path).contains("larger than 1024 KiB"));
        std::fs::write(&path, vec![b'\n'; 1 << 20]).unwrap();
        assert_eq!(ExtraKconfig::read(&path).unwrap().path(), path);
    }

    #[test]
    fn editors_marks_are_not_options() {
        let marked = parse("\u{feff}CONFIG_A=y\n").unwrap();
        assert_eq!(marked.hash, parse("CONFIG_A=y\n").unwrap().hash);
        assert!(!marked.is_empty() && parse("\u{feff}# nothing\n").unwrap().is_empty());
        assert!(parse("CONFIG_A=y\n\u{feff}CONFIG_B=y").is_err());
    }

    #[test]
    fn pipes_are_read_to_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        // As the shell's own, in pieces.
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut pipe = File::options().write(true).open(&path).unwrap();
                for piece in ["CONFIG_A=", "y\nCONFIG_B", "=y\n"] {
                    std::io::Write::write_all(&mut pipe, piece.as_bytes()).unwrap();
                }
            });
            ExtraKconfig::read(&path).unwrap()
        });
        assert_eq!(read.hash, parse("CONFIG_A=y\nCONFIG_B=y\n").unwrap().hash);
        // Nobody writes to it, and nobody is waited for for ever.
        assert_eq!(read_pipe(&path, Duration::from_millis(20)).unwrap(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn anything_is_taken_or_refused_in_one_line(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            text in "((# )?CONFIG_[A-C](=[yn\" 1]{0,3}| is not set)?[\r\n\t ]{0,2}){0,6}",
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                if let Err(error) = ExtraKconfig::parse(Path::new("f"), bytes) {
                    let error = error.to_string();
                    prop_assert!(!error.contains(['\n', '\r', '\u{1b}']), "{}", error);
                }
            }
        }

        #[test]
        fn what_is_taken_is_merged_as_it_says(
            text in "(CONFIG_[A-C]=[ym1]\n|# CONFIG_[A-C] is not set\n|CONFIG_[A-C]=\"[a =]{0,3}\"\n){0,6}",
        ) {
            let extra = parse(&text).unwrap();
            let merged = super::super::merge("CONFIG_A=y\nCONFIG_Z=y\n", &["CONFIG_B=y\n"], extra.text());
            for (name, value) in wanted(&[extra.text()]) {
                let line = if value == "n" { format!("# {name} is not set") } else { format!("{name}={value}") };
                prop_assert!(merged.lines().any(|other| other == line), "{}", merged);
                prop_assert_eq!(merged.matches(name).count(), 1);
            }
        }
    }
}
