//! The conformance plug-in, as the suite's runner calls it.

mod common;

use common::*;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn plugin(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpf_conformance_plugin"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the plug-in starts");
    // A plug-in that refuses its arguments may be gone before it reads.
    let _ = child
        .stdin
        .take()
        .expect("its input is piped")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("the plug-in ends")
}

#[track_caller]
fn answers(arguments: &[&str], input: &str, r0: &str) {
    let output = plugin(arguments, input);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{r0}\n"));
}

#[track_caller]
fn fails(arguments: &[&str], input: &str, reason: &str) {
    let output = plugin(arguments, input);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(reason), "{error}");
}

fn hex(code: &Code, blank: &str) -> String {
    code.0
        .iter()
        .map(|byte| format!("{byte:02x}{blank}"))
        .collect()
}

#[test]
fn takes_memory_and_program_with_and_without_blanks() {
    let code = Code::new().op(LDX | MEM | W, 0, 1, 1, 0).exit();
    for blank in ["", " ", "  "] {
        let program = hex(&code, blank);
        answers(&["00ddccbbaa"], &program, "aabbccdd");
        answers(
            &["00 dd cc bb aa ", ""],
            &format!("{program}\n"),
            "aabbccdd",
        );
    }
}

#[test]
fn register_2_is_the_length_of_memory() {
    let code = hex(&Code::new().copy(0, 2).exit(), "");
    answers(&["0011 2233"], &code, "4");
    for none in [&[][..], &[""], &["", ""]] {
        answers(none, &code, "0");
    }
}

#[test]
fn takes_the_program_as_an_option() {
    let code = hex(&Code::new().mov(0, -1).exit(), "");
    answers(&["--program", &code], "", "ffffffffffffffff");
    answers(
        &["aa", "--program", &code, "--debug", "--interpret"],
        "",
        "ffffffffffffffff",
    );
    fails(&["aa", "--elf"], &code, "--elf");
    fails(&["--program"], "", "program");
}

#[test]
fn calls_the_helpers_of_the_suite() {
    let number = |id, argument| Code::new().mov(1, argument).helper(id).exit();
    let five = (1..=5).fold(Code::new(), |code, register| {
        code.mov(register, register.into())
    });
    answers(&[], &hex(&five.helper(0).exit(), ""), "102030405");
    let frob = Code::new()
        .copy(6, 1)
        .mov(2, 2)
        .helper(1)
        .op(LDX | MEM | W, 0, 6, 0, 0)
        .exit();
    answers(&["00112233"], &hex(&frob, ""), "33223b2a");
    answers(&[], &hex(&number(2, 9), ""), "0");
    answers(&[], &hex(&number(3, 80), ""), "8");
    let compare = Code::new()
        .copy(2, 1)
        .op(ALU64 | ADD | K, 2, 0, 0, 3)
        .helper(4)
        .exit();
    answers(&["616200 616200"], &hex(&compare, ""), "0");
    answers(&["616100 616300"], &hex(&compare, ""), "fffffffffffffffe");
    answers(&[], &hex(&number(5, 3), ""), "3");
    // With 0 it unwinds, so what comes after it is not executed.
    answers(&[], &hex(&Code::new().helper(5).mov(0, 2).exit(), ""), "0");
    fails(&[], &hex(&number(6, 0), ""), "helpers 0 to 5");
}

#[test]
fn says_why_there_is_no_answer() {
    fails(
        &[],
        &hex(&Code::new().mov(0, 1), ""),
        "program refused: instruction 0: last",
    );
    let fault = Code::new().op(LDX | MEM | B, 0, 1, 4, 0).exit();
    fails(
        &["00112233"],
        &hex(&fault, ""),
        "run ended: instruction 0: read of 1 bytes",
    );
    let frob = Code::new().mov(2, 5).helper(1).exit();
    fails(&["00112233"], &hex(&frob, ""), "helper: write of 5 bytes");
    fails(&[], "b7 0", "odd number");
    fails(&[], "xy", "0x78");
    fails(&[], "", "0 bytes");
    fails(&["0"], "", "memory");
}
