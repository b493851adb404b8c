//! Descriptions of terminals.

use std::path::{Path, PathBuf};

use ktstr_core::host::Host;

/// Where descriptions are, on all hosts.
const PLACES: &[&str] = &[
    "etc/terminfo",
    "lib/terminfo",
    "usr/lib/terminfo",
    "usr/share/terminfo",
];

/// Where they are in the guest: every build of ncurses looks there.
const GUEST: &str = "/usr/share/terminfo";

/// Terminals that people use in a shell besides that of the host: multiplexers, and what is set by hand.
pub(super) const USUAL: &[&str] = &[
    "dumb",
    "linux",
    "screen",
    "screen-256color",
    "tmux",
    "tmux-256color",
    "vt100",
    "xterm",
    "xterm-256color",
];

/// The terminal of whoever called us, where it has a name that can be one.
pub(super) fn of_host(host: &Host) -> Option<String> {
    let term = host.non_empty_var("TERM")?.into_string().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    (term.len() <= 64 && !term.starts_with('.') && term.chars().all(is_plain)).then_some(term)
}

/// The host's file that describes `terminal`, and its place in the guest.
pub(super) fn find(host: &Host, terminal: &str) -> Option<(PathBuf, PathBuf)> {
    let own = host.non_empty_var("TERMINFO").map(PathBuf::from);
    let home = host
        .non_empty_var("HOME")
        .map(|home| Path::new(&home).join(".terminfo"));
    let common = PLACES.iter().map(|place| host.root.join(place));
    let first = terminal.bytes().next()?;
    // The directory is the first letter, or its number where file systems do not tell cases apart.
    let names = [char::from(first).to_string(), format!("{first:02x}")];
    own.into_iter().chain(home).chain(common).find_map(|place| {
        let mut files = names.iter().map(|name| place.join(name).join(terminal));
        let file = files.find(|file| file.is_file())?;
        Some((file, Path::new(GUEST).join(&names[0]).join(terminal)))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_terminal_is_found_where_ncurses_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let entry = dir.path().join("usr/share/terminfo/78/xterm-odd");
        fs::create_dir_all(entry.parent().unwrap()).unwrap();
        fs::write(&entry, "x").unwrap();
        let host = Host {
            root: dir.path().into(),
            ..Host::default()
        };
        let guest = PathBuf::from("/usr/share/terminfo/x/xterm-odd");
        assert_eq!(find(&host, "xterm-odd"), Some((entry, guest.clone())));
        assert_eq!(find(&host, "xterm"), None);
        let own = dir.path().join("own");
        fs::create_dir_all(own.join("x")).unwrap();
        fs::write(own.join("x/xterm-odd"), "y").unwrap();
        let host = host.with_vars([("TERMINFO", own.as_os_str())]);
        assert_eq!(
            find(&host, "xterm-odd"),
            Some((own.join("x/xterm-odd"), guest))
        );
    }

    #[test]
    fn names_of_terminals_are_not_paths() {
        let of = |term: &str| of_host(&Host::default().with_vars([("TERM", term)]));
        assert_eq!(of("rxvt-unicode+x").as_deref(), Some("rxvt-unicode+x"));
        let long = "x".repeat(65);
        for none in ["", "../../etc/passwd", ".", "a b", "a\n", long.as_str()] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
