/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Misbehaviour on demand. The switches are constants by the time the kernel verifies the programs,
 * so what was not asked for is not even part of them.
 */
#pragma once

#include "kernel.h"

/* Filled in by the loader before loading: the layout is repeated in src/object.rs. */
struct switches {
	u64 slice_ns;
	u64 stall_after_ns; /* 0: never */
	u64 error_after;    /* insertions; 0: never */
	u64 burn_ns;
	u64 wrong_cpu;
	u64 crowd;
	u64 no_shortcut; /* every task passes through enqueue() */
	u64 fail_verify;
	u64 ignore_weights;
	u64 refuse_after; /* tasks; 0: never */
	u64 loader;	 /* its tgid: it must stay able to tell what happened */
	u64 idle_cpu;	 /* its number and one; 0: none */
	char starve[64]; /* name of a cgroup; empty: none */
	char burn_cgroup[64]; /* likewise; empty: for all tasks */
	char pin[64]; /* as starve */
};
_Static_assert(sizeof(struct switches) == 12 * 8 + 3 * 64, "src/object.rs writes this");

SEC(".rodata.ktstr") const volatile struct switches switches = { .slice_ns = 20 * 1000 * 1000 };

/* Faults that are switched on from outside while the scheduler runs: a test's `bpf_map_write` does. */
SEC(".data.live") struct {
	u32 fail_now;  /* reports an error at the next insertion */
	bool stall_now; /* as --stall-after */
	char note[16];
} live;

struct knob {
	u32 unused;
	u32 fail; /* of knob 2: as fail_now */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct knob);
} knobs SEC(".maps");

/* The same by key 7. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, u64);
	__type(value, u32);
} told SEC(".maps");

#define STARVED_DSQ 1
#define STARVED_PERIOD_NS (4000ULL * 1000 * 1000)
#define STARVED_SLICE_NS (50 * 1000 * 1000)
#define MAX_CPUS 8192
/* A loop has no more steps than that, which a fast machine takes in a fifth of a second. */
#define MAX_BURN_STEPS (1 << 23)
#define MAX_BURN_ROUNDS 64

u64 attached_ns;
u64 insertions;
/* Tasks that began after the scheduler was attached. */
u64 attached_tasks;
/* Starved tasks that may run before the next period begins. */
s64 starved_turns;

static char told_to_fail[] = "scx-ktstr: told to fail by a write into a map, after %llu insertions";
static char asked_to_fail[] = "scx-ktstr: asked to fail after %llu insertions";

static bool is_kernel_thread(struct task_struct *p)
{
	return p->flags & PF_KTHREAD;
}

/* Whether one of the maps says so. */
static bool is_told_to_fail(void)
{
	struct knob *knob;
	u32 at = 2, *said;
	u64 key = 7;

	if (live.fail_now)
		return true;
	knob = bpf_map_lookup_elem(&knobs, &at);
	if (knob && knob->fail)
		return true;
	said = bpf_map_lookup_elem(&told, &key);
	return said && *said;
}

/* --error-after, and what maps say; also counts. */
static void count_insertion(void)
{
	u64 before = __sync_fetch_and_add(&insertions, 1);

	if (is_told_to_fail()) {
		unsigned long long data[] = { before };

		scx_bpf_error_bstr(told_to_fail, data, sizeof(data));
	}
	if (switches.error_after && before >= switches.error_after) {
		unsigned long long data[] = { switches.error_after };

		scx_bpf_error_bstr(asked_to_fail, data, sizeof(data));
	}
}

/* --burn-us */
static void burn(void)
{
	u64 until = bpf_ktime_get_ns() + switches.burn_ns;
	s32 round, step;

	bpf_for(round, 0, MAX_BURN_ROUNDS) {
		bpf_for(step, 0, MAX_BURN_STEPS) {
			if (bpf_ktime_get_ns() >= until)
				return;
		}
	}
}

/* --stall-after, or the map says so. */
static bool is_stalling(void)
{
	return live.stall_now ||
	       (switches.stall_after_ns &&
		bpf_ktime_get_ns() - attached_ns >= switches.stall_after_ns);
}

/*
 * --stall-after: programs wait for ever from then on. Init and the loader do not, nor do kernel
 * threads: the machine can still tell what happened.
 */
static bool is_left_out(struct task_struct *p)
{
	return !is_kernel_thread(p) && p->tgid != 1 && (u64)p->tgid != switches.loader;
}

/* --wrong-cpu: a CPU that the task may not use; for tasks that may use all, there is none. */
static s32 forbidden_cpu(struct task_struct *p)
{
	s32 cpus = scx_bpf_nr_cpu_ids();
	s32 cpu;

	bpf_for(cpu, 0, MAX_CPUS) {
		if (cpu >= cpus)
			break;
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			return cpu;
	}
	return cpus == 1 ? 1 : -1;
}

/* --idle-cpu: whether that is the CPU that is left idle. */
static bool is_left_idle(s32 cpu)
{
	return switches.idle_cpu && cpu == (s32)switches.idle_cpu - 1;
}

/* Another CPU than the one that is left idle, if the task may use one. */
static s32 other_cpu(struct task_struct *p, s32 cpu)
{
	s32 cpus = scx_bpf_nr_cpu_ids();
	s32 other;

	if (!is_left_idle(cpu))
		return cpu;
	bpf_for(other, 0, MAX_CPUS) {
		if (other >= cpus)
			break;
		if (!is_left_idle(other) && bpf_cpumask_test_cpu(other, p->cpus_ptr))
			return other;
	}
	return cpu;
}

