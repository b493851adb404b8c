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
        let lacks = alike(&explanation.absent, class);
        if lacks.is_empty() {
            continue;
        }
        heading(&mut text, title, style);
        for lack in &lacks {
            push_lack(&mut text, lack, style);
        }
    }
    if !explanation.present.is_empty() {
        heading(&mut text, "In every record", style);
        push_wrapped(&mut text, 2, &explanation.present.join(", "), style);
    }
    push_unreadable(&mut text, &explanation.unreadable, style);
    text
}

/// Fields that as many records of a kind lack for the same reason.
struct Lack<'e> {
    fields: Vec<&'e str>,
    of: usize,
    group: &'e Group,
}

/// The groups of a class, fields with the same reason together.
fn alike(absent: &[Absence], class: Class) -> Vec<Lack<'_>> {
    let mut lacks: Vec<Lack<'_>> = Vec::new();
    for absence in absent {
        for group in absence.groups.iter().filter(|group| group.class == class) {
            let key =
                |of, group: &Group| (of, group.kind, group.records, group.why.clone(), group.fix);
            let same = lacks
                .iter_mut()
                .find(|lack| key(lack.of, lack.group) == key(absence.of, group));
            if let Some(lack) = same {
                lack.fields.push(absence.field);
            } else {
                let fields = vec![absence.field];
                lacks.push(Lack {
                    fields,
                    of: absence.of,
                    group,
                });
            }
        }
    }
    lacks
}

fn push_lack(text: &mut String, lack: &Lack<'_>, style: &Style) {
    let Lack { fields, of, group } = lack;
    let kind = match group.kind {
        CaseKind::Unfinished => "unfinished",
        CaseKind::Skipped => "skipped",
        CaseKind::Host => "host",
        CaseKind::Cell => "cell",
        CaseKind::NoMachine => "no machine",
        CaseKind::Machine => "machine",
    };
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    let (records, fields, why) = (group.records, fields.join(", "), &group.why);
    let told = format!("{records} of {of} ({kind}) lack {fields}: {why}");
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
