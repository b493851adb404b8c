//! `declare_payload!`: a program as a constant.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Error, Expr, Result};

use crate::declaration::{Declaration, Field, FieldUse};
use crate::value::text;

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Use {
    /// A string literal that can be part of a metric's name and of a path.
    Name,
    /// Part of where the program comes from.
    Source,
    /// An array of string literals.
    Texts,
    /// An array of constants.
    Constants,
    /// An expression, in a field that is `None` without it.
    Optional,
    /// An expression.
    Plain,
}

impl FieldUse for Use {
    const FIELDS: &'static [(&'static str, Self)] = &[
        ("name", Use::Name),
        ("binary", Use::Source),
        ("package", Use::Source),
        ("args", Use::Texts),
        ("include_files", Use::Texts),
        ("exit_codes", Use::Constants),
        ("metrics", Use::Constants),
        ("checks", Use::Constants),
        ("time_limit_s", Use::Optional),
        ("skip_if_missing", Use::Plain),
    ];
}

impl Declaration<Use> {
    /// The constant.
    pub(crate) fn expand(&self) -> Result<TokenStream> {
        let missing = "a program needs a `name`, such as name = \"hackbench\"";
        self.check(missing)?;
        let source = self.source()?;
        let fields = self.fields.iter();
        let fields = fields
            .filter(|field| field.using != Use::Source)
            .map(Field::initializer)
            .collect::<Result<Vec<_>>>()?;
        let Self {
            attributes,
            visibility,
            name,
            ..
        } = self;
        Ok(quote! {
            #(#attributes)*
            #visibility const #name: ::ktstr_harness::Payload = ::ktstr_harness::Payload {
                #(#fields,)*
                source: #source,
                manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                ..::ktstr_harness::Payload::NONE
            };
            const _: () = #name.check();
        })
    }

    /// Exactly one of the ways to come by a program.
    fn source(&self) -> Result<TokenStream> {
        let source = quote!(::ktstr_harness::payload::PayloadSource);
        let wants =
            "give exactly one of `binary`, a program of the host, and `package`, a cargo package";
        match (self.get("binary"), self.get("package")) {
            (Some(binary), None) => {
                let binary = binary.text()?;
                Ok(quote!(#source::Binary(#binary)))
            }
            (None, Some(package)) => {
                let package = package.text()?;
                Ok(quote!(#source::Package(#package)))
            }
            (Some(_), Some(second)) => Err(Error::new(second.ident.span(), wants)),
            (None, None) => {
                let message = format!("where does it come from? {wants}");
                Err(Error::new(self.name.span(), message))
            }
        }
    }
}

impl Field<Use> {
    fn initializer(&self) -> Result<TokenStream> {
        let (name, value) = (format_ident!("{}", self.ident), &self.value);
        Ok(match self.using {
            Use::Name => {
                let text = self.name()?;
                quote!(#name: #text)
            }
            Use::Texts => {
                let texts = self.elements()?.map(|element| self.element_text(element));
                let texts = texts.collect::<Result<Vec<_>>>()?;
                quote!(#name: &[#(#texts),*])
            }
            Use::Constants => {
                let elements = self.elements()?;
                quote!(#name: &[#(#elements),*])
            }
            Use::Optional => quote!(#name: ::core::option::Option::Some(#value)),
            Use::Plain => quote!(#name: #value),
            Use::Source => unreachable!("these are no fields of their own"),
        })
    }

    fn name(&self) -> Result<TokenStream> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        match text(&self.value) {
            Some(text) if !text.value().is_empty() && text.value().chars().all(plain) => {
                Ok(quote!(#text))
            }
            _ => {
                let message = "`name` takes a string literal of letters, digits, `_` and `-`: its cgroup and its metrics \
                               are named by it";
                Err(Error::new(self.value.span(), message))
            }
        }
    }

    fn element_text(&self, element: &Expr) -> Result<TokenStream> {
        let text = text(element).ok_or_else(|| {
            let message = format!("`{}` takes an array of string literals", self.ident);
            Error::new(element.span(), message)
        })?;
        Ok(quote!(#text))
    }

    fn elements(&self) -> Result<impl Iterator<Item = &Expr>> {
        match &self.value {
            Expr::Array(array) => Ok(array.elems.iter()),
            other => {
                let message = format!("`{}` takes an array: [\u{2026}, \u{2026}]", self.ident);
                Err(Error::new(other.span(), message))
            }
        }
    }
}
