//! Links objects of two origins (clang's, and ELF files written here by hand), runs the loaders on
//! our own BPF machine against a small model of `bpf(2)`, and damages objects in every way.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod clang;
mod damage;
mod elf;
mod host;
mod loading;
mod model;
mod objects;
mod refusals;
mod registers;
