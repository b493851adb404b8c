//! What lines of the verifier's log are compared by.

/// What a line says, without what the verifier knows at that time.
///
/// The forms are those of `kernel/bpf/verifier.c` and `kernel/bpf/log.c`.
pub(super) fn essence(line: &str) -> String {
    let line = line.trim_end();
    // `; sum += *p; @ file.c:12`: the source.
    if line.starts_with(';') {
        return line.to_owned();
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0
        && let Some(rest) = line[digits..].strip_prefix(": ")
    {
        // `12: (07) r6 += 1       ; R6_w=2`
        if rest.starts_with('(') {
            let code = line.split(';').next().unwrap_or(line);
            return code.trim_end().to_owned();
        }
        // `12: R0=0 R6=scalar(id=3,...)`
        if is_state(rest) {
            return line[..digits].to_owned();
        }
    }
    // `from 13 to 10: R0=0 R6=2`, but not `from 13 to 10: safe`
    if line.starts_with("from ")
        && let Some((way, rest)) = line.split_once(": ")
        && is_state(rest)
    {
        return way.to_owned();
    }
    without_numbers(line)
}

/// Whether what follows are registers and their values.
fn is_state(text: &str) -> bool {
    let is_register =
        |text: &str| text.starts_with('R') && text[1..].starts_with(|c: char| c.is_ascii_digit());
    is_register(text) || text.starts_with("frame")
}

/// `#` for each number, decimal or hexadecimal.
fn without_numbers(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        text.push_str(&rest[..at]);
        text.push('#');
        rest = &rest[at..];
        let hexadecimal = rest.strip_prefix("0x");
        let is_digit = |c: char| match hexadecimal {
            Some(_) => c.is_ascii_hexdigit(),
            None => c.is_ascii_digit(),
        };
        rest = hexadecimal.unwrap_or(rest).trim_start_matches(is_digit);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_knowledge_is_passed_over() {
        for (one, other, same) in [
            ("1: (07) r6 += 1 ; R6_w=1", "1: (07) r6 += 1", true),
            (
                "1: (07) r6 += 1 ; R6_w=1",
                "1: (07) r6 += 2 ; R6_w=1",
                false,
            ),
            ("1: (07) r6 += 1", "2: (07) r6 += 1", false),
            ("; a[1] @ x.c:1", "; a[2] @ x.c:1", false),
            ("from 1 to 2: R0=1", "from 1 to 2: R0=2 R1=3", true),
            ("from 1 to 2: R0=1", "from 1 to 3: R0=1", false),
            ("from 1 to 2: R0=1", "from 1 to 2: safe", false),
            ("3: R0=1", "3: frame1: R1=2", true),
            (
                "mark_precise: frame0: regs=r6 before 11",
                "mark_precise: frame0: regs=r6 before 12",
                true,
            ),
            ("value -0x1f is", "value -77 is", true),
            ("R0 invalid", "Rx invalid", false),
        ] {
            assert_eq!(essence(one) == essence(other), same, "{one} | {other}");
        }
    }
}
