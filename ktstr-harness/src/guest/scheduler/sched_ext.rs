//! What the kernel reports of sched_ext and of CPU hotplug in sysfs.

use std::fs;

use ktstr_core::CpuSet;

/// `Documentation/scheduler/sched-ext.rst` of the kernel.
const STATE: &str = "/sys/kernel/sched_ext/state";

/// 1 where all ordinary tasks are the scheduler's, 0 where only those are that ask for it (`SCX_OPS_SWITCH_PARTIAL`).
const SWITCH_ALL: &str = "/sys/kernel/sched_ext/switch_all";

/// Tasks that a scheduler in partial mode refused (`p->scx.disallow`).
const NR_REJECTED: &str = "/sys/kernel/sched_ext/nr_rejected";

/// Schedulers that were enabled since the boot.
const ENABLE_SEQ: &str = "/sys/kernel/sched_ext/enable_seq";

/// CPUs that went online or offline since the boot, while a scheduler was loaded.
const HOTPLUG_SEQ: &str = "/sys/kernel/sched_ext/hotplug_seq";

/// CPUs that are online.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Says what is missing in a kernel without sched_ext.
pub(super) fn check_present() -> Result<(), String> {
    let why = || {
        format!(
            "this kernel has no sched_ext ({STATE} is missing); build it with CONFIG_SCHED_CLASS_EXT"
        )
    };
    state().map(drop).ok_or_else(why)
}

/// `enabled`, `disabled` or one of the states between them; `None` without sched_ext.
pub(crate) fn state() -> Option<String> {
    let state = fs::read_to_string(STATE).ok()?;
    Some(state.trim().to_owned())
}

pub(super) fn is_enabled() -> bool {
    state().as_deref() == Some("enabled")
}

/// Whether the enabled scheduler takes only tasks that ask for it.
pub(super) fn is_partial() -> bool {
    number(SWITCH_ALL) == Some(0)
}

/// How many schedulers were enabled since the boot.
pub(super) fn enable_seq() -> Option<u64> {
    number(ENABLE_SEQ)
}

/// How many tasks a scheduler in partial mode refused.
pub(super) fn rejected() -> u64 {
    number(NR_REJECTED).unwrap_or(0)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The CPUs that were online at a time, and the kernel's count of changes until then.
pub(super) struct OnlineCpus {
    cpus: Option<CpuSet>,
    hotplug_seq: Option<u64>,
}

impl OnlineCpus {
    pub(super) fn now() -> Self {
        Self {
            cpus: online(),
            hotplug_seq: number(HOTPLUG_SEQ),
        }
    }

    /// Which CPUs went offline or online since then, in words.
    pub(super) fn changes(&self) -> Option<String> {
        if let (Some(before), Some(after)) = (&self.cpus, online()) {
            let gone = before.difference(&after);
            let come = after.difference(before);
            let told = [(gone, "offline"), (come, "online")];
            let told: Vec<String> = told
                .iter()
                .filter(|(cpus, _)| !cpus.is_empty())
                .map(|(cpus, how)| match cpus.len() {
                    1 => format!("CPU {cpus} went {how}"),
                    _ => format!("CPUs {cpus} went {how}"),
                })
                .collect();
            if !told.is_empty() {
                return Some(told.join(", "));
            }
        }
        let changes = number(HOTPLUG_SEQ)?.checked_sub(self.hotplug_seq?)?;
        (changes > 0).then(|| "a CPU went offline or online meanwhile".to_owned())
    }
}

fn online() -> Option<CpuSet> {
    fs::read_to_string(ONLINE).ok()?.trim().parse().ok()
}
