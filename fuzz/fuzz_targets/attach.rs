#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| conmon_fuzz::entries::attach(data));
