//! `declare_scheduler!`: a scheduler as a constant, registered.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, LitStr, Result};

use crate::declaration::{Declaration, Field, FieldUse};
use crate::value::text;

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Use {
    /// A string literal that can be part of a test's name.
    Name,
    /// The same, in a field that is `None` without it.
    OptionalText,
    /// An array.
    Slice,
    /// An array of string literals that are not empty.
    Texts,
    /// An array of names of presets.
    Presets,
    /// A topology: an expression, or its four numbers in parentheses.
    Topology,
    /// An argument with `{file}` in it, and the path that it stands for.
    ConfigFileDef,
    /// An expression, in a field that is `None` without it.
    Optional,
    /// An expression.
    Plain,
    /// Part of where the scheduler comes from.
    Source,
}

impl FieldUse for Use {
    const FIELDS: &'static [(&'static str, Self)] = &[
        ("name", Use::Name),
        ("binary", Use::Source),
        ("binary_path", Use::Source),
        ("kernel_builtin_enable", Use::Source),
        ("kernel_builtin_disable", Use::Source),
        ("sched_args", Use::Slice),
        ("kargs", Use::Slice),
        ("sysctls", Use::Slice),
        ("topology", Use::Topology),
        ("constraints", Use::Optional),
        ("cgroup_parent", Use::OptionalText),
        ("config_file", Use::OptionalText),
        ("config_file_def", Use::ConfigFileDef),
        ("assert", Use::Plain),
        ("kernels", Use::Texts),
        ("verifier_exclude_topologies", Use::Presets),
        ("allow_kernel_warnings", Use::Texts),
    ];
}

impl Declaration<Use> {
    /// The constant and its registration.
    pub(crate) fn expand(&self) -> Result<TokenStream> {
        let missing = "a scheduler needs a `name`, such as name = \"my-scheduler\"";
        self.check(missing)?;
        let source = self.source()?;
        let fields = self
            .fields
            .iter()
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
            #visibility const #name: ::ktstr_harness::Scheduler = ::ktstr_harness::Scheduler {
                #(#fields,)*
                source: #source,
                manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                ..::ktstr_harness::Scheduler::EEVDF
            };
            ::ktstr_harness::private::inventory::submit! {
                ::ktstr_harness::scheduler::Registered(#name)
            }
        })
    }

    /// Exactly one of the ways to come by a scheduler.
    fn source(&self) -> Result<TokenStream> {
        let source = quote!(::ktstr_harness::scheduler::SchedulerSource);
        let [binary, path, enable, disable] = [
            "binary",
            "binary_path",
            "kernel_builtin_enable",
            "kernel_builtin_disable",
        ]
        .map(|name| self.get(name));
        let given = [binary, path, enable.or(disable)];
        let mut given = given.into_iter().flatten();
        let wants = "give exactly one of `binary`, `binary_path`, and `kernel_builtin_enable` with `kernel_builtin_disable`";
        if given.next().is_none() {
            return Err(Error::new(
                self.name.span(),
                format!("where does it come from? {wants}"),
            ));
        }
        if let Some(second) = given.next() {
            return Err(Error::new(second.ident.span(), wants));
        }
        match (binary, path, enable, disable) {
            (Some(field), ..) => {
                let package = field.text()?;
                Ok(quote!(#source::Package(#package)))
            }
            (_, Some(field), ..) => {
                let path = field.text()?;
                Ok(quote!(#source::Path(#path)))
            }
            (.., Some(enable), Some(disable)) => {
                let (enable, disable) = (enable.array()?, disable.array()?);
                Ok(quote!(#source::KernelBuiltin { enable: &#enable, disable: &#disable }))
            }
            (.., enable, disable) => {
                let span = enable
                    .or(disable)
                    .map_or(Span::call_site(), |f| f.ident.span());
                Err(Error::new(span, wants))
            }
        }
    }
}

impl Field<Use> {
    fn initializer(&self) -> Result<TokenStream> {
        let (name, value) = (format_ident!("{}", self.ident), &self.value);
        let some = |value: TokenStream| quote!(#name: ::core::option::Option::Some(#value));
        Ok(match self.using {
            Use::Name => {
                let text = self.name()?;
                quote!(#name: #text)
            }
            Use::OptionalText => some(self.text()?),
            Use::Slice => {
                let array = self.array()?;
                quote!(#name: &#array)
            }
            Use::Texts => {
                let texts = self.texts()?;
                quote!(#name: &[#(#texts),*])
            }
            Use::Presets => {
                let presets = self.texts()?.into_iter().map(|text| {
                    // The compiler's complaint of an unknown name shows that name.
                    quote_spanned!(text.span()=> ::ktstr_harness::private::Preset::constant(#text))
                });
                quote!(#name: &[#(#presets),*])
            }
            Use::Topology => match value {
                Expr::Tuple(levels) if levels.elems.len() == 4 => {
                    let levels = levels.elems.iter();
                    some(quote!(::ktstr_harness::private::Topology::constant(#(#levels),*)))
                }
                value => some(quote!(#value)),
            },
            Use::ConfigFileDef => some(self.config_file_def()?),
            Use::Optional => some(quote!(#value)),
            Use::Plain => quote!(#name: #value),
            Use::Source => unreachable!("these are no fields of their own"),
        })
    }

    fn config_file_def(&self) -> Result<TokenStream> {
        let parts = match &self.value {
            Expr::Tuple(parts) if parts.elems.len() == 2 => {
                text(&parts.elems[0]).zip(text(&parts.elems[1]))
            }
            _ => None,
        };
        let wrong = |message| Err(Error::new(self.value.span(), message));
        match parts {
            None => wrong(
                "`config_file_def` takes an argument and a path in the guest: (\"--config={file}\", \"/run/sched.json\")",
            ),
            Some((arg, _)) if !arg.value().contains("{file}") => wrong(
                "the argument of `config_file_def` must contain `{file}`, which the path replaces",
            ),
            Some((_, path)) if !path.value().starts_with('/') || path.value().ends_with('/') => {
                wrong(
                    "the path of `config_file_def` is that of a file in the guest and begins with `/`",
                )
            }
            Some((arg, path)) => {
                Ok(quote!(::ktstr_harness::scheduler::ConfigFileDef { arg: #arg, path: #path }))
            }
        }
    }

    fn name(&self) -> Result<TokenStream> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text(&self.value) {
            Some(text) if !text.value().is_empty() && text.value().chars().all(plain) => {
                Ok(quote!(#text))
            }
            _ => {
                let message = "`name` takes a string literal of letters, digits, `.`, `_` and `-`: tests are named by it";
                Err(Error::new(self.value.span(), message))
            }
        }
    }

    fn texts(&self) -> Result<Vec<LitStr>> {
        let wrong = |at: &Expr| {
            let message = format!(
                "`{}` takes an array of string literals that are not empty",
                self.ident
            );
            Error::new(at.span(), message)
        };
        let Expr::Array(array) = &self.value else {
            return Err(wrong(&self.value));
        };
        let element = |element: &Expr| match text(element) {
            Some(text) if !text.value().is_empty() => Ok(text),
            _ => Err(wrong(element)),
        };
        array.elems.iter().map(element).collect()
    }

    fn array(&self) -> Result<TokenStream> {
        match &self.value {
            Expr::Array(array) => Ok(quote!(#array)),
            other => {
                let message = format!("`{}` takes an array: [\"…\", \"…\"]", self.ident);
                Err(Error::new(other.span(), message))
            }
        }
    }
}
