//! What a case is called in a session with other kernels.

use ktstr_core::{CaseName, KernelLabel};

/// The names that a case has in a session on the kernels called `labels`, or the kernel that is not among them.
///
/// `name` is what it was called, on the kernel `ran_on`. Where `anywhere` is set, it runs on whatever kernels there are, else
/// on its own alone.
pub(super) fn names(
    name: &str,
    ran_on: Option<&KernelLabel>,
    labels: &[&KernelLabel],
    anywhere: bool,
) -> Result<Vec<String>, KernelLabel> {
    let Ok(parsed) = name.parse::<CaseName>() else {
        return Ok(vec![name.to_owned()]);
    };
    let own = match &parsed {
        CaseName::Host { .. } => return Ok(vec![name.to_owned()]),
        CaseName::Verifier { kernel, .. } => Some(kernel),
        CaseName::Base { kernel, .. } | CaseName::Gauntlet { kernel, .. } => {
            kernel.as_ref().or(ran_on)
        }
    };
    let on: Vec<&KernelLabel> = match own {
        Some(own) if !anywhere && labels.contains(&own) => vec![own],
        Some(own) if !anywhere => return Err(own.clone()),
        // It ended before it had one, or others were asked for.
        _ => labels.to_vec(),
    };
    let is_labelled = labels.len() > 1;
    let mut names: Vec<String> = on
        .into_iter()
        .map(|label| with_kernel(parsed.clone(), label, is_labelled).to_string())
        .collect();
    if names.is_empty() {
        names.push(parsed.without_kernel().to_string());
    }
    names.dedup();
    Ok(names)
}

/// `name` on the kernel called `label`, which only verifier cells name in a session with one kernel.
fn with_kernel(mut name: CaseName, label: &KernelLabel, is_labelled: bool) -> CaseName {
    match &mut name {
        CaseName::Base { kernel, .. } | CaseName::Gauntlet { kernel, .. } => {
            *kernel = is_labelled.then(|| label.clone());
        }
        CaseName::Verifier { kernel, .. } => *kernel = label.clone(),
        CaseName::Host { .. } => {}
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_among_the_kernels_that_there_are() {
        let label = KernelLabel::from_version;
        let (a, b, c) = (label("6.12"), label("6.13"), label("6.14"));
        let of = |name: &str, ran_on: Option<&KernelLabel>, labels: &[&KernelLabel], anywhere| {
            match names(name, ran_on, labels, anywhere) {
                Ok(names) => names.join(" "),
                Err(gone) => format!("no {gone}"),
            }
        };
        let gauntlet = "gauntlet/t/4cpu-1llc-nosmt";
        let cell = "verifier/s/kernel_6_12/4cpu-1llc-nosmt";
        for (name, ran_on, labels, anywhere, expected) in [
            // As they were.
            ("ktstr/t", Some(&a), &[&a][..], false, "ktstr/t"),
            (
                "ktstr/t/kernel_6_12",
                Some(&a),
                &[&a, &b],
                false,
                "ktstr/t/kernel_6_12",
            ),
            ("host/t", None, &[], false, "host/t"),
            (cell, Some(&a), &[&a], false, cell),
            ("whatever", None, &[&a, &b], false, "whatever"),
            // One of two is left.
            ("ktstr/t/kernel_6_12", Some(&a), &[&a], false, "ktstr/t"),
            (
                "ktstr/t/kernel_6_12",
                Some(&a),
                &[&b],
                false,
                "no kernel_6_12",
            ),
            (cell, Some(&a), &[&b], false, "no kernel_6_12"),
            ("ktstr/t", Some(&a), &[&b], false, "no kernel_6_12"),
            // It failed before it had a kernel.
            ("ktstr/t", None, &[], false, "ktstr/t"),
            ("ktstr/t", None, &[&a], false, "ktstr/t"),
            (
                "ktstr/t",
                None,
                &[&a, &b],
                false,
                "ktstr/t/kernel_6_12 ktstr/t/kernel_6_13",
            ),
            // Others are asked for.
            ("ktstr/t/kernel_6_12", Some(&a), &[&c], true, "ktstr/t"),
            (
                "ktstr/t",
                Some(&a),
                &[&b, &c],
                true,
                "ktstr/t/kernel_6_13 ktstr/t/kernel_6_14",
            ),
            ("host/t", None, &[&b, &c], true, "host/t"),
            (
                cell,
                Some(&a),
                &[&c],
                true,
                "verifier/s/kernel_6_14/4cpu-1llc-nosmt",
            ),
            (gauntlet, Some(&a), &[&c], true, gauntlet),
        ] {
            assert_eq!(of(name, ran_on, labels, anywhere), expected, "{name}");
        }
    }
}
