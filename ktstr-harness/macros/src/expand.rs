//! From settings to the code that registers a test.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, Lit, LitFloat};

use crate::field::CASE;
use crate::key::Part;
use crate::parse::{Setting, Settings};
use crate::validate::Assertion;
use crate::value::Value;

/// The numbers of a topology, in the order of `Topology::constant`.
const LEVELS: [&str; 4] = ["numa_nodes", "llcs", "cores", "threads"];

/// Registers the function `name` as a test.
pub(crate) fn registration(
    name: &Ident,
    settings: &Settings,
    assertions: &[Assertion],
) -> TokenStream {
    let case = format_ident!("{CASE}");
    let literal = name.unraw().to_string();
    let topology = topology(settings);
    let scheduler = scheduler(settings);
    let constraints = group(
        settings,
        Part::Constraints,
        &quote!(constraints: ::ktstr_harness::private::Constraints),
        &quote!(#scheduler.base_constraints()),
    );
    let checks = group(
        settings,
        Part::Checks,
        &quote!(checks: ::ktstr_harness::Checks),
        &quote!(#scheduler.assert),
    );
    let fields = settings
        .of(Part::Case)
        .chain(settings.of(Part::Optional))
        .map(initializer);
    let assertions = assertions.iter().map(|assertion| {
        let Assertion {
            blame,
            condition,
            message,
        } = assertion;
        quote_spanned!(blame.span()=> const _: () = ::core::assert!(#condition, #message);)
    });
    let twin = twin(name);
    quote! {
        const _: () = {
            // Settings may name every field.
            #[allow(clippy::needless_update)]
            const #case: ::ktstr_harness::TestCase = ::ktstr_harness::TestCase {
                module: ::core::module_path!(),
                #topology
                #constraints
                #checks
                #(#fields,)*
                ..::ktstr_harness::TestCase::new(
                    #literal,
                    ::ktstr_harness::test::Location {
                        file: ::core::file!(),
                        line: ::core::line!(),
                    },
                    #name,
                )
            };
            #(#assertions)*
            ::ktstr_harness::private::inventory::submit! {
                ::ktstr_harness::registry::Registered(#case)
            }
        };
        #twin
    }
}

/// The constant that the test's scheduler is.
fn scheduler(settings: &Settings) -> TokenStream {
    if let Some(Value::Scheduler(path)) = settings.get("scheduler").map(|setting| &setting.value) {
        quote!(#path)
    } else {
        quote!(::ktstr_harness::Scheduler::EEVDF)
    }
}

/// Whether what is not given comes from a scheduler.
fn inherits(settings: &Settings) -> bool {
    settings.get("scheduler").is_some()
}

/// `topology: …,` when there is one to say: of the levels that are not given, the scheduler's.
fn topology(settings: &Settings) -> Option<TokenStream> {
    if settings.of(Part::Topology).next().is_none() && !inherits(settings) {
        return None;
    }
    let scheduler = scheduler(settings);
    let levels = LEVELS.map(|level| {
        settings.get(level).map_or_else(
            || {
                let level = format_ident!("{level}");
                quote!(#scheduler.base_topology().#level())
            },
            |setting| value(&setting.value),
        )
    });
    Some(quote!(topology: ::ktstr_harness::private::Topology::constant(#(#levels),*),))
}

/// `start { …, ..base },` when a key of `part` is given, or all of it is the scheduler's.
fn group(
    settings: &Settings,
    part: Part,
    start: &TokenStream,
    base: &TokenStream,
) -> Option<TokenStream> {
    if settings.of(part).next().is_none() && !inherits(settings) {
        return None;
    }
    let fields = settings.of(part).map(initializer);
    Some(quote!(#start { #(#fields,)* ..#base },))
}

/// `field: value`
fn initializer(setting: &Setting) -> TokenStream {
    let (field, value) = (&setting.ident, value(&setting.value));
    if matches!(setting.part, Part::Checks | Part::Optional) {
        // What is not asked for is `None`.
        quote!(#field: ::core::option::Option::Some(#value))
    } else {
        quote!(#field: #value)
    }
}

fn value(value: &Value) -> TokenStream {
    match value {
        Value::Flag(flag) => quote!(#flag),
        Value::Integer { expr, .. } | Value::Content(expr) => quote!(#expr),
        Value::Float { expr, .. } => float(expr),
        Value::Texts(texts) => quote!(&[#(#texts),*]),
        Value::Text(text) => quote!(#text),
        Value::Scheduler(path) => quote!(&#path),
        Value::Payload(expr) => payload(expr),
        Value::Payloads(exprs) => {
            let payloads = exprs.iter().map(payload);
            quote!(&[#(#payloads),*])
        }
        Value::MapWrites(exprs) => quote!(&[#(#exprs),*]),
        Value::Function(path) => quote!(#path),
        Value::Refused => unreachable!("what was refused is not expanded"),
    }
}

/// A reference to the program that `expr` is, which a function may make: for that it needs an item of its own.
fn payload(expr: &Expr) -> TokenStream {
    quote!({
        const PAYLOAD: &::ktstr_harness::Payload = &#expr;
        PAYLOAD
    })
}

/// `expr`, with `15` turned into `15.0`.
fn float(expr: &Expr) -> TokenStream {
    match expr {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) if number.suffix().is_empty() => {
            let float = LitFloat::new(&format!("{}.0", number.base10_digits()), number.span());
            quote!(#float)
        }
        expr => quote!(#expr),
    }
}

/// A unit test that says what is wrong when there are unit tests at all.
///
/// rustc drops `#[test]` functions unless it builds for libtest, which is how cargo builds a target
/// without `harness = false`. libtest would find nothing to run there and report success.
fn twin(name: &Ident) -> TokenStream {
    let twin = format_ident!("{}_needs_harness_false", name.unraw());
    quote! {
        #[doc(hidden)]
        #[::core::prelude::v1::test]
        fn #twin() {
            ::core::panic!(
                "{}",
                ::ktstr_harness::private::needs_harness_false(
                    ::core::env!("CARGO_CRATE_NAME"),
                    // Cargo says this to integration tests alone, and that to programs.
                    ::core::option_env!("CARGO_TARGET_TMPDIR"),
                    ::core::option_env!("CARGO_BIN_NAME"),
                )
            );
        }
    }
}
