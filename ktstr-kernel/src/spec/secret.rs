//! Secrets in addresses.

/// `text` without the password, or the token, that an address in it may have: errors end in logs.
pub(crate) fn without_secret(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '#', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return text.to_owned();
    };
    // An account of ssh is no secret.
    let account = rest[..at]
        .split_once(':')
        .map_or(&rest[..at], |(name, _)| name);
    let is_secret = !scheme.ends_with("ssh") || account.len() < at;
    let shown = if is_secret { "…" } else { account };
    format!("{scheme}://{shown}{}", &rest[at..])
}
