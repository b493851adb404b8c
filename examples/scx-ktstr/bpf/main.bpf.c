/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A small fair scheduler for sched_ext: one queue for the whole machine, ordered by virtual time.
 *
 * Virtual time is CPU time over weight. The task that has had least of it runs next. A task that
 * wakes up goes to an idle CPU at once, if there is one.
 */
#include "kernel.h"
#include "faults.h"

char _license[] SEC("license") = "Dual MIT/GPL";

#define SHARED_DSQ 0
/* scx.weight of a task of nice 0 */
#define NORMAL_WEIGHT 100

/* The virtual time of the task that came last onto a CPU; races make it stale, never wrong. */
u64 vtime_now;

/* How the kernel ended the scheduler: src/object.rs reads it. */
SEC(".data.exit") struct {
	u32 recorded;
	u32 kind;
	s64 code;
	char reason[128];
	char message[1024];
} exit_record;
_Static_assert(sizeof(exit_record) == 16 + 128 + 1024, "src/object.rs reads this");

static char state_line[] = "scx-ktstr: %llu insertions, %llu waiting, virtual time %llu";

struct task_ctx {
	/* The part of se.sum_exec_runtime that is in its virtual time. */
	u64 charged_runtime;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} task_ctxs SEC(".maps");

static bool is_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* Adds what @p ran since it came onto its CPU, or was last charged, to its virtual time. */
static void charge(struct task_struct *p)
{
	struct task_ctx *own = bpf_task_storage_get(&task_ctxs, p, 0, 0);
	u64 weight = switches.ignore_weights ? NORMAL_WEIGHT : p->scx.weight;
	u64 ran;

	if (!own || !weight)
		return;
	ran = p->se.sum_exec_runtime - own->charged_runtime;
	own->charged_runtime += ran;
	p->scx.dsq_vtime += ran * NORMAL_WEIGHT / weight;
}

/*
 * Whether @prev, whose slice is over, is before everyone who waits and may run on @cpu. It is not in
 * the queue, and without a look at it two tasks would take turns whatever their weights.
 */
static bool goes_on(struct task_struct *prev, s32 cpu)
{
	struct task_struct *p;
	bool first = false;

	if (!(prev->scx.flags & SCX_TASK_QUEUED)) /* it wants to sleep */
		return false;
	charge(prev);
	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			first = is_before(prev->scx.dsq_vtime, p->scx.dsq_vtime);
			break;
		}
	}
	return first;
}

SEC("struct_ops/select_cpu")
s32 BPF_PROG(ktstr_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle && !switches.no_shortcut) {
		count_insertion();
		insert(p, SCX_DSQ_LOCAL, switches.slice_ns, 0);
	}
	return other_cpu(p, cpu);
}

SEC("struct_ops/enqueue")
void BPF_PROG(ktstr_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 earliest = vtime_now - switches.slice_ns;
	u64 vtime = p->scx.dsq_vtime;

	count_insertion();
	if (fault_takes(p, enq_flags))
		return;
	/* Sleeping earns at most one slice. */
	if (is_before(vtime, earliest))
		vtime = earliest;
	if (enq_flags & SCX_ENQ_LAST) /* nobody else wants this CPU */
		insert(p, SCX_DSQ_LOCAL, switches.slice_ns, enq_flags);
	else
		insert_vtime(p, SHARED_DSQ, switches.slice_ns, vtime, enq_flags);
}

SEC("struct_ops/dispatch")
void BPF_PROG(ktstr_dispatch, s32 cpu, struct task_struct *prev)
{
	if (is_left_idle(cpu) || starved_runs())
		return;
	if (prev && !switches.no_shortcut && goes_on(prev, cpu))
		prev->scx.slice = switches.slice_ns;
	else
		move_to_local(SHARED_DSQ);
}

SEC("struct_ops/running")
void BPF_PROG(ktstr_running, struct task_struct *p)
{
	struct task_ctx *own = bpf_task_storage_get(&task_ctxs, p, 0, 0);

	if (own)
		own->charged_runtime = p->se.sum_exec_runtime;
	if (is_before(vtime_now, p->scx.dsq_vtime))
		vtime_now = p->scx.dsq_vtime;
}

SEC("struct_ops/stopping")
void BPF_PROG(ktstr_stopping, struct task_struct *p, bool runnable)
{
	charge(p);
}

SEC("struct_ops.s/init_task")
s32 BPF_PROG(ktstr_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	/* Those that were there before the scheduler do not count. */
	if (args->fork && is_refused())
		return -12; /* ENOMEM */
	if (bpf_task_storage_get(&task_ctxs, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE))
		return 0;
	return -12; /* ENOMEM */
}

SEC("struct_ops/enable")
void BPF_PROG(ktstr_enable, struct task_struct *p)
{
	p->scx.dsq_vtime = vtime_now;
}

SEC("struct_ops/dump")
void BPF_PROG(ktstr_dump, struct scx_dump_ctx *about)
{
	unsigned long long data[] = { insertions, scx_bpf_dsq_nr_queued(SHARED_DSQ), vtime_now };

	scx_bpf_dump_bstr(state_line, data, sizeof(data));
}

SEC("struct_ops.s/init")
s32 BPF_PROG(ktstr_init)
{
	s32 err = scx_bpf_create_dsq(SHARED_DSQ, -1);

	return err ? err : init_faults();
}

SEC("struct_ops/exit")
void BPF_PROG(ktstr_exit, struct scx_exit_info *info)
{
	exit_record.kind = info->kind;
	exit_record.code = info->exit_code;
	bpf_probe_read_kernel_str(exit_record.reason, sizeof(exit_record.reason), info->reason);
	bpf_probe_read_kernel_str(exit_record.message, sizeof(exit_record.message), info->msg);
	/* A full barrier: whoever sees this sees the rest. */
	__sync_lock_test_and_set(&exit_record.recorded, 1);
}

SEC(".struct_ops.link")
struct sched_ext_ops ktstr = {
	.select_cpu = (void *)ktstr_select_cpu,
	.enqueue = (void *)ktstr_enqueue,
	.dispatch = (void *)ktstr_dispatch,
	.running = (void *)ktstr_running,
	.stopping = (void *)ktstr_stopping,
	.init_task = (void *)ktstr_init_task,
	.enable = (void *)ktstr_enable,
	.dump = (void *)ktstr_dump,
	.init = (void *)ktstr_init,
	.exit = (void *)ktstr_exit,
	.name = "ktstr",
};
