#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| conmon_fuzz::entries::control_line(data));
