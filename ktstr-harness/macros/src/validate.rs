//! Settings that contradict each other.
//!
//! What is written out is compared here, and the error is at the key. What only the compiler knows,
//! the value of a constant, becomes an [`Assertion`] of the expansion.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::checks;
use crate::errors::Errors;
use crate::field::field;
use crate::key::{Key, Part};
use crate::parse::{Setting, Settings};
use crate::value::Value;

/// `Topology::MAX_CPUS`.
const MAX_CPUS: u64 = 512;

/// Each count of a machine, with the keys that bound it.
const BOUNDS: [(Count, &str, &str); 3] = [
    (Count::Key("llcs"), "min_llcs", "max_llcs"),
    (Count::Key("numa_nodes"), "min_numa_nodes", "max_numa_nodes"),
    (Count::Cpus, "min_cpus", "max_cpus"),
];

/// Keys of the test case that mean nothing without a machine.
const OF_MACHINE: [&str; 15] = [
    "performance_mode",
    "no_perf_mode",
    "memory_mib",
    "auto_repro",
    "kaslr",
    "extra_include_files",
    "scheduler",
    "extra_sched_args",
    "allow_kernel_warnings",
    "allow_restarts",
    "payload",
    "workloads",
    "bpf_map_write",
    "post_vm",
    "cleanup_budget_ms",
];

/// A number of the machine of the base variant.
#[derive(Clone, Copy)]
enum Count {
    Key(&'static str),
    Cpus,
}

/// Something that must hold of the finished test case, for the compiler to see to.
pub(crate) struct Assertion {
    /// The key to blame.
    pub(crate) blame: Ident,
    pub(crate) condition: TokenStream,
    pub(crate) message: String,
}

/// Reports contradictions to `errors`; gives what is left for the compiler to see to.
pub(crate) fn validate(settings: &Settings, errors: &mut Errors) -> Vec<Assertion> {
    let mut judge = Judge {
        settings,
        errors,
        assertions: Vec::new(),
    };
    judge.host_only();
    judge.auto_repro();
    judge.performance_mode();
    judge.config();
    judge.restarts();
    judge.programs();
    judge.map_writes();
    judge.topology();
    for (count, min, max) in BOUNDS {
        judge.bounds(count, min, max);
    }
    judge.smt();
    judge.ranges();
    judge.assertions
}

/// A number that takes part in a comparison.
struct Operand<'a> {
    /// How messages call it.
    text: String,
    number: Number,
    /// The field of the finished test case.
    field: TokenStream,
    /// The key, where it is given.
    ident: Option<&'a Ident>,
}

/// What is known about a number.
#[derive(Clone, Copy)]
enum Number {
    Known(u64),
    /// The compiler knows.
    Constant,
    /// It was reported already.
    Refused,
}

struct Judge<'a> {
    settings: &'a Settings,
    errors: &'a mut Errors,
    assertions: Vec<Assertion>,
}

impl<'a> Judge<'a> {
    /// Without a machine, nothing can be said about it.
    fn host_only(&mut self) {
        if self.settings.switched_on("host_only").is_none() {
            return;
        }
        for Setting {
            key, part, ident, ..
        } in self.settings.iter()
        {
            let of_machine = match part {
                Part::Topology | Part::Constraints | Part::Optional => true,
                Part::Case => OF_MACHINE.contains(&key.name),
                Part::Checks => checks::is_sampled(key.name),
            };
            if of_machine {
                let name = key.name;
                self.errors.at(
                    ident.span(),
                    format!("`{name}` contradicts `host_only`: there is no machine to apply it to"),
                );
            }
        }
    }

    /// A failure that must be is not run again.
    fn auto_repro(&mut self) {
        if let Some(Setting { ident, .. }) = self.settings.switched_on("auto_repro")
            && self.settings.switched_on("expect_err").is_some()
        {
            let message = "`auto_repro` contradicts `expect_err`: a failure that is expected is not run again";
            self.errors.at(ident.span(), message.to_owned());
        }
    }

    /// Host CPUs of one's own leave nothing to choose.
    fn performance_mode(&mut self) {
        if self.settings.switched_on("performance_mode").is_none() {
            return;
        }
        let others = [
            self.settings.switched_on("no_perf_mode"),
            self.settings.get("cpu_budget"),
        ];
        for Setting { key, ident, .. } in others.into_iter().flatten() {
            let name = key.name;
            let message = format!(
                "`{name}` contradicts `performance_mode`, which takes a host CPU for each of the machine's"
            );
            self.errors.at(ident.span(), message);
        }
    }

