//! Functions of the kernel that a test watches.

use std::fmt;

use super::error::TraceError;
use super::event::MAX_VALUES;

/// A function of the kernel whose calls are watched, with fields of its arguments.
///
/// The kernel finds the fields by its type information (BTF), so names are as in its source.
///
/// ```
/// use ktstr_harness::trace::Watch;
///
/// let enqueue = Watch::function("enqueue_task_scx").field("p->pid").field("p->scx.slice");
/// assert_eq!(enqueue.to_string(), "enqueue_task_scx(p->pid, p->scx.slice)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub(super) name: String,
    pub(super) fields: Vec<String>,
    pub(super) at_return: bool,
}

/// No name in the kernel is longer: `KSYM_NAME_LEN`.
const MAX_NAME: usize = 511;

impl Function {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fields: Vec::new(),
            at_return: false,
        }
    }

    /// Adds a field that is an integer, such as `p->scx.slice` of an argument `p`; at most 8.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.fields.push(field.into());
        self
    }

    /// Watches its returns in place of its calls; `$retval` is then a field as well.
    #[must_use]
    pub fn at_return(mut self) -> Self {
        self.at_return = true;
        self
    }

    /// Whether the kernel can be given this.
    pub(super) fn check(&self) -> Result<(), TraceError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        let is_field = |c: char| c.is_ascii_graphic() && !";#=".contains(c);
        let what = if self.name.is_empty()
            || self.name.len() > MAX_NAME
            || !self.name.chars().all(is_name)
        {
            "that is no name of a function".to_owned()
        } else if self.fields.len() > MAX_VALUES {
            format!("{} fields are more than {MAX_VALUES}", self.fields.len())
        } else if let Some(field) = self.fields.iter().find(|field| {
            field.is_empty() || field.len() > MAX_NAME || !field.chars().all(is_field)
        }) {
            format!("`{field}` is no field; give one such as p->scx.slice")
        } else {
            return Ok(());
        };
        Err(TraceError::Invalid {
            function: self.to_string(),
            what,
        })
    }

    /// As the kernel's `dynamic_events` has them.
    pub(super) fn arguments(&self) -> String {
        let fields = self.fields.iter().enumerate();
        let all: Vec<String> = fields
            .map(|(index, field)| format!("v{index}={field}"))
            .collect();
        all.join(" ")
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.fields.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_is_named() {
        let complaint = |function: Function| function.check().unwrap_err().to_string();
        assert_eq!(
            complaint(Function::new("a b")),
            "watch a b(): that is no name of a function"
        );
        assert!(complaint(Function::new("f").field("p->x\nf:x y")).contains("is no field"));
        let many = (0..9).fold(Function::new("f"), |function, _| function.field("p->pid"));
        assert!(complaint(many).ends_with("9 fields are more than 8"));
        let fine = Function::new("f").field("p->scx.slice").field("$retval");
        assert!(fine.check().is_ok());
        assert_eq!(fine.arguments(), "v0=p->scx.slice v1=$retval");
    }
}
