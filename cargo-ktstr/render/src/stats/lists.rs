//! Lists of what there is: runs, metrics, values, hosts.

use std::fmt::Write;

use ktstr_core::Better;
use ktstr_core::host::HostContext;
use ktstr_core::text::line;
use ktstr_driver::stats::{HostReport, MetricList, RunList, Value, ValueList};

use super::{heading, push_unreadable};
use crate::Style;
use crate::paint::Ink;
use crate::table::{Column, Table};
use crate::text::{counted, wrap};

/// The runs, newest first.
pub fn runs(list: &RunList, style: &Style) -> String {
    let mut text = format!("runs: {}\n", style.path(&list.dir));
    if list.runs.is_empty() {
        let _ = writeln!(text, "  none yet: `{} test` makes one", style.program);
    } else {
        let names = Column::left("RUN", list.runs.iter().map(|run| line(&run.run)));
        let arch = |arch: &Option<String>| arch.as_deref().map_or("-".to_owned(), line);
        let columns = [
            Column::right("TESTS", list.runs.iter().map(|run| run.tests.to_string())),
            Column::left("DATE", list.runs.iter().map(|run| &run.date)),
            Column::left("ARCH", list.runs.iter().map(|run| arch(&run.arch))),
        ];
        text.push_str(&Table::new(&names, &columns).text(style.width));
    }
    push_unreadable(&mut text, &list.unreadable, style);
    text
}

/// The metrics, with the change that counts: it must be as large as both gates.
pub fn metrics(list: &MetricList, style: &Style) -> String {
    let rows = &list.metrics;
    let unit = |unit: &str| {
        if unit.is_empty() {
            "-".to_owned()
        } else {
            unit.to_owned()
        }
    };
    let better = |better| match better {
        Better::Higher => "higher",
        Better::Lower => "lower",
    };
    let names = Column::left("METRIC", rows.iter().map(|metric| metric.name));
    let columns = [
        Column::left("UNIT", rows.iter().map(|metric| unit(metric.unit))),
        Column::left("BETTER", rows.iter().map(|metric| better(metric.better))),
        Column::right(
            "ABSOLUTE",
            rows.iter().map(|metric| metric.absolute_gate.to_string()),
        ),
        Column::right(
            "RELATIVE",
            rows.iter()
                .map(|metric| format!("{} %", metric.relative_gate_pct)),
        ),
    ];
    Table::new(&names, &columns).text(style.width)
}

/// The distinct values of all runs, and how many records have each.
pub fn values(list: &ValueList, style: &Style) -> String {
    let mut text = format!("values and their records: {}\n", style.path(&list.dir));
    for (title, values) in [
        ("kernels", &list.kernels),
        ("commits", &list.commits),
        ("schedulers", &list.schedulers),
        ("topologies", &list.topologies),
        ("work types", &list.work_types),
    ] {
        heading(&mut text, title, style);
        if values.is_empty() {
            text.push_str("  none\n");
            continue;
        }
        let cell = |value: &Value| line(&value.value);
        let names = Column::left("", values.iter().map(cell));
        let records = |value: &Value| value.records.to_string();
        let counts = [Column::right("", values.iter().map(records))];
        text.push_str(&Table::new(&names, &counts).untitled().text(style.width));
    }
    push_unreadable(&mut text, &list.unreadable, style);
    text
}

/// The hosts of a run, or this one.
pub fn hosts(report: &HostReport, style: &Style) -> String {
    let mut text = String::new();
    for (at, host) in report.hosts.iter().enumerate() {
        let gap = if at > 0 { "\n" } else { "" };
        let title = match &report.run {
            Some(run) => format!(
                "host of {} in {}",
                counted(host.records, "record"),
                line(run)
            ),
            None => "this host".to_owned(),
        };
        let _ = writeln!(
            text,
            "{gap}{}",
            style.paint(Ink::Heading, wrap(&title, style.width, "\n"))
        );
        push_host(&mut text, &host.host, style);
    }
    if report.hosts.is_empty() {
        text.push_str("no record tells of a host\n");
    }
    push_unreadable(&mut text, &report.unreadable, style);
    text
}

fn push_host(text: &mut String, host: &HostContext, style: &Style) {
    const NAMES: usize = 18;
    let number = |number: Option<u64>, unit: &str| number.map(|it| format!("{it}{unit}"));
    let virtualized = host
        .virtualized
        .map(|it| if it { "yes" } else { "no" }.to_owned());
    let rows = [
        ("kernel", host.kernel_release.clone()),
        (
            "architecture",
            Some(host.arch.clone()).filter(|arch| !arch.is_empty()),
        ),
        ("CPU model", host.cpu_model.clone()),
        (
            "online CPUs",
            host.online_cpus.as_ref().map(ToString::to_string),
        ),
        (
            "allowed CPUs",
            host.allowed_cpus.as_ref().map(ToString::to_string),
        ),
        (
            "NUMA nodes",
            host.numa_nodes.as_ref().map(ToString::to_string),
        ),
        ("memory", number(host.memory_mib, " MiB")),
        ("free 2 MiB pages", number(host.free_hugepages, "")),
        ("virtualized", virtualized),
    ];
    for (name, value) in rows {
        let value = value.map_or("-".to_owned(), |value| line(&value));
        let joint = format!("\n  {:NAMES$}", "");
        let value = wrap(&value, style.width.saturating_sub(NAMES + 2), &joint);
        let _ = writeln!(text, "  {name:NAMES$}{value}");
    }
}
