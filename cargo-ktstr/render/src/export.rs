//! What was exported.

use ktstr_core::text;
use ktstr_driver::Exported;

use crate::Style;

/// The line that says what was written.
pub fn text(exported: &Exported) -> String {
    format!(
        "wrote {} ({} bytes archive, {} include files)\n",
        text::line(&exported.path.display().to_string()),
        exported.archive_bytes,
        exported.include_files
    )
}

/// What to know of it besides: a line where the name is that of several tests, nothing elsewhere.
pub fn notes(exported: &Exported, style: &Style) -> String {
    if exported.others.is_empty() {
        return String::new();
    }
    let others: Vec<String> = exported.others.iter().map(|it| style.path(it)).collect();
    let (case, binary) = (&exported.case, style.path(&exported.binary));
    let others = others.join(", ");
    format!("note: this is {case} of {binary}; {others} has one too, which --package would name\n")
}
