//! A hostile guest at the virtio console: `cargo +nightly fuzz run virtio_console` in `ktstr-vmm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = ktstr_vmm::fuzzing::virtio_console(data);
});
