//! Foreign text in messages.

/// `text` as part of a line: without what would end it or command a terminal, and not endless.
pub(crate) fn line(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| {
        let breaks = c.is_control() || ['\u{2028}', '\u{2029}'].contains(&c);
        if breaks { '?' } else { c }
    };
    let mut shown: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}