/* Whether the task's own cgroup in the unified hierarchy is called so. */
static __always_inline bool is_in_cgroup(struct task_struct *p, const char *wanted)
{
	char name[sizeof(switches.starve)] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), p->cgroups->dfl_cgrp->kn->name);
	return !bpf_strncmp(name, sizeof(name), wanted);
}

/* --starve */
static bool is_starved(struct task_struct *p)
{
	return is_in_cgroup(p, (const char *)switches.starve);
}

/* --pin: the CPU on which a task was first queued in the cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, s32);
} pins SEC(".maps");

static s32 pinned_cpu(struct task_struct *p)
{
	s32 *pin = bpf_task_storage_get(&pins, p, 0, 0);

	if (pin)
		return *pin;
	pin = bpf_task_storage_get(&pins, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!pin)
		return -1;
	*pin = scx_bpf_task_cpu(p);
	return *pin;
}

/* --refuse-after: whether the kernel is told that there is no room for one more task. */
static bool is_refused(void)
{
	return switches.refuse_after &&
	       __sync_fetch_and_add(&attached_tasks, 1) >= switches.refuse_after;
}

/* --burn-cgroup */
static bool is_burnt_for(struct task_struct *p)
{
	return !switches.burn_cgroup[0] || is_in_cgroup(p, (const char *)switches.burn_cgroup);
}

/* Whether a fault took the task: the scheduler has nothing more to do with it. */
static bool fault_takes(struct task_struct *p, u64 enq_flags)
{
	if (switches.burn_ns && is_burnt_for(p))
		burn();
	if (is_stalling() && is_left_out(p))
		return true;
	if (switches.wrong_cpu) {
		s32 cpu = forbidden_cpu(p);

		if (cpu >= 0) {
			insert(p, SCX_DSQ_LOCAL_ON | cpu, switches.slice_ns, enq_flags);
			return true;
		}
	}
	/* --idle-cpu: those that may use no other run there all the same. */
	if (switches.idle_cpu) {
		s32 left_idle = (s32)switches.idle_cpu - 1;

		if (bpf_cpumask_test_cpu(left_idle, p->cpus_ptr) &&
		    other_cpu(p, left_idle) == left_idle) {
			insert(p, SCX_DSQ_LOCAL_ON | left_idle, switches.slice_ns, enq_flags);
			return true;
		}
	}
	/* --crowd: the queue of one CPU, however many there are. */
	if (switches.crowd && !is_kernel_thread(p)) {
		insert(p, SCX_DSQ_LOCAL_ON | bpf_cpumask_first(p->cpus_ptr), switches.slice_ns,
		       enq_flags);
		return true;
	}
	if (switches.pin[0] && is_in_cgroup(p, (const char *)switches.pin)) {
		s32 cpu = pinned_cpu(p);

		if (cpu >= 0) {
			insert(p, SCX_DSQ_LOCAL_ON | cpu, switches.slice_ns, enq_flags);
			return true;
		}
	}
	if (switches.starve[0] && is_starved(p)) {
		insert(p, STARVED_DSQ, STARVED_SLICE_NS, enq_flags);
		return true;
	}
	return false;
}

/* Whether one of the starved tasks was given its turn. */
static bool starved_runs(void)
{
	if (!switches.starve[0] || starved_turns <= 0 || !move_to_local(STARVED_DSQ))
		return false;
	__sync_fetch_and_sub(&starved_turns, 1);
	return true;
}

struct starved_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct starved_timer);
} starved_timer SEC(".maps");

/* Each period everyone who waits gets one turn; idle CPUs would not look by themselves. */
static int starved_period(void *map, u32 *key, struct starved_timer *own)
{
	s32 cpus = scx_bpf_nr_cpu_ids();
	s32 cpu;

	starved_turns = scx_bpf_dsq_nr_queued(STARVED_DSQ);
	bpf_for(cpu, 0, MAX_CPUS) {
		if (cpu >= cpus)
			break;
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	}
	bpf_timer_start(&own->timer, STARVED_PERIOD_NS, 0);
	return 0;
}

static s32 init_faults(void)
{
	struct starved_timer *own;
	u32 key = 0;
	s32 err;

	attached_ns = bpf_ktime_get_ns();
	if (!switches.starve[0])
		return 0;
	err = scx_bpf_create_dsq(STARVED_DSQ, -1);
	if (err)
		return err;
	own = bpf_map_lookup_elem(&starved_timer, &key);
	if (!own)
		return -1;
	err = bpf_timer_init(&own->timer, &starved_timer, CLOCK_MONOTONIC);
	if (err)
		return err;
	bpf_timer_set_callback(&own->timer, starved_period);
	return bpf_timer_start(&own->timer, STARVED_PERIOD_NS, 0);
}

/* --fail-verify: a number is not a pointer. */
SEC("?syscall")
int rejected(void *ctx)
{
	return *(int *)bpf_ktime_get_ns();
}

/*
 * --verifier-loop: correct, and tens of thousands of instructions to walk through. With --fail-verify
 * it goes wrong at the very end.
 */
SEC("?syscall")
int long_way(void *ctx)
{
	u32 i, sum = 0;

	for (i = 0; i < 6000; i++)
		sum += bpf_get_prandom_u32() >> (i & 7);
	if (switches.fail_verify)
		return *(int *)bpf_ktime_get_ns();
	return sum & 1;
}
