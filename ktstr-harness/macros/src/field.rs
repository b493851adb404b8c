//! The test case that generated code makes, and its fields.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::key::Part;

/// The finished test case as an item, out of the way of the names in users' expressions.
pub(crate) const CASE: &str = "KTSTR_TEST_CASE";

/// The field of the finished test case that the key `name` of `part` sets.
pub(crate) fn field(part: Part, name: &str) -> TokenStream {
    let (case, name) = (format_ident!("{CASE}"), format_ident!("{name}"));
    match part {
        Part::Topology => quote!(#case.topology.#name()),
        Part::Constraints => quote!(#case.constraints.#name),
        Part::Checks => quote!(#case.checks.#name),
        Part::Case | Part::Optional => quote!(#case.#name),
    }
}
