//! lzma streams.
#![no_main]

use kpeel_codec::Codec;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::codec::unpack(Codec::Lzma, data));
