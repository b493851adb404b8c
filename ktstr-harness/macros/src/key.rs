//! A key of `#[ktstr_test(...)]`: its name, and what it takes.

/// A word that the attribute knows.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written; also the name of the field it sets.
    pub(crate) name: &'static str,
    /// The piece of the test case that has the field.
    pub(crate) part: Part,
    /// What it takes.
    pub(crate) kind: Kind,
}

/// The piece of a `TestCase` that has a key's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Topology,
    Constraints,
    Checks,
    /// The `TestCase` itself.
    Case,
    /// The `TestCase` itself, in a field that is `None` when the key is not given.
    Optional,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Nothing, `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Integer(Integer),
    /// A number that is neither negative nor infinite.
    Float,
    /// String literals in brackets.
    Texts,
    /// A string literal.
    Text,
    /// Any expression that is a constant text.
    Content,
    /// A constant that `declare_scheduler!` made.
    Scheduler,
    /// A constant that `declare_payload!` made, or what its functions make of one.
    Payload,
    /// Several of these, in brackets.
    Payloads,
    /// Constants of type `MapWrite`, in brackets.
    MapWrites,
    /// A path to a function.
    Function,
}

/// The whole numbers that a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer {
    pub(crate) least: u64,
    pub(crate) most: u64,
    /// What holds when the key is not given; contradictions are judged by it.
    pub(crate) default: Option<u64>,
}

impl Kind {
    /// A count of something that is always there.
    pub(crate) const COUNT: Self = Self::Integer(Integer {
        least: 1,
        most: u32::MAX as u64,
        default: None,
    });

    /// A limit on something that is measured.
    pub(crate) const LIMIT: Self = Self::Integer(Integer {
        least: 0,
        most: u64::MAX,
        default: None,
    });

    pub(crate) const fn count(default: u64) -> Self {
        Self::Integer(Integer {
            least: 1,
            most: u32::MAX as u64,
            default: Some(default),
        })
    }

    pub(crate) const fn bound(default: u64) -> Self {
        Self::Integer(Integer {
            least: 0,
            most: u32::MAX as u64,
            default: Some(default),
        })
    }

    /// Completes "`key` takes …".
    pub(crate) fn wants(self) -> &'static str {
        match self {
            Self::Flag => "`true`, `false` or nothing",
            Self::Integer(_) => "a whole number",
            Self::Float => "a number",
            Self::Texts => "an array of string literals",
            Self::Text => "a string literal",
            Self::Content => "a text: a literal, a constant or `include_str!(…)`",
            Self::Scheduler => "the name of a scheduler that `declare_scheduler!` declared",
            Self::Payload => "a program that `declare_payload!` declared",
            Self::Payloads => "an array of programs that `declare_payload!` declared",
            Self::MapWrites => "an array such as `[MapWrite::number(\".bss\", \"variable\", 1)]`",
            Self::Function => "the name of a function, `fn(&FinishedRun<'_>) -> Result<()>`",
        }
    }
}

impl Key {
    pub(crate) const fn topology(name: &'static str, kind: Kind) -> Self {
        Self::new(name, Part::Topology, kind)
    }

    pub(crate) const fn constraint(name: &'static str, kind: Kind) -> Self {
        Self::new(name, Part::Constraints, kind)
    }

    pub(crate) const fn check(name: &'static str, kind: Kind) -> Self {
        Self::new(name, Part::Checks, kind)
    }

    pub(crate) const fn case(name: &'static str, kind: Kind) -> Self {
        Self::new(name, Part::Case, kind)
    }

    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self::new(name, Part::Optional, kind)
    }

    const fn new(name: &'static str, part: Part, kind: Kind) -> Self {
        Self { name, part, kind }
    }
}
