//! A plug-in of the public bpf_conformance suite.
//!
//! `bpf_conformance_plugin [MEMORY] [--program PROGRAM] [--debug] [--interpret]`: executes a program over
//! some memory, both in hexadecimal, and prints register 0 in hexadecimal. Without `--program` the
//! program comes from standard input.

use kpeel_bpf::conformance::{execute, parse_hex};
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match answer(std::env::args().skip(1)) {
        Ok(r0) => {
            println!("{r0:x}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: impl Iterator<Item = String>) -> Result<u64, Box<dyn Error>> {
    let options = Options::parse(arguments)?;
    let program = match options.program {
        Some(program) => program,
        None => std::io::read_to_string(std::io::stdin())?,
    };
    let program = parse_hex(&program).map_err(|error| format!("program: {error}"))?;
    let memory = parse_hex(&options.memory).map_err(|error| format!("memory: {error}"))?;
    let result = execute(&program, &memory);
    if options.debug {
        eprintln!(
            "{} bytes of program, {} of memory: {result:?}",
            program.len(),
            memory.len()
        );
    }
    Ok(result?)
}

#[derive(Default)]
struct Options {
    memory: String,
    program: Option<String>,
    debug: bool,
}

impl Options {
    /// The suite's runner always gives the memory, and all options as one more argument; both may be
    /// empty.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.peekable();
        if let Some(memory) = arguments.next_if(|argument| !argument.starts_with("--")) {
            options.memory = memory;
        }
        while let Some(argument) = arguments.next() {
            for option in argument.split_whitespace() {
                match option {
                    "--program" => options.program = arguments.next(),
                    "--debug" => options.debug = true,
                    "--interpret" => {}
                    other => return Err(format!("{other}: not an option of this plug-in")),
                }
            }
        }
        Ok(options)
    }
}
