//! What helps against errors about kernels, in the words of `cargo ktstr`.

use ktstr_kernel::Remedy;
use ktstr_kernel::discover::DiscoverError;

/// The error in one line, with what to do.
pub fn worded(error: &DiscoverError) -> String {
    let words = error.remedy().as_ref().map(words);
    format!("{error}{}", words.unwrap_or_default())
}

/// What follows an error with that remedy, beginning with what separates the two.
pub fn words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::LeaveOutClean => "; leave out --clean (--force builds it again)".to_owned(),
        Remedy::LeaveOutForce => ", or leave out --force".to_owned(),
        Remedy::LeaveOutExtraKconfig => ", or leave out --extra-kconfig".to_owned(),
        Remedy::BuildClean => ", or build with --clean".to_owned(),
        Remedy::SkipChecksums => ", or build with --skip-sha256".to_owned(),
        Remedy::IncludeEol => "; --include-eol also includes end-of-life series".to_owned(),
        Remedy::ListKeys => ", `cargo ktstr kernel list` shows the keys".to_owned(),
        Remedy::RemoveCorrupt => {
            "; run: cargo ktstr kernel clean --corrupt-only, then build it again".to_owned()
        }
        Remedy::Build { kernel } => format!(
            "; run: cargo ktstr kernel build --kernel {kernel}, or cargo ktstr test --kernel {kernel}"
        ),
        Remedy::Resolve { kernel } => format!(", or run: cargo ktstr test --kernel {kernel}"),
        Remedy::BuildAny => {
            "; build one: cargo ktstr kernel build --kernel ../linux (or a source tarball), or run: cargo ktstr test --kernel ../linux"
                .to_owned()
        }
        _ => String::new(),
    }
}