    /// Content for a file that the scheduler takes.
    fn config(&mut self) {
        let Some(Setting { ident, .. }) = self.settings.get("config") else {
            return;
        };
        let taken = field(Part::Case, "scheduler");
        self.assertions.push(Assertion {
            blame: ident.clone(),
            condition: quote!(#taken.config_file_def.is_some()),
            message: "`config` needs a `scheduler` that is declared with `config_file_def`"
                .to_owned(),
        });
    }

    /// What is not loaded does not restart.
    fn restarts(&mut self) {
        let Some(Setting { ident, .. }) = self.settings.switched_on("allow_restarts") else {
            return;
        };
        let scheduler = field(Part::Case, "scheduler");
        self.assertions.push(Assertion {
            blame: ident.clone(),
            condition: quote!(#scheduler.is_loaded()),
            message: "`allow_restarts` needs a `scheduler` that is loaded".to_owned(),
        });
    }

    /// Programs are told apart by their names.
    fn programs(&mut self) {
        let Some(Setting { ident, .. }) = self
            .settings
            .get("workloads")
            .or_else(|| self.settings.get("payload"))
        else {
            return;
        };
        let (payload, workloads) = (field(Part::Case, "payload"), field(Part::Case, "workloads"));
        self.assertions.push(Assertion {
            blame: ident.clone(),
            condition: quote!(::ktstr_harness::Payload::are_distinct(#payload, #workloads)),
            message: "two programs among `payload` and `workloads` have one name".to_owned(),
        });
    }

    /// What is not loaded has no maps.
    fn map_writes(&mut self) {
        let Some(Setting { ident, .. }) = self.settings.get("bpf_map_write") else {
            return;
        };
        let scheduler = field(Part::Case, "scheduler");
        self.assertions.push(Assertion {
            blame: ident.clone(),
            condition: quote!(#scheduler.is_loaded()),
            message: "`bpf_map_write` needs a `scheduler` that is loaded: it writes into its maps"
                .to_owned(),
        });
    }

    /// The four numbers are a machine.
    fn topology(&mut self) {
        let Some(blame) = self.settings.of(Part::Topology).last() else {
            return;
        };
        let (llcs, nodes) = (self.operand("llcs"), self.operand("numa_nodes"));
        if let (Number::Known(l), Number::Known(n)) = (llcs.number, nodes.number)
            && l % n != 0
        {
            let above = l.next_multiple_of(n);
            let fits = match above - n {
                0 => format!("`llcs = {above}`"),
                below => format!("`llcs = {below}` or `llcs = {above}`"),
            };
            let blame = llcs.ident.or(nodes.ident).unwrap_or(&blame.ident);
            self.errors.at(
                blame.span(),
                format!(
                    "{} is not a multiple of {}: try {fits}",
                    llcs.text, nodes.text
                ),
            );
        }
        if let Number::Known(cpus) = self.cpus().number
            && cpus > MAX_CPUS
        {
            self.errors.at(
                blame.ident.span(),
                format!(
                    "`llcs` x `cores` x `threads` is {cpus} CPUs; at most {MAX_CPUS} are supported"
                ),
            );
        }
    }

    /// The bounds leave room, and what is given of them holds for the test's own machine.
    fn bounds(&mut self, count: Count, min: &'static str, max: &'static str) {
        let (min, max) = (self.operand(min), self.operand(max));
        if let Some(blame) = max.ident.or(min.ident)
            && !self.at_most(&min, &max, blame, "no gauntlet preset is left")
        {
            return;
        }
        let own = match count {
            Count::Key(name) => self.operand(name),
            Count::Cpus => self.cpus(),
        };
        let why = "the base variant must satisfy its own constraint";
        if let Some(blame) = min.ident {
            self.at_most(&min, &own, blame, why);
        }
        if let Some(blame) = max.ident {
            self.at_most(&own, &max, blame, why);
        }
    }

    /// A test that requires SMT has it.
    fn smt(&mut self) {
        let Some(smt) = self.settings.switched_on("requires_smt") else {
            return;
        };
        let threads = self.operand("threads");
        match threads.number {
            Number::Known(1) => self.errors.at(
                smt.ident.span(),
                format!(
                    "`requires_smt` contradicts {}: set `threads = 2`",
                    threads.text
                ),
            ),
            Number::Constant => self.assertions.push(Assertion {
                blame: smt.ident.clone(),
                condition: {
                    let field = threads.field;
                    quote!(#field > 1)
                },
                message: "`requires_smt` contradicts `threads`, which is 1".to_owned(),
            }),
            Number::Known(_) | Number::Refused => {}
        }
    }

    /// Constants are within the range of their key, as literals are.
    fn ranges(&mut self) {
        for Setting {
            key,
            part,
            ident,
            value,
        } in self.settings.iter()
        {
            let field = field(*part, key.name);
            let (condition, wants) = match value {
                // `Topology::constant` sees to its own numbers.
                Value::Integer {
                    known: None, range, ..
                } if range.least == 1 && *part != Part::Topology => {
                    let condition = if *part == Part::Optional {
                        quote!(::core::matches!(#field, ::core::option::Option::Some(value)
                            if value >= 1))
                    } else {
                        quote!(#field >= 1)
                    };
                    (condition, "must be at least 1")
                }
                Value::Float { known: None, .. } => (
                    quote!(::core::matches!(#field, ::core::option::Option::Some(value)
                        if value >= 0.0 && value.is_finite())),
                    "must be finite and not negative",
                ),
                _ => continue,
            };
            self.assertions.push(Assertion {
                blame: ident.clone(),
                condition,
                message: format!("`{}` {wants}", key.name),
            });
        }
    }

    /// Sees to `low <= high`, here or in the expansion; whether it may still hold.
    fn at_most(&mut self, low: &Operand, high: &Operand, blame: &Ident, why: &str) -> bool {
        let message = format!("{} is above {}; {why}", low.text, high.text);
        match (low.number, high.number) {
            (Number::Known(l), Number::Known(h)) if l > h => {
                self.errors.at(blame.span(), message);
                return false;
            }
            (Number::Known(_), Number::Known(_)) | (Number::Refused, _) | (_, Number::Refused) => {}
            (Number::Constant, _) | (_, Number::Constant) => {
                let (low, high) = (&low.field, &high.field);
                self.assertions.push(Assertion {
                    blame: blame.clone(),
                    condition: quote!(#low <= #high),
                    message,
                });
            }
        }
        true
    }

    /// The number of the integer key `name`, given or by default.
    fn operand(&self, name: &'static str) -> Operand<'a> {
        let setting = self.settings.get(name);
        let (part, default) = Key::default_of(name);
        let inherits = self.settings.get("scheduler").is_some();
        let (number, text) = match setting.map(|setting| &setting.value) {
            None if inherits => (Number::Constant, format!("`{name}` of the scheduler")),
            None => (
                Number::Known(default),
                format!("`{name}` ({default} unless given)"),
            ),
            Some(Value::Integer {
                known: Some(number),
                ..
            }) => (Number::Known(*number), format!("`{name} = {number}`")),
            Some(Value::Integer { known: None, .. }) => (Number::Constant, format!("`{name}`")),
            Some(_) => (Number::Refused, format!("`{name}`")),
        };
        Operand {
            text,
            number,
            field: field(part, name),
            ident: setting.map(|setting| &setting.ident),
        }
    }

    /// The CPUs of the test's own machine.
    fn cpus(&self) -> Operand<'a> {
        let factors = ["llcs", "cores", "threads"].map(|name| self.operand(name).number);
        let number = factors
            .into_iter()
            .fold(Number::Known(1), |product, factor| {
                match (product, factor) {
                    (Number::Known(a), Number::Known(b)) => Number::Known(a.saturating_mul(b)),
                    (Number::Refused, _) | (_, Number::Refused) => Number::Refused,
                    (Number::Constant, _) | (_, Number::Constant) => Number::Constant,
                }
            });
        let formula = "`llcs` x `cores` x `threads`";
        Operand {
            text: match number {
                Number::Known(cpus) => format!("{formula} = {cpus}"),
                _ => formula.to_owned(),
            },
            number,
            field: field(Part::Topology, "cpus"),
            ident: None,
        }
    }
}
