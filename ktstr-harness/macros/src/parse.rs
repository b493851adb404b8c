//! From the tokens between the brackets to settings: keys with values of the right kind.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Result, Token};

use crate::errors::Errors;
use crate::key::{Key, Kind, Part};
use crate::keys;
use crate::value::Value;

/// A key and what it was given.
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) part: Part,
    /// The key where it is written.
    pub(crate) ident: Ident,
    pub(crate) value: Value,
}

/// The settings of one attribute, each key at most once.
#[derive(Default)]
pub(crate) struct Settings(Vec<Setting>);

impl Settings {
    /// Reads the attribute's tokens; what is wrong goes to `errors`, the rest is kept.
    pub(crate) fn parse(attribute: TokenStream, errors: &mut Errors) -> Self {
        let mut settings = Self::default();
        let read_all = |input: ParseStream| {
            while !input.is_empty() {
                if let Err(error) = settings.read_entry(input, errors) {
                    errors.push(error);
                }
                skip_past_comma(input);
            }
            Ok(())
        };
        // The closure never fails, and it reads to the end.
        let read = read_all.parse2(attribute);
        errors.keep(read);
        settings
    }

    /// Reads `key` or `key = value`.
    fn read_entry(&mut self, input: ParseStream, errors: &mut Errors) -> Result<()> {
        let ident = Ident::parse_any(input)
            .map_err(|error| Error::new(error.span(), "expected a key, such as `llcs = 2`"))?;
        let key = known(&ident)?;
        let &Key { name, part, kind } = key;
        let first = self.0.iter().all(|setting| setting.key.name != name);
        if !first {
            errors.at(ident.span(), format!("`{name}` is given more than once"));
        }
        let value = read_value(name, kind, &ident, input);
        let value = errors.keep(value).unwrap_or(Value::Refused);
        if first {
            self.0.push(Setting {
                key,
                part,
                ident,
                value,
            });
        }
        Ok(())
    }

    /// The setting of the key `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.iter().find(|setting| setting.key.name == name)
    }

    /// The settings in the order they are written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// The settings of one part of the test case.
    pub(crate) fn of(&self, part: Part) -> impl Iterator<Item = &Setting> {
        self.iter().filter(move |setting| setting.part == part)
    }

    /// The setting of the flag `name`, when it is switched on.
    pub(crate) fn switched_on(&self, name: &str) -> Option<&Setting> {
        self.get(name)
            .filter(|setting| matches!(setting.value, Value::Flag(true)))
    }
}

/// Leaves out what is left of an entry, and the comma behind it.
fn skip_past_comma(input: ParseStream) {
    while !input.is_empty() && !input.peek(Token![,]) {
        // A token tree is always there before the end.
        let _ = input.parse::<proc_macro2::TokenTree>();
    }
    let _ = input.parse::<Option<Token![,]>>();
}

/// Looks `ident` up among the keys.
fn known(ident: &Ident) -> Result<&'static Key> {
    let word = ident.to_string();
    Key::find(&word).ok_or_else(|| {
        let message = match keys::nearest(&word) {
            Some(near) => format!("unknown key `{word}`; did you mean `{near}`?"),
            None => format!("unknown key `{word}`; the keys are {}", key_list()),
        };
        Error::new(ident.span(), message)
    })
}

fn key_list() -> String {
    let names: Vec<_> = Key::all().map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}

/// Reads the value of the key `name`, from before the `=` to before the comma.
fn read_value(name: &str, kind: Kind, ident: &Ident, input: ParseStream) -> Result<Value> {
    let wants = kind.wants();
    if input.is_empty() || input.peek(Token![,]) {
        return match kind {
            Kind::Flag => Ok(Value::Flag(true)),
            _ => Err(Error::new(
                ident.span(),
                format!("`{name}` takes {wants}: write `{name} = …`"),
            )),
        };
    }
    if !input.peek(Token![=]) {
        return Err(input.error(format!("expected `=` after `{name}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(
            ident.span(),
            format!("`{name}` takes {wants}, and nothing follows the `=`"),
        ));
    }
    let expr = input.parse()?;
    if !input.is_empty() && !input.peek(Token![,]) {
        return Err(input.error(format!("expected `,` after the value of `{name}`")));
    }
    Value::of_kind(kind, expr).map_err(|misfit| misfit.into_error(name, kind))
}
