//! What stands below the options in a command's help: what its arguments mean, and examples.

/// Below the options of `cargo ktstr`.
pub(crate) const CARGO_AFTER: &str = "\
Examples:
  cargo ktstr doctor                      show what is missing on this host
  cargo ktstr test --kernel ../linux      run every test on a source tree
  cargo ktstr test -- -E 'test(my_test)'  run one test on a kernel built before
  cargo ktstr verifier --kernel ../linux  try every declared scheduler
  cargo ktstr stats                       what deserves a look in the newest run";

/// Below the options of `ktstr`.
pub(crate) const KTSTR_AFTER: &str = "\
`cargo ktstr test` runs tests.";

/// Below the options of `test`.
pub(crate) const TEST_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  ./arch/x86/boot/bzImage      image
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  stable, mainline, longterm   newest of its kind; latest is stable
  6.12..6.14                   newest of every maintained series within
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too
  6.14.2-tarball-x86_64-kc...  cache key (cargo ktstr kernel list)

Examples:
  cargo ktstr test --kernel ../linux
  cargo ktstr test --kernel 6.12..6.14 --base-config lean
  cargo ktstr test --kernel 6.14 --kernel ../linux -- -E 'test(my_test)'
  cargo ktstr test -- --features integration --run-ignored all --retries 2
  cargo ktstr test --relevant --explain

Downloads come from kernel.org, or from the mirror whose base address is in
$KTSTR_KERNEL_MIRROR. Kernels are compiled through ccache where it is installed,
unless KTSTR_CCACHE=0.

Exit code: nextest's; 0 when every test passed or was skipped.";

/// Below the options of `coverage`.
pub(crate) const COVERAGE_AFTER: &str = "\
Kernels and options are those of `test`; arguments after -- are those of
`cargo llvm-cov nextest`: of the report, and of nextest. Runs on several
kernels are one report. Lines are counted of the workspace's packages, on the
host and in the machines, and of schedulers that are packages of the workspace.

Examples:
  cargo ktstr coverage --kernel ../linux
  cargo ktstr coverage -- --workspace --lcov --output-path lcov.info
  cargo ktstr coverage --kernel 6.12 --kernel 6.14 -- --html
  cargo ktstr coverage --relevant -- --ignore-run-fail --text

It takes cargo-llvm-cov, and llvm-cov and llvm-profdata of the LLVM that rustc
has: the rustup component llvm-tools-preview, a package such as llvm-22, or
what LLVM_COV and LLVM_PROFDATA name. When a test fails there is no report,
unless --ignore-run-fail is given; `cargo ktstr llvm-cov report` makes one
afterwards.

A profile that is cut off is named and left out of the report. Exit code:
nextest's, or cargo-llvm-cov's where the report fails.";

/// Below the options of `llvm-cov`.
pub(crate) const LLVM_COV_AFTER: &str = "\
Examples:
  cargo ktstr llvm-cov report --lcov --output-path lcov.info
  cargo ktstr llvm-cov clean --profraw-only

Always give a subcommand: without one `cargo llvm-cov` runs cargo test, which
has no gauntlet variants and no cells of the verifier. `clean` alone removes
reports as well, `clean --workspace` runs cargo clean too.

Programs that are measured leave profiles also in a plain `cargo ktstr test`,
in llvm-cov-target/ beside the cargo-ktstr program, unless LLVM_PROFILE_FILE is
set. To remove them:
  rm -f target/debug/llvm-cov-target/default-*.profraw";

/// Below the options of `replay`.
pub(crate) const REPLAY_AFTER: &str = "\
Without --exec nothing runs. Standard output gets one nextest filter expression
for the tests that failed or were inconclusive, or nothing if there are none.
Standard error tells the rest: which session it was, what cannot be read, what
is gone.

Examples:
  cargo ktstr replay
  cargo ktstr replay --exec
  cargo ktstr replay -E starve --exec -- --retries 2
  cargo ktstr replay --exec --kernel ../linux
  cargo ktstr replay --dir ./downloaded/ktstr

