//! A hostile sender at the frame decoder: `cargo +nightly fuzz run frame_decoder` in `ktstr-vmm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ktstr_vmm::fuzzing::frame_decoder(data);
});
