# --- checks ---

# Exit code of the first check that failed.
REFUSED=0

passed() {
  [[ -z $CHECK_ONLY ]] || printf 'ok      %s\n' "$*"
}

refuse() {
  local code=$1
  shift
  ((REFUSED != 0)) || REFUSED=$code
  if [[ -n $CHECK_ONLY ]]; then
    printf 'FAILED  %s\n' "$*"
  else
    say "$*"
  fi
}

# First line of a file; nothing where there is none.
first_line() {
  local line=
  { read -r line <"$1"; } 2>/dev/null || true
  printf '%s' "$line"
}

# Expands a list such as 0-2,8 into words.
cpu_list() {
  local part first last
  local -a parts
  IFS=, read -ra parts <<<"$1"
  for part in "${parts[@]}"; do
    first=${part%-*} last=${part#*-}
    for ((; first <= last; first++)); do printf '%s ' "$first"; done
  done
}

check_tools() {
  local tool
  local -a missing=()
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) ||
    refuse $EXIT_UNFIT "bash $BASH_VERSION: 4.4 or later is needed; install a newer bash"
  for tool in cat gzip mkfifo mktemp rm rmdir sha256sum sleep stat tail tar uname; do
    type -P "$tool" >/dev/null || missing+=("$tool")
  done
  if ((${#missing[@]} > 0)); then
    refuse $EXIT_UNFIT "missing programs: ${missing[*]}; install coreutils, tar and gzip"
    return
  fi
  if [[ $(uname -m) != "$NEED_ARCH" ]]; then
    refuse $EXIT_UNFIT "this machine is $(uname -m), the test is built for $NEED_ARCH; export it on such a machine"
    return
  fi
  passed "programs and architecture ($NEED_ARCH)"
}

check_root() {
  if ((EUID != 0)); then
    refuse $EXIT_NO_ROOT "not root; run it with sudo"
  else
    passed root
  fi
}

check_sched_ext() {
  local state ops
  state=$(first_line "$SYSFS/kernel/sched_ext/state")
  if [[ -z $NEED_SCHED_EXT ]]; then
    passed "sched_ext is not needed"
  elif [[ -z $state ]]; then
    refuse $EXIT_NO_SCHED_EXT "no sched_ext in this kernel ($(uname -r)); boot Linux 6.12 or later with CONFIG_SCHED_CLASS_EXT=y"
    return
  else
    passed "sched_ext ($(uname -r))"
  fi
  case $state in
    '' | disabled) passed "no other scheduler is attached" ;;
    *)
      ops=$(first_line "$SYSFS/kernel/sched_ext/root/ops")
      refuse $EXIT_ATTACHED "another scheduler is attached${ops:+: $ops} (sched_ext is $state); stop it first, or: echo S >/proc/sysrq-trigger"
      ;;
  esac
}

check_cgroup2() {
  local kind
  kind=$(stat -f -c %T "$CGROUPS" 2>/dev/null || true)
  if [[ $kind != cgroup2fs ]]; then
    refuse $EXIT_NO_CGROUP2 "no cgroup2 at $CGROUPS (${kind:-nothing} is there); boot with systemd.unified_cgroup_hierarchy=1, or mount it: mount -t cgroup2 none $CGROUPS"
  else
    passed "cgroup2 at $CGROUPS"
  fi
}

# The CPUs of the last-level cache that a CPU is on, as the kernel lists them; those of its package where the kernel tells
# of no caches.
llc_of() {
  local cpu=$1 index level highest=0 list=
  for index in "$SYSFS/devices/system/cpu/cpu$cpu/cache"/index*; do
    level=$(first_line "$index/level")
    if [[ $level =~ ^[0-9]+$ && $(first_line "$index/type") != Instruction ]] && ((level > highest)); then
      highest=$level list=$(first_line "$index/shared_cpu_list")
    fi
  done
  [[ -n $list ]] || list=$(first_line "$SYSFS/devices/system/cpu/cpu$cpu/topology/package_cpus_list")
  printf '%s' "${list:-$cpu}"
}

node_of() {
  local node
  for node in "$SYSFS/devices/system/cpu/cpu$1"/node[0-9]*; do
    [[ -e $node ]] && printf '%s' "${node##*/node}" && return
  done
  printf 0
}

# Each NUMA node of the test needs one here, with as many last-level caches, each with as many cores of as many threads.
check_topology() {
  local cpu llc core cores widest=0 fitting=0 most=0 nodes=0 node count
  local -A llcs=() of_node=() all_nodes=()
  for cpu in $(cpu_list "$(first_line "$SYSFS/devices/system/cpu/online")"); do
    llc=$(llc_of "$cpu")
    llcs[$llc]+="$cpu "
    all_nodes[$(node_of "$cpu")]=1
  done
  for llc in "${!llcs[@]}"; do
    local -A threads=()
    for cpu in ${llcs[$llc]}; do
      core=$(first_line "$SYSFS/devices/system/cpu/cpu$cpu/topology/thread_siblings_list")
      core=${core:-$cpu}
      threads[$core]=$((${threads[$core]:-0} + 1))
    done
    cores=0
    for core in "${!threads[@]}"; do
      ((threads[$core] > widest)) && widest=${threads[$core]}
      ((threads[$core] >= NEED_THREADS_PER_CORE)) && ((cores += 1))
    done
    ((cores > most)) && most=$cores
    if ((cores >= NEED_CORES_PER_LLC)); then
      ((fitting += 1))
      # That of its lowest CPU, which comes first.
      node=$(node_of "${llcs[$llc]%% *}")
      of_node[$node]=$((${of_node[$node]:-0} + 1))
    fi
    unset threads
  done
  for count in "${of_node[@]}"; do
    ((count >= NEED_LLCS / NEED_NUMA_NODES)) && ((nodes += 1))
  done
  local need="$NEED_NUMA_NODES NUMA nodes with $((NEED_LLCS / NEED_NUMA_NODES)) last-level caches each, $NEED_CORES_PER_LLC cores per cache, $NEED_THREADS_PER_CORE threads per core"
  local found="${#all_nodes[@]} NUMA nodes, ${#llcs[@]} last-level caches, at most $most cores of $NEED_THREADS_PER_CORE threads per cache, at most $widest threads per core; $nodes nodes fit"
  if ((nodes >= NEED_NUMA_NODES)); then
    passed "topology: needed $need; found $found"
  else
    refuse $EXIT_TOPOLOGY "topology: needed $need; found $found; run it on a larger machine, or in a ktstr machine by \`cargo ktstr test\`"
  fi
}

note_kernel_arguments() {
  local argument given
  given=" $(first_line /proc/cmdline) "
  for argument in "${KERNEL_ARGS[@]}"; do
    [[ $given == *" $argument "* ]] ||
      say "note: the test's machine boots with $argument, this machine did not"
  done
}

check_archive() {
  local size sum
  size=$(stat -L -c %s "$SELF" 2>/dev/null || echo 0)
  if ((size != ARCHIVE_OFFSET + ARCHIVE_BYTES)); then
    refuse $EXIT_DAMAGED "this file is damaged: it has $size bytes instead of $((ARCHIVE_OFFSET + ARCHIVE_BYTES)); copy it again, or export the test again"
    return
  fi
  sum=$(tail -c "$ARCHIVE_BYTES" "$SELF" | sha256sum)
  if [[ ${sum%% *} != "$ARCHIVE_SHA256" ]]; then
    refuse $EXIT_DAMAGED "this file is damaged: the checksum of its archive is wrong; copy it again, or export the test again"
  else
    passed "archive ($ARCHIVE_BYTES bytes)"
  fi
}

