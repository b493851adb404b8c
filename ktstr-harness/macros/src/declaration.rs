//! What `declare_scheduler!` and `declare_payload!` have in common: `/// docs`, `pub NAME, { field = value, … }`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Result, Token, Visibility, braced};

use crate::keys::nearest_of;
use crate::value::text;

/// What becomes of a field: one type for each macro.
pub(crate) trait FieldUse: Copy + 'static {
    /// Every field of the macro, in the order the documentation lists them.
    const FIELDS: &'static [(&'static str, Self)];
}

/// What stands between the parentheses.
pub(crate) struct Declaration<U> {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// Name of the constant.
    pub(crate) name: Ident,
    pub(crate) fields: Vec<Field<U>>,
}

pub(crate) struct Field<U> {
    pub(crate) ident: Ident,
    pub(crate) using: U,
    pub(crate) value: Expr,
}

impl<U: FieldUse> Parse for Declaration<U> {
    fn parse(input: ParseStream) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let name = input.parse()?;
        input.parse::<Token![,]>()?;
        let content;
        braced!(content in input);
        input.parse::<Option<Token![,]>>()?;
        let fields = Punctuated::<Field<U>, Token![,]>::parse_terminated(&content)?;
        Ok(Self {
            attributes,
            visibility,
            name,
            fields: fields.into_iter().collect(),
        })
    }
}

impl<U: FieldUse> Parse for Field<U> {
    fn parse(input: ParseStream) -> Result<Self> {
        let ident = Ident::parse_any(input)?;
        let word = ident.to_string();
        let names = U::FIELDS.iter().map(|(name, _)| *name);
        let field = U::FIELDS.iter().find(|(name, _)| *name == word);
        let &(_, using) = field.ok_or_else(|| {
            let all: Vec<_> = names.clone().collect();
            let message = match nearest_of(names, &word) {
                Some(near) => format!("unknown field `{word}`; did you mean `{near}`?"),
                None => format!("unknown field `{word}`; the fields are {}", all.join(", ")),
            };
            Error::new(ident.span(), message)
        })?;
        // As in a struct, or as in the attribute.
        if input.peek(Token![:]) {
            input.parse::<Token![:]>()?;
        } else {
            input.parse::<Token![=]>()?;
        }
        let value = input.parse()?;
        Ok(Self {
            ident,
            using,
            value,
        })
    }
}

impl<U> Declaration<U> {
    /// Checks that each field is given once, and that there is a `name`; the error for a declaration without one is
    /// `missing`.
    pub(crate) fn check(&self, missing: &str) -> Result<()> {
        for (at, field) in self.fields.iter().enumerate() {
            let before = &self.fields[..at];
            if before.iter().any(|other| other.ident == field.ident) {
                let message = format!("`{}` is given more than once", field.ident);
                return Err(Error::new(field.ident.span(), message));
            }
        }
        match self.get("name") {
            Some(_) => Ok(()),
            None => Err(Error::new(self.name.span(), missing)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Field<U>> {
        self.fields.iter().find(|field| field.ident == name)
    }
}

impl<U> Field<U> {
    /// A string literal that is not empty.
    pub(crate) fn text(&self) -> Result<TokenStream> {
        match text(&self.value) {
            Some(text) if !text.value().is_empty() => Ok(quote!(#text)),
            _ => {
                let message = format!("`{}` takes a string literal that is not empty", self.ident);
                Err(Error::new(self.value.span(), message))
            }
        }
    }
}
