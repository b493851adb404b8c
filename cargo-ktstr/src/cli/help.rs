//! What stands below the options in a command's help: what its arguments mean, and examples.

/// Below the options of `cargo ktstr`.
pub(super) const CARGO_AFTER: &str = "\
Examples:
  cargo ktstr doctor                      show what is missing on this host
  cargo ktstr test --kernel ../linux      run every test on a source tree
  cargo ktstr test -- -E 'test(my_test)'  run one test on a kernel built before
  cargo ktstr verifier --kernel ../linux  try every declared scheduler

Planned, not built yet: coverage, export, llvm-cov, perf-delta, replay, shell,
show-host, stats.";

/// Below the options of `ktstr`.
pub(super) const KTSTR_AFTER: &str = "\
`cargo ktstr test` runs tests. Planned, not built yet: shell.";

/// Below the options of `test`.
pub(super) const TEST_AFTER: &str = "\
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

/// Below the options of `affected`.
pub(super) const AFFECTED_AFTER: &str = "\
Examples:
  cargo ktstr affected                       since the merge base with main
  cargo ktstr affected --base HEAD~1 --explain
  cargo ktstr affected --base-ref origin/next -- --features integration

Standard output gets a JSON array of package names, in order, such as a GitHub
Actions matrix takes. Changes are commits, what is not committed, and files that
are neither tracked nor ignored. What cannot be told counts as affected; changes of
documentation alone affect nothing. Exit code: 0, also when the array is empty.";

/// Below the options of `verifier`.
pub(super) const VERIFIER_AFTER: &str = "\
Examples:
  cargo ktstr verifier --kernel ../linux
  cargo ktstr verifier --scheduler scx-mine --raw
  cargo ktstr verifier -- -p mine -E 'test(/8cpu-2llc-smt/)'

Standard output gets two tables per scheduler: the verified instructions
(`verified_insns`) of each program, and which cells passed. Exit code: nextest's; 0
when every cell passed or was skipped.";

/// Below the options of `kernel`.
pub(super) const KERNEL_AFTER: &str = "\
Kernels are kept in $KTSTR_CACHE_DIR/kernels, else ~/.cache/ktstr/kernels.";

/// Below the options of `kernel build`.
pub(super) const BUILD_AFTER: &str = "\
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
pub(super) const CLEAN_AFTER: &str = "\
Examples:
  cargo ktstr kernel clean                        remove all kernels
  cargo ktstr kernel clean --keep 3               keep the three newest
  cargo ktstr kernel clean --corrupt-only --force remove broken entries

Directories that source trees were built in are removed with all kernels.";

/// Below the options of `locks`.
pub(super) const LOCKS_AFTER: &str = "\
Locks are files. Those of last-level caches, CPUs and QEMU slots are in
$KTSTR_LOCK_DIR, else /tmp; those of kernels are in the kernel cache, those of
run directories beside them. This command takes no lock.";

/// Below the options of `completions`.
pub(super) const COMPLETIONS_AFTER: &str = "\
Examples:
  D=~/.local/share/bash-completion/completions
  cargo ktstr completions bash >> $D/cargo
  cargo ktstr completions bash --binary ktstr > $D/ktstr
  cargo ktstr completions zsh > ~/.zfunc/_cargo-ktstr";
