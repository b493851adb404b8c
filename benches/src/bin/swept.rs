//! One scheduler, which the caller brings along.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(GIVEN, {
    name = "given",
    // Never built: `KTSTR_SCHEDULER` takes its place.
    binary = "no-such-package",
});
