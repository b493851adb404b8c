//! A topology as people type it.

use ktstr_core::Topology;

/// Reads a topology from four numbers, NUMA nodes, LLCs, cores per LLC and threads per core, or from its short form.
///
/// ```
/// use ktstr_driver::shell::parse_topology;
///
/// assert_eq!(parse_topology("1,2,4,1")?, "1n2l4c1t".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_topology(text: &str) -> Result<Topology, ParseShapeError> {
    let numbers: Vec<&str> = text.split(',').map(str::trim).collect();
    let short = match numbers[..] {
        [nodes, llcs, cores, threads] => format!("{nodes}n{llcs}l{cores}c{threads}t"),
        [short] => short.to_owned(),
        _ => return Err(ParseShapeError::Numbers),
    };
    Ok(short.parse()?)
}

/// Text that is not a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseShapeError {
    /// There are more or fewer numbers.
    #[error("four numbers, such as 1,2,4,1")]
    Numbers,
    /// There is no such machine.
    #[error(transparent)]
    Topology(#[from] ktstr_core::ParseTopologyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_topology_are_read() {
        let expected = Topology::new(1, 2, 4, 1).unwrap();
        for text in ["1,2,4,1", "1, 2, 4, 1", "1n2l4c1t"] {
            assert_eq!(parse_topology(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "1,2,4",
            "1,2,4,1,1",
            "0,1,1,1",
            "2,3,1,1",
            "1,+2,4,1",
            "x",
        ] {
            assert!(parse_topology(text).is_err(), "{text}");
        }
    }
}
