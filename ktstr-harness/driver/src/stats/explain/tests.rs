//! Every optional field of a record is explained.

use std::collections::BTreeSet;

use ktstr_core::host::HostContext;
use ktstr_core::record::{
    CgroupStats, CpuWakes, KernelBuild, MachineSetup, MetricDefinition, ProgramRun, Record,
    RunQueues, Sampled, SchedulerBuild, SchedulerExit, TaskWakes, Timings, Traced, VerifiedProgram,
    VerifierStats, WakeToRun, Wasted,
};
use ktstr_core::{KernelWarning, Taint, Verdict};
use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

use super::*;

/// A record that has every field.
const FULL: &str = r#"{
        "schema": 1, "test": "a", "case": "ktstr/a", "epoch": "1-1", "package": "p", "target": "t",
        "source": "tests/t.rs", "binary_id": "p::t", "attempt": 1, "stress": 1, "variant": "base",
        "topology": "1n1l2c1t", "scheduler": "mine", "kernel_version": "6.12.1",
        "kernel_label": "kernel_6_12_1",
        "kernel_build": { "key": "k", "base_config": "lean", "built": "2026-01-01T00:00:00Z" },
        "scheduler_build": { "package": "p", "profile": "release", "program_hash": "0", "args": [] },
        "machine": { "memory_mib": 512, "cpu_model": "c", "backend_version": "7" },
        "thresholds": { "max_gap_ms": 3.0 },
        "backend": "qemu", "performance_mode": false, "performance_mode_declared": true,
        "verdict": { "outcome": "pass", "details": [] },
        "cgroups": [{
            "name": "c", "workers": 1, "work_type": "spin", "cpuset": "0", "cpus_used": "0",
            "iterations": 1, "work_units": 1, "cpu_time_s": 1.0, "run_delay_s": 1.0,
            "under_sched_ext": 1, "migrations": 1, "max_gap_ms": 1.0, "spread_pct": 1.0,
            "p50_wake_latency_ns": 1, "p99_wake_latency_ns": 1
        }],
        "metrics": { "max_gap_ms": 1.0 },
        "metric_definitions": [{
            "name": "p.x", "unit": "s", "better": "lower", "absolute_gate": 0.0, "relative_gate_pct": 10.0
        }],
        "programs": [{ "name": "p", "end": "stopped", "wall_s": 1.0, "cpu_s": 1.0, "output_bytes": 1 }],
        "sampled": {
            "samples": 1, "wall_s": 1.0, "cpu_s": 1.0,
            "run_queues": { "read": { "imbalance": 1.0, "local_dsq": { "depth": 1, "cpu": 0, "at_s": 1.0 } } },
            "events": { "read": { "x": 1 } },
            "timeline": [{ "at_s": 1.0, "runnable": [1], "local_dsq": [1] }]
        },
        "traced": { "read": {
            "events": 9, "switches": 3, "lost": 0, "wall_s": 1.0, "cpu_s": 0.1, "buffer_kib": 1024,
            "wasted": {
                "cpu": 0, "ms": 1.0, "at_s": 1.0, "pid": 7, "task": "t", "waited_ms": 1.0, "moments": []
            },
            "wake_to_run": {
                "count": 1, "p50_ms": 1.0, "p99_ms": 1.0,
                "tasks": [{
                    "pid": 7, "task": "t", "count": 1, "mean_ms": 1.0, "max_ms": 1.0, "at_s": 1.0, "cpu": 0
                }],
                "cpus": [{ "cpu": 0, "count": 1, "p99_ms": 1.0, "max_ms": 1.0 }]
            }
        } },
        "verifier": {
            "stage": "load", "load_s": 1.0,
            "programs": [{ "name": "p", "prog_type": 27, "verified_insns": 1 }]
        },
        "kernel_warnings": [{ "line": "BUG", "allowed": true, "at_boot": true }],
        "taint": { "before": "", "added": "W" },
        "kernel_messages_lost": 1, "scheduler_restarts": 1,
        "scheduler_exit": { "kind": "SCX_EXIT_ERROR", "reason": "runtime error", "message": "" },
        "timings": { "wait_s": 1.0, "boot_s": 1.0, "scenario_s": 1.0, "teardown_s": 1.0 },
        "auto_repro": "reproduced",
        "host": {
            "kernel_release": "6", "arch": "x86_64", "cpu_model": "c", "online_cpus": "0",
            "allowed_cpus": "0", "numa_nodes": "0", "memory_mib": 1, "free_hugepages": 1,
            "virtualized": true
        },
        "project_commit": "abc", "run_source": "local", "started": "s", "finished": "f"
}"#;

