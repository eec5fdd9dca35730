#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fc_hooks::models::run("environment", input));