In a script:
  filter=$(cargo ktstr replay)
  [ -z \"$filter\" ] || cargo ktstr test -- --run-ignored all -E \"$filter\"

What a session ran on and with is in .sessions/ beside its records. Records of
plain nextest have no such file; options are those given now. From an archive
(--dir) no option is taken that names a program or a file.

Exit code: 0 without --exec, and if there is nothing to replay. With --exec
nextest's; 1 if no failed test, or the kernel of none, exists any more.";

/// Below the options of `affected`.
pub(crate) const AFFECTED_AFTER: &str = "\
Examples:
  cargo ktstr affected                       since the merge base with main
  cargo ktstr affected --base HEAD~1 --explain
  cargo ktstr affected --base-ref origin/next -- --features integration

Standard output gets a JSON array of package names, in order, such as a GitHub
Actions matrix takes. Changes are commits, what is not committed, and files that
are neither tracked nor ignored. What cannot be told counts as affected; changes of
documentation alone affect nothing. Exit code: 0, also when the array is empty.";

/// Below the options of `cargo ktstr shell`.
pub(crate) const SHELL_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  ./arch/x86/boot/bzImage      image; also a vmlinux
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  stable, mainline, longterm   newest of its kind; latest is stable
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too
  6.14.2-tarball-x86_64-kc...  cache key (cargo ktstr kernel list)

Examples:
  cargo ktstr shell --topology 1,2,4,1
  cargo ktstr shell --test my_failing_test
  cargo ktstr shell --kernel ./arch/x86/boot/bzImage --dmesg
  cargo ktstr shell --scheduler scx_mine --exec 'cat /sys/kernel/sched_ext/state'

Ctrl-] three times within a second ends the machine; every other key goes to the
shell. Without a terminal, or with --exec, standard input, output and error stay
apart, and an interrupt goes to the command; a second one ends the machine. The end
of the command ends the machine, whatever it left running there.

Exit status: that of the shell or command; 128 and the signal where one ended it; 125
where the machine ended before it or could not be started.";

/// Below the options of `ktstr shell`.
pub(crate) const SHELL_STANDALONE_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  ./arch/x86/boot/bzImage      image; also a vmlinux
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  stable, mainline, longterm   newest of its kind; latest is stable
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too
  6.14.2-tarball-x86_64-kc...  cache key (ktstr kernel list)

Examples:
  ktstr shell --topology 1,2,4,1
  ktstr shell --kernel ./arch/x86/boot/bzImage --dmesg
  ktstr shell --exec 'nproc; cat' < input > output

Ctrl-] three times within a second ends the machine; every other key goes to the
shell. Without a terminal, or with --exec, standard input, output and error stay
apart, and an interrupt goes to the command; a second one ends the machine. The end
of the command ends the machine, whatever it left running there.

Exit status: that of the shell or command; 128 and the signal where one ended it; 125
where the machine ended before it or could not be started.";

/// Below the options of `verifier`.
pub(crate) const VERIFIER_AFTER: &str = "\
Examples:
  cargo ktstr verifier --kernel ../linux
  cargo ktstr verifier --scheduler scx-mine --raw
  cargo ktstr verifier -- -p mine -E 'test(/8cpu-2llc-smt/)'

Standard output gets two tables per scheduler: the verified instructions
(`verified_insns`) of each program, and which cells passed. Exit code: nextest's; 0
when every cell passed or was skipped.";

/// Below the options of `perf-delta`.
pub(crate) const PERF_DELTA_AFTER: &str = "\
Compared are tests declared with `performance_mode`, by test, variant, kernel and
metric. A change is real when it is separated (Welch's t-test, two-sided p below
0.05, or ranges that are disjoint) and material (at least the absolute and the
relative gate of the metric, of --threshold or of the policy). Among many metrics
some look changed by chance: p values are adjusted for their number (Benjamini and
Hochberg), and what is then not below 0.05 is shown as unconfirmed and does not
count. correction = \"none\" in the policy turns that off.

Without --noise-adjust, records of earlier runs are compared. They have one run of
each test, or each iteration of `-- --stress-count N`: of a single run the size of
the change decides alone. With it, both commits are checked out and run in turn,
which goes on where it was interrupted. The builds are kept in target/ktstr-perf.

--no-perf-mode compares tests that a host without performance mode skips; figures
then tell of the host's other work as well.

