//! Parsers in C for the tests, as text for the compiler.

/// Asks for what it may not have; one macro names what.
pub const HOSTILE: &str = concat!(
    include_str!("../fixtures/parser.h"),
    include_str!("../fixtures/hostile.c")
);
/// Decompresses every stream of the caller's initrd.
pub const STREAMS: &str = concat!(
    include_str!("../fixtures/parser.h"),
    include_str!("../fixtures/streams.c")
);
