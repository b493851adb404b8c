//! The function below the attribute.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, Result, ReturnType, Signature, Type, Visibility};

use crate::errors::Errors;

const FORM: &str = "a test is of the form `fn name(ctx: &Ctx) -> Result<AssertResult>`";

/// A function that may be a test. Its body is none of our business.
pub(crate) struct Function {
    signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream) -> Result<Self> {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Self { signature })
    }
}

impl Function {
    /// Reads `item`; gives none, and an error, when it is not of the form of a test.
    pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Self> {
        let Ok(function) = syn::parse2::<Self>(item.clone()) else {
            errors.push(Error::new_spanned(
                item,
                format!("`#[ktstr_test]` is for functions: {FORM}"),
            ));
            return None;
        };
        let misfits = function.misfits();
        let fits = misfits.is_empty();
        for (place, what) in misfits {
            errors.push(Error::new_spanned(place, format!("{what}: {FORM}")));
        }
        fits.then_some(function)
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.signature.ident
    }

    /// What differs from the form: where, and what is wrong there.
    fn misfits(&self) -> Vec<(TokenStream, &'static str)> {
        let Signature {
            asyncness,
            unsafety,
            abi,
            ident,
            generics,
            inputs,
            variadic,
            output,
            ..
        } = &self.signature;
        let mut misfits = Vec::new();
        let mut refuse = |place: &dyn ToTokens, what| {
            let tokens = place.to_token_stream();
            if !tokens.is_empty() {
                misfits.push((tokens, what));
            }
        };
        refuse(asyncness, "a test cannot be async");
        refuse(unsafety, "a test cannot be unsafe");
        refuse(abi, "a test cannot be extern");
        refuse(&generics.params, "a test cannot be generic");
        refuse(&generics.where_clause, "a test cannot have a where clause");
        refuse(variadic, "a test cannot be variadic");
        match inputs.iter().collect::<Vec<_>>()[..] {
            [FnArg::Typed(argument)] if is_shared_reference(&argument.ty) => {}
            [FnArg::Typed(argument)] => refuse(&argument.ty, "a test takes `&Ctx`"),
            [FnArg::Receiver(receiver), ..] => refuse(receiver, "a test cannot be a method"),
            [] => refuse(ident, "this test takes no argument"),
            [_, _, ..] => refuse(inputs, "this test takes more than one argument"),
        }
        if let ReturnType::Default = output {
            refuse(ident, "this test returns nothing");
        }
        misfits
    }
}

fn is_shared_reference(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => reference.mutability.is_none(),
        Type::Group(group) => is_shared_reference(&group.elem),
        Type::Paren(paren) => is_shared_reference(&paren.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with `item`, without the reminder of the form.
    fn wrong(item: &str) -> Vec<String> {
        let mut errors = Errors::default();
        Function::parse(item.parse().unwrap(), &mut errors);
        let messages = errors.messages();
        messages
            .iter()
            .map(|message| {
                message
                    .strip_suffix(&format!(": {FORM}"))
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn takes_the_form() {
        for good in [
            "fn t(ctx: &Ctx) -> Result<AssertResult> { body }",
            "#[doc = \"x\"] pub(crate) fn t(_: &ktstr_harness::Ctx) -> Outcome {}",
            "fn r#type(&Ctx { ref x, .. }: &Ctx) -> Result<AssertResult> {}",
        ] {
            assert_eq!(wrong(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn names_every_misfit() {
        assert_eq!(wrong("struct S;"), ["`#[ktstr_test]` is for functions"]);
        assert_eq!(
            wrong("async unsafe extern \"C\" fn t<T>() where T: Copy {}"),
            [
                "a test cannot be async",
                "a test cannot be unsafe",
                "a test cannot be extern",
                "a test cannot be generic",
                "a test cannot have a where clause",
                "this test takes no argument",
                "this test returns nothing",
            ]
        );
        assert_eq!(wrong("fn t(ctx: Ctx) -> R {}"), ["a test takes `&Ctx`"]);
        assert_eq!(
            wrong("fn t(ctx: &mut Ctx) -> R {}"),
            ["a test takes `&Ctx`"]
        );
        assert_eq!(wrong("fn t(&self) -> R {}"), ["a test cannot be a method"]);
        assert_eq!(
            wrong("fn t(a: &Ctx, b: u32) -> R {}"),
            ["this test takes more than one argument"]
        );
    }
}
