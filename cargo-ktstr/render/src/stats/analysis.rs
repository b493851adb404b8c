//! The analysis of the newest run.

use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_driver::stats::{Analysis, AnalyzedSession, Counts};

use super::{push_unreadable, sections};
use crate::Style;
use crate::paint::Ink;
use crate::text::{counted, wrap};

/// What `analysis` tells: a section for each thing that deserves a look, none where there is nothing. Long lists are cut;
/// the document has all.
///
/// ```
/// use ktstr_core::record::RunStore;
/// use ktstr_driver::stats;
/// use ktstr_render::Style;
///
/// let nothing = stats::analyze(&RunStore::new("/nowhere"))?;
/// let text = ktstr_render::stats::text(&nothing, &Style::default());
/// assert_eq!(text, "no runs yet: `cargo ktstr test` makes one\n");
/// # Ok::<(), stats::StatsError>(())
/// ```
pub fn text(analysis: &Analysis, style: &Style) -> String {
    let mut text = String::new();
    match &analysis.session {
        None => {
            let _ = writeln!(text, "no runs yet: `{} test` makes one", style.program);
        }
        Some(session) => push_session(&mut text, session, style),
    }
    sections::verdicts(&mut text, &analysis.verdicts, style);
    sections::failures(&mut text, &analysis.verdicts, style);
    sections::exits(&mut text, &analysis.exits, style);
    sections::kernel_faults(&mut text, &analysis.kernel_faults, style);
    sections::retries(&mut text, &analysis.retries, style);
    sections::restarts(&mut text, &analysis.restarts, style);
    sections::outliers(&mut text, &analysis.outliers, style);
    if let Some(growth) = &analysis.verifier {
        sections::growth(&mut text, growth, style);
    }
    sections::times(&mut text, &analysis.times, style);
    sections::skips(&mut text, &analysis.skips, style);
    push_unreadable(&mut text, &analysis.unreadable, style);
    text
}

fn push_session(text: &mut String, session: &AnalyzedSession, style: &Style) {
    let title = format!("Run of {}", session.begun);
    let _ = writeln!(text, "{}", style.paint(Ink::Heading, title));
    for run in &session.runs {
        let told = format!("{}: {}", line(&run.run), counted(run.cases, "case"));
        let _ = writeln!(
            text,
            "  {}",
            wrap(&told, style.width.saturating_sub(4), "\n    ")
        );
    }
    let Counts {
        pass,
        fail,
        inconclusive,
        skip,
    } = session.counts;
    let counts = [
        (pass, "passed", Ink::Good),
        (fail, "failed", Ink::Bad),
        (inconclusive, "inconclusive", Ink::Doubtful),
        (skip, "skipped", Ink::Dim),
    ];
    let counts = counts.iter().filter(|(count, ..)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, how, ink)| style.paint(*ink, format!("{count} {how}")))
        .collect();
    if !counts.is_empty() {
        let _ = writeln!(text, "  {}", counts.join(", "));
    }
}
