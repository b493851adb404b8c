//! Sends what the guest's programs counted, where code coverage is measured.
//!
//! The kernel's command line has LLVM's variable, which every program of the guest inherits. A program that is measured maps
//! its counters from a file there, so the file has all counts whenever it is read.

use std::env::var_os;
use std::fs;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::read_bounded;
use ktstr_vmm::Frame;

use crate::protocol::{
    GuestMessage, MAX_PROFILES, PROFILE_DIR, PROFILE_FILE, PROFILE_LIMIT, PROFILE_PART,
    PROFILE_VARIABLE, TAG_PROFILE, to_frame,
};

/// Sends the profiles that programs left, when no program but init is left. Without coverage it does nothing.
pub(super) fn send<E>(send: &mut dyn FnMut(Frame) -> Result<(), E>) -> Result<(), E> {
    if var_os(PROFILE_VARIABLE).is_none_or(|value| value != PROFILE_FILE) {
        return Ok(());
    }
    send_from(Path::new(PROFILE_DIR), send)
}

fn send_from<E>(dir: &Path, send: &mut dyn FnMut(Frame) -> Result<(), E>) -> Result<(), E> {
    let files = profiles(dir);
    for path in files.iter().take(MAX_PROFILES) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match read_bounded(path, PROFILE_LIMIT) {
            Ok(bytes) => {
                send(to_frame(&GuestMessage::Profile {
                    name,
                    size: bytes.len() as u64,
                }))?;
                // One without a byte has one part as well, which ends it.
                let parts = bytes.chunks(PROFILE_PART).map(<[u8]>::to_vec);
                let nothing = bytes.is_empty().then(Vec::new);
                for payload in parts.chain(nothing) {
                    send(Frame {
                        tag: TAG_PROFILE,
                        payload,
                    })?;
                }
            }
            Err(error) => send(to_frame(&GuestMessage::NoProfile {
                name,
                why: error.to_string(),
            }))?,
        }
    }
    if files.len() > MAX_PROFILES {
        send(to_frame(&GuestMessage::NoProfile {
            name: format!("of {} programs", files.len() - MAX_PROFILES),
            why: format!("a guest sends {MAX_PROFILES}"),
        }))?;
    }
    Ok(())
}

/// The profiles in `dir`, in the order of their names.
fn profiles(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "profraw"))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::protocol::from_frame;

    fn sent(dir: &Path) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Ok(()) = send_from(dir, &mut |frame| {
            frames.push(frame);
            Ok::<_, Infallible>(())
        });
        frames
    }

    #[test]
    fn profiles_are_announced_and_come_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sent(&dir.path().join("none")).is_empty());
        let large = vec![7; PROFILE_PART + 1];
        fs::write(dir.path().join("2.profraw"), &large).unwrap();
        fs::write(dir.path().join("1.profraw"), "").unwrap();
        fs::write(dir.path().join("other"), "x").unwrap();
        symlink("/dev/zero", dir.path().join("3.profraw")).unwrap();
        let frames = sent(dir.path());
        let tags: Vec<u8> = frames.iter().map(|frame| frame.tag).collect();
        assert_eq!(tags, [1, TAG_PROFILE, 1, TAG_PROFILE, TAG_PROFILE, 1]);
        let announced = GuestMessage::Profile {
            name: "2.profraw".to_owned(),
            size: large.len() as u64,
        };
        assert_eq!(from_frame::<GuestMessage>(&frames[2]).unwrap(), announced);
        assert_eq!([&*frames[3].payload, &*frames[4].payload].concat(), large);
        let refused = from_frame::<GuestMessage>(&frames[5]).unwrap();
        assert!(
            matches!(&refused, GuestMessage::NoProfile { name, .. } if name == "3.profraw"),
            "{refused:?}"
        );
    }

    #[test]
    fn of_too_many_the_first_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..MAX_PROFILES + 2 {
            fs::write(dir.path().join(format!("{index:03}.profraw")), "x").unwrap();
        }
        let frames = sent(dir.path());
        assert_eq!(frames.len(), 2 * MAX_PROFILES + 1);
        let rest = from_frame::<GuestMessage>(frames.last().unwrap()).unwrap();
        assert!(
            matches!(&rest, GuestMessage::NoProfile { name, .. } if name == "of 2 programs"),
            "{rest:?}"
        );
    }
}
