//! The hosts of runs, and this one.

use std::collections::HashMap;

use ktstr_core::host::{Host, HostContext};
use ktstr_core::record::RunStore;
use serde::Serialize;

use super::scan::{self, Unreadable};
use super::{SCHEMA, StatsError, run};

/// The host context of a run, or of this host: the document of `stats show-host --json` and `show-host --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run; absent for this host as it is now.
    pub run: Option<String>,
    /// The hosts: one, unless records of several or of a host that changed were brought together. The one with the
    /// newest record comes first.
    pub hosts: Vec<RecordedHost>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedHost {
    /// Records that tell of it; 0 for this host as it is now.
    pub records: usize,
    /// When the newest of them was begun, RFC 3339 in UTC; absent for this host as it is now.
    pub newest: Option<String>,
    /// The context. Records are of one host even if their numbers of free 2 MiB pages differ; this is the newest's.
    pub host: HostContext,
}

/// The hosts of the run called `name` in `store`.
pub fn host_of_run(store: &RunStore, name: &str) -> Result<HostReport, StatsError> {
    let run = run(store, name)?;
    let scanned = scan::read_dir(&run.path, |record| {
        Some((record.sidecar.started, record.sidecar.host))
    });
    let mut hosts: Vec<RecordedHost> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut read = scanned.items;
    read.sort_by(|(a, _), (b, _)| b.cmp(a));
    for (started, host) in read {
        let lasting = HostContext {
            free_hugepages: None,
            ..host.clone()
        };
        // It has no hash of its own.
        let key = serde_json::to_string(&lasting).unwrap_or_default();
        if let Some(at) = known.get(&key) {
            hosts[*at].records += 1;
        } else {
            known.insert(key, hosts.len());
            hosts.push(RecordedHost {
                records: 1,
                newest: Some(started),
                host,
            });
        }
    }
    let mut unreadable = scanned.unreadable;
    unreadable.sort();
    Ok(HostReport {
        schema: SCHEMA,
        run: Some(run.name),
        hosts,
        unreadable,
    })
}

/// This host as it is now: what its records would have.
pub fn live_host(host: &Host) -> HostReport {
    let context = HostContext::read(&host.root);
    HostReport {
        schema: SCHEMA,
        run: None,
        hosts: vec![RecordedHost {
            records: 0,
            newest: None,
            host: context,
        }],
        unreadable: Vec::new(),
    }
}