A policy; every key is optional, unknown ones are errors:
  threshold_pct = 15               # like --threshold
  fail_threshold = 3               # like --fail-threshold
  must_fail = [\"max_gap_ms\"]     # like --must-fail
  correction = \"benjamini-hochberg\"
  [metric.max_gap_ms]              # in every test
  absolute = 20                    # in the metric's unit
  relative_pct = 50                # percent of the baseline
  [metric.migrations]
  ignore = true
  [test.steady]                    # a test function; also ignore = true
  threshold_pct = 30
  [test.steady.metric.run_delay_s]
  relative_pct = 80

Examples:
  cargo ktstr perf-delta --noise-adjust 5 --kernel 6.14
  cargo ktstr perf-delta --base v1.2 --policy perf.toml --json
  cargo ktstr perf-delta --must-fail p99_wake_latency_ns --threshold 25

A table is appended to the file $GITHUB_STEP_SUMMARY. Exit code: 1 when
--fail-threshold metrics regressed, or one of --must-fail; 0 otherwise, also when
there is nothing to compare.";

/// Below the options of `stats`.
pub(crate) const STATS_AFTER: &str = "\
Without a command: the newest run, on all of its kernels. Verdicts by test and
machine, failures with what decided them, exits of schedulers, kernel warnings,
flaky tests, outliers of each metric among a test's gauntlet variants, growth of
verified instructions against the run before, the slowest tests and where their
time went, and why tests were skipped.

Examples:
  cargo ktstr stats
  cargo ktstr stats list
  cargo ktstr stats --dir ./archived/ktstr --json
  cargo ktstr stats explain-sidecar --run 6.14.2-abc1234

A JSON document has the number of its layout as `schema`. Records that cannot be
read are named; the rest is analysed. NO_COLOR=1 turns colours off.";

/// Below the options of `stats list-metrics`.
pub(crate) const LIST_METRICS_AFTER: &str = "\
A change counts if it is at least ABSOLUTE units and RELATIVE percent of the
baseline.";

/// Below the options of `stats explain-sidecar`.
pub(crate) const EXPLAIN_AFTER: &str = "\
A field is absent as `expected`, where records of that kind do not have it, or
`actionable`, with what to do.";

/// Below the options of `export`.
pub(crate) const EXPORT_AFTER: &str = "\
Standard output says what was written: an executable file with the test binary, the
scheduler and the include files. On the other machine, as root:
  ./my_test.run --check    check the machine and run nothing
  ./my_test.run            run the test; exit code: the verdict's
  ./my_test.run --help     options and exit codes

Checked are root, sched_ext, cgroup2, that no other scheduler is attached, and the
topology.

The run takes CPUs of the test's topology and undoes what it did when it ends,
however it ends. Scheduler, its arguments and the topology are those of the test; a
variant (gauntlet/my_test/PRESET) has its preset's topology. A machine may be larger.
A dead scheduler gets no second run there. Of several test binaries that have the
test the first is taken, in the order of their paths. A file that is no exported
test is not replaced.

Not exportable: `host_only` tests, and tests whose scheduler is built into the
kernel.";

/// Below the options of `kernel`.
pub(crate) const KERNEL_AFTER: &str = "\
Kernels are kept in $KTSTR_CACHE_DIR/kernels, else ~/.cache/ktstr/kernels.";

/// Below the options of `kernel build`.
pub(crate) const BUILD_AFTER: &str = "\
A kernel ID is one of:
  ../linux                     source tree; starts with ./ ../ / or ~
  ./linux-6.14.2.tar.xz        source tarball
  6.14.2, 6.15-rc3             release
  6.14                         newest release of a series
  stable, mainline, longterm   newest of its kind; latest is stable
  6.12..6.14                   newest of every maintained series within
  git+https://host/r.git#tag=v6.14   commit; #branch= and #sha= too

Examples:
  cargo ktstr kernel build
  cargo ktstr kernel build --kernel ../linux
  cargo ktstr kernel build --kernel 6.14 --base-config lean
  cargo ktstr kernel build --kernel 6.14 --extra-kconfig ./lockdep.kconfig
  cargo ktstr kernel build --force --kernel 6.14.2

A source tree is built in a directory of the cache and stays as it is. A tree with
a .config or a build of its own is built in place; its .config is only read. The
kernel is cached when git knows the tree and nothing in it has changed since its
commit; kernels of other sources are always cached. Downloads come from kernel.org,
or from the mirror whose base address is in $KTSTR_KERNEL_MIRROR. Kernels are
compiled through ccache where it is installed, unless KTSTR_CCACHE=0. LLVM, CC, LD
and the like, CROSS_COMPILE, KCFLAGS and PAHOLE of the environment are passed to
make; a kernel built with them has a cache entry of its own.";

/// Below the options of `kernel clean`.
pub(crate) const CLEAN_AFTER: &str = "\
Examples:
  cargo ktstr kernel clean                        remove all kernels
  cargo ktstr kernel clean --keep 3               keep the three newest
  cargo ktstr kernel clean --corrupt-only --force remove broken entries

Directories that source trees were built in are removed with all kernels.";

/// Below the options of `locks`.
pub(crate) const LOCKS_AFTER: &str = "\
Locks are files. Those of last-level caches, CPUs and QEMU slots are in
$KTSTR_LOCK_DIR, else /tmp; those of kernels are in the kernel cache, those of
run directories beside them. This command takes no lock.";

/// Below the options of `completions`.
pub(crate) const COMPLETIONS_AFTER: &str = "\
Examples:
  D=~/.local/share/bash-completion/completions
  cargo ktstr completions bash >> $D/cargo
  cargo ktstr completions bash --binary ktstr > $D/ktstr
  cargo ktstr completions zsh > ~/.zfunc/_cargo-ktstr";
