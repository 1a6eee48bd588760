#!/bin/sh
# Builds trio.bpf, the parser that travels in the section .bpf, next to this script.
# Needed: kpeel, cargo, and Debian's rustc-web, rust-web-src and llvm-22 (another rustc with its library sources and an
# llc of the same LLVM do as well: set BPF_RUSTC and LLC).
set -eu
cd "$(dirname "$0")"
target=bpfel-unknown-none
out=${CARGO_TARGET_DIR:-target}

# Rust to LLVM bitcode. RUSTC_BOOTSTRAP admits -Z, which builds the core library for BPF; a BPF object needs no linker.
RUSTC_BOOTSTRAP=1 RUSTC=${BPF_RUSTC:-/usr/bin/rustc} cargo rustc --quiet --release --locked \
    -Z build-std=core --target "$target" -- --emit=obj -C linker=/bin/true
# Bitcode to a BPF object.
"${LLC:-llc-22}" -march=bpfel -mcpu=v3 -filetype=obj "$out/$target/release/deps/trio.o" -o "$out/trio.o"
# The object to a carrier: program and loader in one ELF file.
"${KPEEL:-kpeel}" parser link "$out/trio.o" -o trio.bpf
