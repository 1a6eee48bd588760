//! What the fuzz targets do: each function takes any bytes and panics where kpeel does wrong.
//!
//! `cargo xtask fuzz` builds and runs the targets.

pub mod codec;
pub mod image;
pub mod mutator;
pub mod peer;
pub mod program;
pub mod segments;
pub mod text;
pub mod trust;

#[path = "../../crates/bpf/tests/common/mod.rs"]
mod machines;
