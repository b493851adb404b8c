//! What helps against errors about kernels, in the words of `cargo ktstr`.

use ktstr_kernel::Remedy;
use ktstr_kernel::discover::DiscoverError;

/// The error in one line, with what to do.
pub fn worded(error: &DiscoverError) -> String {
    let remedy = error.remedy();
    let words = remedy.map(|remedy| words(&remedy, "cargo ktstr"));
    format!("{error}{}", words.unwrap_or_default())
}

/// What follows an error with that remedy, beginning with what separates the two. The commands in it are those of
/// `program`, the options those of `cargo ktstr`.
pub fn words(remedy: &Remedy, program: &str) -> String {
    match remedy {
        Remedy::LeaveOutClean => "; leave out --clean (--force builds it again)".to_owned(),
        Remedy::LeaveOutForce => ", or leave out --force".to_owned(),
        Remedy::LeaveOutExtraKconfig => ", or leave out --extra-kconfig".to_owned(),
        Remedy::BuildClean => ", or build with --clean".to_owned(),
        Remedy::SkipChecksums => ", or build with --skip-sha256".to_owned(),
        Remedy::IncludeEol => "; --include-eol also includes end-of-life series".to_owned(),
        Remedy::ListKeys => format!(", `{program} kernel list` shows the keys"),
        Remedy::RemoveCorrupt => {
            format!("; run: {program} kernel clean --corrupt-only, then build it again")
        }
        Remedy::Build { kernel } => format!(
            "; run: {program} kernel build --kernel {kernel}, or {program} test --kernel {kernel}"
        ),
        Remedy::Resolve { kernel } => format!(", or run: {program} test --kernel {kernel}"),
        Remedy::BuildAny => format!(
            "; build one: {program} kernel build --kernel ../linux (or a source tarball), or run: {program} test --kernel ../linux"
        ),
        _ => String::new(),
    }
}
