//! Why optional fields of records are absent.

use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_driver::stats::{Absence, CaseKind, Class, Explanation, Group};

use super::{heading, push_unreadable, push_wrapped};
use crate::Style;
use crate::paint::Ink;
use crate::text::{counted, wrap};

/// What can be done something about, first; then what is as expected, in fewer lines.
pub fn explanation(explanation: &Explanation, style: &Style) -> String {
    let records = counted(explanation.records, "record");
    let title = format!("{}: {records}", line(&explanation.run));
    let mut text = wrap(&title, style.width, "\n") + "\n";
    for (class, title) in [
        (
            Class::Actionable,
            "Actionable: something can be done about these fields",
        ),
        (
            Class::Expected,
            "Expected: such records do not have these fields",
        ),
    ] {
        let of_class = |group: &&Group| group.class == class;
        let absent = explanation.absent.iter();
        let mut absent = absent
            .filter(|absence| absence.groups.iter().any(|group| of_class(&group)))
            .peekable();
        if absent.peek().is_none() {
            continue;
        }
        heading(&mut text, title, style);
        for absence in absent {
            for group in absence.groups.iter().filter(of_class) {
                push_group(&mut text, absence, group, style);
            }
        }
    }
    if !explanation.present.is_empty() {
        heading(&mut text, "In every record", style);
        push_wrapped(&mut text, 2, &explanation.present.join(", "), style);
    }
    push_unreadable(&mut text, &explanation.unreadable, style);
    text
}

fn push_group(text: &mut String, absence: &Absence, group: &Group, style: &Style) {
    let kind = match group.kind {
        CaseKind::Unfinished => "unfinished",
        CaseKind::Skipped => "skipped",
        CaseKind::Host => "host",
        CaseKind::Cell => "cell",
        CaseKind::NoMachine => "no machine",
        CaseKind::Machine => "machine",
    };
    let Absence { field, of, .. } = absence;
    let told = format!(
        "{} of {of} ({kind}) lack `{field}`: {}",
        group.records, group.why
    );
    push_wrapped(text, 2, &told, style);
    if let Some(fix) = group.fix {
        let fix = wrap(&line(fix), style.width.saturating_sub(6), "\n      ");
        let _ = writeln!(
            text,
            "    {}",
            style.paint(Ink::Doubtful, format!("> {fix}"))
        );
    }
}
