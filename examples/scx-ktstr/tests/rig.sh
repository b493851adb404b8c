# Runs exported tests in a machine that stands for bare metal; `export.rs` reads what it prints.
cd /include-files || exit 1
mount -t tmpfs none /mnt || exit 1

# Runs a command as the case $1: what it says, its exit code, and what it left.
try() {
  local name=$1 code=0
  shift
  printf '@@@ %s\n' "$name"
  "$@" 2>&1 || code=$?
  printf '\n@@@ exit %s\n' "$code"
  echo "$name after $SECONDS s" >&2
  left
}

# Says what is left of a run.
left() {
  local process name
  for process in /proc/[0-9]*; do
    name=
    { read -r name <"$process/comm"; } 2>/dev/null
    # A zombie has no command line; init of this machine takes no orphans in.
    { read -r -d '' <"$process/cmdline"; } 2>/dev/null || continue
    case $name in
      test-binary | program | second | takes_long) echo "@@@ left: process $name" ;;
      sleep) echo "@@@ left: process $name" ;;
    esac
  done
  ls -d /tmp/ktstr-run.* /mnt/ktstr-run.* /sys/fs/cgroup/ktstr* /sys/kernel/tracing/instances/ktstr* \
    /media/* 2>/dev/null | while read -r name; do echo "@@@ left: $name"; done
  [[ $(cat /sys/kernel/sched_ext/state 2>&1) != *abled || $(</sys/kernel/sched_ext/state) == disabled ]] || echo "@@@ left: a scheduler"
  [[ $(</proc/sys/kernel/threads-max) == "$THREADS" ]] || echo "@@@ left: a setting"
  [[ ! -e /sys/fs/cgroup/cgroup.procs || $(</sys/fs/cgroup/cgroup.subtree_control) == "$CONTROLLERS" ]] || echo "@@@ left: controllers"
}

THREADS=$(</proc/sys/kernel/threads-max)
CONTROLLERS=$(</sys/fs/cgroup/cgroup.subtree_control)

# Starts the long test, waits until its body runs, and sends signal $1 to the process that $2 prints.
interrupt() {
  local signal=$1 whom=$2 code=0 pid
  : >/mnt/said
  # What a shell starts in the background ignores SIGINT otherwise.
  env --default-signal=INT bash takes_long.run >/mnt/said 2>&1 &
  RUN=$!
  while ! [[ $(</mnt/said) == *"the body runs"* ]]; do
    kill -0 $RUN 2>/dev/null || break
    sleep 0.1
  done
  [[ $(</sys/kernel/sched_ext/state) == enabled ]] && echo "enabled before"
  pid=$("$whom")
  kill -s "$signal" "$pid"
  wait $RUN || code=$?
  # Where the script was killed, others clean up.
  local until=$((SECONDS + 60))
  while ((SECONDS < until)) && [[ -n $(left 2>/dev/null) ]]; do sleep 0.5; done
  cat /mnt/said
  return $code
}

the_script() { echo $RUN; }

the_runner() {
  local file
  for file in /tmp/ktstr-run.*/pid; do cat "$file"; done
}

the_scheduler() {
  local process name
  for process in /proc/[0-9]*; do
    { read -r name <"$process/comm"; } 2>/dev/null
    [[ $name == program ]] && echo "${process##*/}"
  done
}

try sigint interrupt INT the_script
try sigterm interrupt TERM the_script
try script_killed interrupt KILL the_script
try runner_killed interrupt KILL the_runner
try scheduler_killed interrupt KILL the_scheduler
try help bash passes.run --help
try usage bash passes.run --nonsense
try usage_duration bash passes.run --duration 0
try check bash passes_under_it.run --check
try passes bash passes.run
try quiet bash passes.run --quiet --duration=1
try passes_under_it bash passes_under_it.run --watchdog-timeout 9
try fails bash fails.run
try fails_quietly bash fails.run --quiet
try inconclusive bash is_inconclusive.run
try fails_under_it bash fails_under_it.run
try too_wide bash is_too_wide.run

size=$(stat -c %s fails.run)
head -c $((size - 1)) fails.run >/mnt/cut.run
try cut bash /mnt/cut.run
rm /mnt/cut.run
cp fails.run /mnt/flipped.run
printf 'XXXX' | dd of=/mnt/flipped.run bs=1 seek=$((size - 1000)) conv=notrunc status=none
try flipped bash /mnt/flipped.run
rm /mnt/flipped.run

mkdir /mnt/small /mnt/noexec
mount -t tmpfs -o size=1m none /mnt/small
try full env TMPDIR=/mnt/small bash fails.run
ls /mnt/small
mount -t tmpfs -o noexec none /mnt/noexec
try noexec env TMPDIR=/mnt/noexec bash fails.run
ls /mnt/noexec
try nowhere env TMPDIR=/mnt/none bash fails.run

try no_root setpriv --reuid 1000 --regid 1000 --clear-groups bash fails.run
try no_root_check setpriv --reuid 1000 --regid 1000 --clear-groups bash fails.run --check

scx-ktstr >/dev/null 2>&1 &
other=$!
while [[ $(</sys/kernel/sched_ext/state) != enabled ]]; do sleep 0.1; done
try attached bash passes.run 2>/dev/null | grep -v '^@@@ left: a scheduler'
kill $other
wait $other

mount -t tmpfs none /sys/kernel/sched_ext
try no_sched_ext bash passes_under_it.run
umount /sys/kernel/sched_ext
mount -t tmpfs none /sys/fs/cgroup
try no_cgroup2 bash fails.run
umount /sys/fs/cgroup

try piped bash -c 'cat passes.run | bash'
echo '@@@ end'