fn full() -> Value {
    serde_json::from_str(FULL).unwrap()
}

/// Learns the names of a struct's fields from its `Deserialize`.
#[derive(Default)]
struct FieldsOf(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut FieldsOf {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields;
        Err(Error::custom("done"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields_of<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    let mut fields = FieldsOf::default();
    assert!(T::deserialize(&mut fields).is_err());
    assert!(!fields.0.is_empty());
    fields.0.iter().copied().collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_full_record_has_every_field() {
    let full = full();
    assert_eq!(keys(&full), fields_of::<Sidecar>());
    let at = |pointer: &str| full.pointer(pointer).unwrap();
    assert_eq!(keys(at("/kernel_build")), fields_of::<KernelBuild>());
    assert_eq!(keys(at("/scheduler_build")), fields_of::<SchedulerBuild>());
    assert_eq!(keys(at("/machine")), fields_of::<MachineSetup>());
    assert_eq!(keys(at("/cgroups/0")), fields_of::<CgroupStats>());
    assert_eq!(keys(at("/sampled")), fields_of::<Sampled>());
    assert_eq!(
        keys(at("/sampled/run_queues/read")),
        fields_of::<RunQueues>()
    );
    assert_eq!(
        keys(at("/metric_definitions/0")),
        fields_of::<MetricDefinition>()
    );
    assert_eq!(keys(at("/programs/0")), fields_of::<ProgramRun>());
    assert_eq!(keys(at("/traced/read")), fields_of::<Traced>());
    assert_eq!(keys(at("/traced/read/wasted")), fields_of::<Wasted>());
    let wakes = at("/traced/read/wake_to_run");
    assert_eq!(keys(wakes), fields_of::<WakeToRun>());
    assert_eq!(keys(&wakes["tasks"][0]), fields_of::<TaskWakes>());
    assert_eq!(keys(&wakes["cpus"][0]), fields_of::<CpuWakes>());
    assert_eq!(keys(at("/verifier")), fields_of::<VerifierStats>());
    assert_eq!(
        keys(at("/verifier/programs/0")),
        fields_of::<VerifiedProgram>()
    );
    assert_eq!(keys(at("/kernel_warnings/0")), fields_of::<KernelWarning>());
    assert_eq!(keys(at("/taint")), fields_of::<Taint>());
    assert_eq!(keys(at("/scheduler_exit")), fields_of::<SchedulerExit>());
    assert_eq!(keys(at("/timings")), fields_of::<Timings>());
    assert_eq!(keys(at("/host")), fields_of::<HostContext>());
}

/// Optional in the file, and never absent for a reader: there is a value for it.
const ALWAYS_KNOWN: &[&str] = &["attempt", "kernel_warnings[].at_boot"];

/// Never left out of the file, and may say that there is nothing.
const MAY_SAY_WHY: &[&str] = &["sampled.events", "sampled.run_queues"];

/// Every path of an object's field below `value`.
fn paths(value: &Value, pointer: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let pointer = format!("{pointer}/{key}");
                all.push(pointer.clone());
                paths(value, &pointer, all);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                paths(value, &format!("{pointer}/{at}"), all);
            }
        }
        _ => {}
    }
}

/// `/cgroups/0/name` as `cgroups[].name`.
fn name_of(pointer: &str) -> String {
    pointer[1..]
        .replace("/read/", "/")
        .replace("/0", "[]")
        .replace('/', ".")
}

#[test]
fn every_optional_field_is_explained() {
    let mut all = Vec::new();
    paths(&full(), "", &mut all);
    // Names in these are data.
    let maps = ["/thresholds/", "/metrics/", "/sampled/events/read/"];
    all.retain(|path| !maps.iter().any(|map| path.starts_with(map)));
    let mut optional: BTreeSet<String> = MAY_SAY_WHY.iter().map(|it| (*it).to_owned()).collect();
    for path in &all {
        let (parent, key) = path.rsplit_once('/').unwrap();
        let mut value = full();
        value
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(key);
        if serde_json::from_value::<Sidecar>(value).is_ok() {
            optional.insert(name_of(path));
        }
    }
    for known in ALWAYS_KNOWN {
        assert!(optional.remove(*known), "{known}");
    }
    let explained: BTreeSet<String> = FIELDS.iter().map(|field| field.name.to_owned()).collect();
    assert_eq!(explained.len(), FIELDS.len());
    assert_eq!(optional, explained);
}

fn own(sidecar: Sidecar) -> Own {
    Own::of(&Record {
        path: "/r/a.ktstr.json".into(),
        sidecar,
        failure_dump: None,
        kind: RecordKind::Latest,
    })
}

#[test]
fn a_field_is_absent_where_it_is_removed_and_nowhere_else() {
    let whole = own(serde_json::from_value(full()).unwrap());
    for (field, look) in FIELDS.iter().zip(&whole.fields) {
        assert_eq!(*look, Some(Ok(())), "{}", field.name);
    }
    for (at, field) in FIELDS.iter().enumerate() {
        let mut value = full();
        let pointer = format!("/{}", field.name.replace("[]", "/0").replace('.', "/"));
        let pointer = pointer
            .replace("run_queues/", "run_queues/read/")
            .replace("traced/", "traced/read/");
        if MAY_SAY_WHY.contains(&field.name) {
            *value.pointer_mut(&pointer).unwrap() = json!({ "absent": "no BTF" });
        } else {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            value
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(key);
        }
        let own = own(serde_json::from_value(value).unwrap());
        let Some(Err(reason)) = &own.fields[at] else {
            panic!("{}: {own:?}", field.name)
        };
        assert!(!reason.why.is_empty());
        assert_eq!(
            reason.fix.is_some(),
            reason.class == Class::Actionable,
            "{}",
            field.name
        );
    }
}

#[test]
fn a_run_that_was_too_short_needs_no_other_kernel() {
    let at = FIELDS
        .iter()
        .position(|field| field.name == "sampled.run_queues")
        .unwrap();
    for (why, class) in [
        ("the run ended before the first sample", Class::Expected),
        ("no BTF", Class::Actionable),
    ] {
        let mut value = full();
        value["sampled"]["run_queues"] = json!({ "absent": why });
        let own = own(serde_json::from_value(value).unwrap());
        let Some(Err(reason)) = &own.fields[at] else {
            panic!("{own:?}")
        };
        assert_eq!(reason.class, class);
    }
}

#[test]
fn records_are_grouped_by_kind_and_reason() {
    let host = || own(Sidecar::new("h", "host/h", Verdict::pass()));
    let skipped = || own(Sidecar::new("s", "ktstr/s", Verdict::skip("small")));
    let mut old = full();
    old.as_object_mut().unwrap().remove("machine");
    let old = own(serde_json::from_value(old).unwrap());
    let whole = own(serde_json::from_value(full()).unwrap());
    let records = [host(), host(), skipped(), old, whole];
    let (absent, present) = gather(&records);
    let machine = absent
        .iter()
        .find(|absence| absence.field == "machine")
        .unwrap();
    assert_eq!((machine.absent, machine.of), (4, 5));
    let groups: Vec<_> = machine
        .groups
        .iter()
        .map(|group| (group.kind, group.records, group.class))
        .collect();
    assert_eq!(
        groups,
        [
            (CaseKind::Host, 2, Class::Expected),
            (CaseKind::Skipped, 1, Class::Expected),
            (CaseKind::Cell, 1, Class::Actionable),
        ]
    );
    assert_eq!(machine.groups[0].example, "host/h");
    // Of the one record that has a machine, none lacks its model.
    assert!(present.contains(&"machine.cpu_model"), "{present:?}");
    let interrupted = own(Sidecar::new(
        "i",
        "ktstr/i",
        Verdict::fail(INTERRUPTED, "x"),
    ));
    assert_eq!(interrupted.kind, CaseKind::Unfinished);
    let refused = own(Sidecar::new("i", "ktstr/i", Verdict::fail("kernel", "x")));
    assert_eq!(refused.kind, CaseKind::NoMachine);
}
