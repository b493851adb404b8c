# --- run ---

DIR=
CHILD=
SIGNAL=
CLEANER=
CLEANER_FD=

# Removes a cgroup and those below it.
remove_cgroup() {
  local below
  for below in "$1"/*/; do
    [[ ! -d $below ]] || remove_cgroup "${below%/}"
  done
  rmdir "$1" 2>/dev/null || true
}

sched_ext_state() {
  first_line "$SYSFS/kernel/sched_ext/state"
}

# Whether a process runs: of one that has ended, but that nobody has waited for, there is no command line.
is_running() {
  { read -r -d '' _ <"/proc/$1/cmdline"; } 2>/dev/null
}

# Undoes whatever is left. After an orderly end that is the directory alone.
clean_up() {
  local left=0 waited=0 at pid
  local cgroup=$CGROUPS/${DIR##*/}
  local trace=$SYSFS/kernel/tracing/instances/${DIR##*/}
  # Where this shell was killed, the test is told by the kernel, and undoes all itself.
  pid=$(first_line "$DIR/pid")
  while [[ -n $pid ]] && is_running "$pid" && ((waited < 600)); do
    sleep 0.1
    ((waited += 1))
  done
  waited=0
  while [[ -d $cgroup ]] && ((waited < 200)); do
    { echo 1 >"$cgroup/cgroup.kill"; } 2>/dev/null || true
    remove_cgroup "$cgroup"
    [[ ! -d $cgroup ]] || sleep 0.05
    ((waited += 1))
  done
  if [[ -d $cgroup ]]; then
    say "$cgroup could not be removed"
    left=1
  fi
  if [[ -e $DIR/attached && $(sched_ext_state) != disabled ]]; then
    # It goes with its program, which was killed.
    sleep 1
    [[ $(sched_ext_state) == disabled ]] || { echo S >/proc/sysrq-trigger; } 2>/dev/null || true
  fi
  if [[ -s $DIR/settings ]]; then
    local -a settings
    mapfile -t settings <"$DIR/settings"
    # The last change first: the first value is the right one.
    for ((at = ${#settings[@]} - 2; at >= 0; at -= 2)); do
      if ! { printf '%s\n' "${settings[at + 1]}" >"${settings[at]}"; } 2>/dev/null; then
        say "${settings[at]} could not be set to ${settings[at + 1]} again"
        left=1
      fi
    done
  fi
  [[ ! -d $trace ]] || rmdir "$trace" 2>/dev/null || true
  rm -rf --one-file-system "$DIR" || left=1
  return $left
}

# Starts a process that outlives this shell, however that ends, and cleans up then: it waits for the end of a pipe.
start_cleaner() {
  mkfifo "$DIR/pipe"
  exec {CLEANER_FD}<>"$DIR/pipe"
  (
    trap '' INT TERM HUP QUIT
    trap - EXIT
    exec {CLEANER_FD}>&-
    cat >/dev/null
    clean_up
  ) <"$DIR/pipe" &
  CLEANER=$!
}

# shellcheck disable=SC2317 # it is called by a trap
finish() {
  local code=$?
  trap '' INT TERM HUP QUIT
  trap - EXIT
  if [[ -n $DIR ]]; then
    [[ -z $CLEANER_FD ]] || exec {CLEANER_FD}>&-
    local cleaned=0
    [[ -z $CLEANER ]] || wait "$CLEANER" || cleaned=$?
    # It may have been killed.
    if [[ -d $DIR ]]; then
      cleaned=0
      clean_up || cleaned=$?
    fi
    ((cleaned == 0)) || code=$EXIT_LEFT
  fi
  exit "$code"
}

# shellcheck disable=SC2317 # likewise
interrupted() {
  SIGNAL=$1
  if [[ -n $CHILD ]]; then
    # It undoes everything and ends.
    kill -s "$SIGNAL" "$CHILD" 2>/dev/null || true
  else
    exit $((128 + $(kill -l "$SIGNAL")))
  fi
}

unpack() {
  local where=${TMPDIR:-/tmp} error
  where=$(cd -P -- "$where" 2>/dev/null && pwd) ||
    die $EXIT_NO_ROOM "${TMPDIR:-/tmp} is no directory that can be entered; set TMPDIR to one"
  DIR=$(umask 077 && mktemp -d "$where/ktstr-run.XXXXXXXXXX" 2>/dev/null) ||
    die $EXIT_NO_ROOM "no directory can be made in $where; free space there, or set TMPDIR to another one"
  start_cleaner
  if ! error=$(tail -c "$ARCHIVE_BYTES" "$SELF" | tar -C "$DIR" -xzf - --no-same-owner 2>&1); then
    error=${error%%$'\n'*}
    die $EXIT_NO_ROOM "$where: the test could not be unpacked, which takes $UNPACKED_BYTES bytes${error:+ ($error)}; free space there, or set TMPDIR to another directory"
  fi
  # Its libraries are this machine's; a file system may forbid programs.
  if ! error=$("$DIR/test-binary" --help 2>&1 >/dev/null); then
    error=${error##*$'\n'}
    # What bash says before it is of this script.
    error=${error#*: line [0-9]*: }
    die $EXIT_UNFIT "the test binary does not run here${error:+: $error}; export it on a system that is as old as this one, or set TMPDIR to a directory that programs may be run from"
  fi
}

run_test() {
  local status
  local -a arguments=(--bare-metal "$DIR" --parent "$$")
  [[ -z ${DURATION:-} ]] || arguments+=(--duration "$DURATION")
  [[ -z ${WATCHDOG:-} ]] || arguments+=(--watchdog-timeout "$WATCHDOG")
  [[ -z $QUIET ]] || arguments+=(--quiet)
  "$DIR/test-binary" "${arguments[@]}" -- "$KTSTR_CASE" {CLEANER_FD}>&- &
  CHILD=$!
  # A signal that came meanwhile found no child.
  [[ -z $SIGNAL ]] || kill -s "$SIGNAL" "$CHILD" 2>/dev/null || true
  while true; do
    status=0
    wait "$CHILD" || status=$?
    # Interrupted by a signal, `wait` says nothing of the child.
    kill -0 "$CHILD" 2>/dev/null || break
  done
  if ((status > 128)) && [[ -n $SIGNAL ]]; then
    wait "$CHILD" 2>/dev/null || status=$?
  fi
  CHILD=
  exit "$status"
}

main() {
  parse_options "$@"
  SELF=${BASH_SOURCE[0]:-}
  [[ -f $SELF && -r $SELF ]] || die $EXIT_UNFIT "this script has to be a file that can be read: bash FILE"
  check_tools
  # Without them the rest cannot be looked at.
  ((REFUSED == 0)) || exit "$REFUSED"
  check_root
  check_sched_ext
  check_cgroup2
  check_topology
  check_archive
  [[ -n $QUIET ]] || note_kernel_arguments
  if ((REFUSED != 0)) || [[ -n $CHECK_ONLY ]]; then
    exit "$REFUSED"
  fi
  trap finish EXIT
  trap 'interrupted INT' INT
  trap 'interrupted TERM' TERM
  trap 'interrupted HUP' HUP
  trap 'interrupted QUIT' QUIT
  unpack
  run_test
}

main "$@"
# shellcheck disable=SC2317 # of what follows, bash reads nothing
exit
# --- archive ---
