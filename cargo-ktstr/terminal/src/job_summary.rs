//! The summary of a CI job.

use std::fs::OpenOptions;
use std::io::Write;

use ktstr_core::host::Host;

use crate::tell;

/// The file that GitHub Actions shows as the summary of a job.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Appends Markdown to the summary of the job, if this process is one: if `GITHUB_STEP_SUMMARY` of `host` names a file. It is
/// no failure if that cannot be written; standard error gets a warning.
pub fn append_to_job_summary(host: &Host, markdown: &str) {
    let Some(path) = host.non_empty_var(SUMMARY) else {
        return;
    };
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let written = opened.and_then(|mut file| file.write_all(markdown.as_bytes()));
    if let Err(error) = written {
        tell(format_args!(
            "warning: {SUMMARY}={}: {error}\n",
            path.display()
        ));
    }
}
