//! What keys are given: expressions that must be of the right kind.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Error, Expr, ExprLit, ExprPath, ExprUnary, Lit, LitStr, UnOp};

use crate::key::{Integer, Kind};

/// The value of a key. A number is known when it is written out; what a constant or any other
/// expression comes to is only seen by the compiler.
pub(crate) enum Value {
    Flag(bool),
    Integer {
        expr: Expr,
        known: Option<u64>,
        range: Integer,
    },
    Float {
        expr: Expr,
        known: Option<f64>,
    },
    Texts(Vec<LitStr>),
    Text(LitStr),
    Content(Expr),
    /// A path to a constant.
    Scheduler(ExprPath),
    Payload(Expr),
    Payloads(Vec<Expr>),
    MapWrites(Vec<Expr>),
    Function(ExprPath),
    /// Something that was reported as an error.
    Refused,
}

impl Value {
    /// `expr` as a value of `kind`.
    pub(crate) fn of_kind(kind: Kind, expr: Expr) -> Result<Self, Misfit> {
        let expr = unwrapped(expr);
        match kind {
            Kind::Flag => flag(&expr),
            Kind::Integer(range) => integer(expr, range),
            Kind::Float => float(expr),
            Kind::Texts => texts(&expr),
            Kind::Text => text(&expr)
                .map(Value::Text)
                .ok_or_else(|| Misfit::wrong_type(&expr)),
            Kind::Content => content(expr),
            Kind::Scheduler => match expr {
                Expr::Path(path) => Ok(Self::Scheduler(path)),
                other => Err(Misfit::wrong_type(&other)),
            },
            Kind::Function => match expr {
                Expr::Path(path) => Ok(Self::Function(path)),
                other => Err(Misfit::wrong_type(&other)),
            },
            Kind::Payload => constant(&expr).map(|()| Self::Payload(expr)),
            Kind::Payloads => constants(&expr).map(Self::Payloads),
            Kind::MapWrites => constants(&expr).map(Self::MapWrites),
        }
    }
}

/// Why an expression is no value of a key.
pub(crate) struct Misfit {
    place: TokenStream,
    /// What to say; without it, that the key takes something else.
    complaint: Option<String>,
}

impl Misfit {
    fn wrong_type(expr: &Expr) -> Self {
        Self {
            place: expr.to_token_stream(),
            complaint: None,
        }
    }

    fn value(expr: &Expr, complaint: impl Into<String>) -> Self {
        Self {
            place: expr.to_token_stream(),
            complaint: Some(complaint.into()),
        }
    }

    pub(crate) fn into_error(self, name: &str, kind: Kind) -> Error {
        let message = match self.complaint {
            Some(complaint) => format!("`{name}` {complaint}"),
            None => format!("`{name}` takes {}", kind.wants()),
        };
        Error::new_spanned(self.place, message)
    }
}

fn flag(expr: &Expr) -> Result<Value, Misfit> {
    match literal(expr) {
        Some(Lit::Bool(flag)) => Ok(Value::Flag(flag.value)),
        _ => Err(Misfit::wrong_type(expr)),
    }
}

fn integer(expr: Expr, range: Integer) -> Result<Value, Misfit> {
    refuse_negative(&expr)?;
    let known = match literal(&expr) {
        Some(Lit::Int(number)) => match number.base10_parse::<u64>() {
            Ok(value) if value < range.least => {
                let least = range.least;
                return Err(Misfit::value(&expr, format!("must be at least {least}")));
            }
            Ok(value) if value <= range.most => Some(value),
            _ => {
                let most = range.most;
                return Err(Misfit::value(&expr, format!("must be at most {most}")));
            }
        },
        Some(_) => return Err(Misfit::wrong_type(&expr)),
        None => None,
    };
    refuse_aggregate(&expr)?;
    Ok(Value::Integer { expr, known, range })
}

fn float(expr: Expr) -> Result<Value, Misfit> {
    refuse_negative(&expr)?;
    let known = match literal(&expr) {
        Some(Lit::Int(number)) => number.base10_parse::<f64>().ok(),
        Some(Lit::Float(number)) => number.base10_parse::<f64>().ok(),
        Some(_) => return Err(Misfit::wrong_type(&expr)),
        None => None,
    };
    if known.is_some_and(f64::is_infinite) {
        return Err(Misfit::value(&expr, "must be finite"));
    }
    refuse_aggregate(&expr)?;
    Ok(Value::Float { expr, known })
}

fn texts(expr: &Expr) -> Result<Value, Misfit> {
    let Expr::Array(array) = expr else {
        return Err(Misfit::wrong_type(expr));
    };
    let element = |element: &Expr| match text(element) {
        Some(text) if text.value().is_empty() => {
            Err(Misfit::value(element, "has an empty element"))
        }
        Some(text) => Ok(text),
        None => Err(Misfit::wrong_type(element)),
    };
    array
        .elems
        .iter()
        .map(element)
        .collect::<Result<_, _>>()
        .map(Value::Texts)
}

fn content(expr: Expr) -> Result<Value, Misfit> {
    match literal(&expr) {
        Some(Lit::Str(_)) | None => refuse_aggregate(&expr).map(|()| Value::Content(expr)),
        Some(_) => Err(Misfit::wrong_type(&expr)),
    }
}

/// Refuses what is never a constant of a type of ours.
fn constant(expr: &Expr) -> Result<(), Misfit> {
    match expr {
        Expr::Lit(_) | Expr::Array(_) | Expr::Tuple(_) | Expr::Closure(_) => {
            Err(Misfit::wrong_type(expr))
        }
        _ => Ok(()),
    }
}

/// The elements of an array of such constants.
fn constants(expr: &Expr) -> Result<Vec<Expr>, Misfit> {
    let Expr::Array(array) = expr else {
        return Err(Misfit::wrong_type(expr));
    };
    let element = |element: &Expr| match constant(element) {
        Ok(()) => Ok(element.clone()),
        Err(_) => Err(Misfit::wrong_type(element)),
    };
    array.elems.iter().map(element).collect()
}

/// The string literal that `expr` is.
pub(crate) fn text(expr: &Expr) -> Option<LitStr> {
    match literal(expr) {
        Some(Lit::Str(text)) => Some(text.clone()),
        _ => None,
    }
}

/// `expr` without the parentheses and the invisible groups of macro expansion around it.
fn unwrapped(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => unwrapped(*group.expr),
        Expr::Paren(paren) => unwrapped(*paren.expr),
        expr => expr,
    }
}

fn literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

/// Refuses `-1`; the compiler sees to negative constants.
fn refuse_negative(expr: &Expr) -> Result<(), Misfit> {
    match expr {
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_),
            expr: operand,
            ..
        }) if literal(operand).is_some() => Err(Misfit::value(expr, "must not be negative")),
        _ => Ok(()),
    }
}

/// Refuses what is never a single value, whatever its names mean.
fn refuse_aggregate(expr: &Expr) -> Result<(), Misfit> {
    match expr {
        Expr::Array(_) | Expr::Tuple(_) | Expr::Struct(_) | Expr::Closure(_) => {
            Err(Misfit::wrong_type(expr))
        }
        _ => Ok(()),
    }
}
