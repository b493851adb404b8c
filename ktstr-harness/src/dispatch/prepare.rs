//! Asking the session for schedulers while nextest lists tests.
//!
//! Nextest starts no test before every binary has listed its own. A binary with tests of a scheduler that is a cargo
//! package therefore asks the session for the schedulers that its selected tests need, and prints its list when they are
//! built. No test waits for a build.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::Job;
use super::settings::Process;
use crate::runner::build::Package;
use crate::runner::{package, package_of_program};

/// Longer than the schedulers of any project take to build. The wait ends at once if the session ends.
const WAIT: Duration = Duration::from_secs(3600);

/// What a test binary asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// Nextest's name for the binary; none before nextest 0.9.138.
    pub binary_id: Option<String>,
    /// The binary.
    pub binary: PathBuf,
    /// Packages, and the cases that need them.
    pub packages: Vec<(Package, Vec<String>)>,
}

/// Returns when the session has built what the tests among `jobs` need that will run. Without a session, or where it
/// cannot be asked, that is at once: tests build for themselves then.
pub(super) fn wait_for_schedulers(jobs: &[Job], process: &Process) {
    let Some(builder) = process.session.as_ref().and_then(|it| it.builder.as_ref()) else {
        return;
    };
    let mut packages: BTreeMap<Package, Vec<String>> = BTreeMap::new();
    for job in jobs {
        let settings = &process.settings;
        let of_programs = job.programs();
        let of_programs = of_programs.filter_map(|it| package_of_program(it, settings));
        for package in package(job.scheduler(), settings)
            .into_iter()
            .chain(of_programs)
        {
            packages
                .entry(package)
                .or_default()
                .push(job.name().to_string());
        }
    }
    if packages.is_empty() {
        return;
    }
    let request = BuildRequest {
        binary_id: process.binary_id.clone(),
        binary: process.settings.binary.clone(),
        packages: packages.into_iter().collect(),
    };
    let _ = ask(builder, &request);
}

/// Sends `request` to `builder` and waits until it hangs up.
fn ask(builder: &str, request: &BuildRequest) -> io::Result<()> {
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(builder)?)?;
    stream.write_all(&serde_json::to_vec(request)?)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.read(&mut [0]).map(|_| ())
}
