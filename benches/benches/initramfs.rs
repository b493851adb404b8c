//! How long it takes to pack a test binary as init: cold, and from the cache.

use ktstr_benches::{figure, median, ms, timed};
use ktstr_vmm::initramfs::Initramfs;

fn main() {
    let binary = env!("CARGO_BIN_EXE_hundred");
    let describe = || Initramfs::builder().init(binary).build();
    let cold = median(9, || {
        let dir = tempfile::tempdir().expect("a scratch directory");
        timed(|| {
            assert!(
                !describe()
                    .build_cached(dir.path())
                    .expect("an archive")
                    .hit()
            );
        })
    });
    let dir = tempfile::tempdir().expect("a scratch directory");
    let size = describe()
        .build_cached(dir.path())
        .expect("an archive")
        .size();
    let cached = median(99, || {
        timed(|| {
            assert!(
                describe()
                    .build_cached(dir.path())
                    .expect("an archive")
                    .hit()
            );
        })
    });
    let what = format!(
        "initramfs of {:.1} MiB, cold",
        size as f64 / f64::from(1 << 20)
    );
    figure(&what, &ms(cold), "-");
    figure("the same from the cache", &ms(cached), "20 ms");
}
