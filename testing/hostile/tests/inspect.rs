//! `kpeel inspect` of mutated images: it ends as images may make it end, and what it writes is whole.
//!
//! The command cannot depend on this crate, whose C decoders it has to do without in some builds. So this program has
//! no test harness, and is `kpeel` itself where [`COMMAND`] is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use kpeel_hostile::class::{Class, mutate};
use kpeel_hostile::subject::{self, Subject};
use kpeel_images::make::Scratch;

/// Set for the copies of this program that play the command.
const COMMAND: &str = "KPEEL_TEST_COMMAND";
/// Mutations of each class and image; each is shown in one way.
const RUNS: u64 = 6;
/// Seconds a run may take.
const PATIENCE: &str = "60";
/// Done; malformed or unsupported; beyond a bound.
const EXITS: [i32; 3] = [0, 1, 4];

/// How an image is shown.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tree,
    Json,
    Svg,
}

const WAYS: [Way; 3] = [Way::Tree, Way::Json, Way::Svg];

fn main() -> ExitCode {
    if std::env::var_os(COMMAND).is_some() {
        return kpeel_cli::main();
    }
    let subjects = subject::small().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new().unwrap_or_else(|error| panic!("{error}"));
    let mut ends: BTreeMap<i32, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for (subject, class, number) in mutations(&subjects) {
        let way = WAYS[number as usize % WAYS.len()];
        let bytes = mutate(subject, class, number);
        match shown(scratch.path(), &bytes, way) {
            Ok(code) => *ends.entry(code).or_default() += 1,
            Err(fault) => {
                let (image, class) = (&subject.name, class.name());
                faults.push(format!("{image} {class} {number} ({way:?}): {fault}"));
            }
        }
    }
    println!("exit codes of inspect, and how often each came: {ends:?}");
    // Mutations that reach nothing, or of which nothing is left to show, would prove nothing.
    for code in [0, 1] {
        assert!(ends.contains_key(&code), "none ended with {code}");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    ExitCode::SUCCESS
}

fn mutations(subjects: &[Subject]) -> impl Iterator<Item = (&Subject, Class, u64)> {
    subjects.iter().flat_map(|subject| {
        let classes = Class::ALL.into_iter();
        let classes = classes.filter(|class| class.applies(subject));
        classes.flat_map(move |class| (0..RUNS).map(move |number| (subject, class, number)))
    })
}

/// Runs the command on these bytes: its exit code, or what is wrong with what it did.
fn shown(dir: &Path, bytes: &[u8], way: Way) -> Result<i32, String> {
    let (image, drawing) = (dir.join("image"), dir.join("drawing.svg"));
    fs::write(&image, bytes).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&drawing);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", PATIENCE]).arg(program);
    command.arg("inspect").arg(&image);
    match way {
        Way::Tree => {}
        Way::Json => drop(command.arg("--json")),
        Way::Svg => drop(command.arg("--svg").arg(&drawing)),
    }
    command.env(COMMAND, "1").stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    let code = output.status.code().filter(|code| EXITS.contains(code));
    let code = code.ok_or_else(|| format!("{output:?}"))?;
    let told = told(&output, code)?;
    match way {
        Way::Tree if told.is_empty() && code == 0 => Err("nothing was shown".to_owned()),
        Way::Tree => Ok(code),
        Way::Json => document(&told, code),
        Way::Svg => picture(&drawing, &told, code),
    }?;
    match names(dir)?.as_slice() {
        [image, rest @ ..] if image == "image" && rest.iter().all(|name| name == "drawing.svg") => {
            Ok(code)
        }
        names => Err(format!("left behind: {names:?}")),
    }
}

/// Standard output; both it and standard error are safe for a terminal, and a failure is explained.
fn told(output: &Output, code: i32) -> Result<String, String> {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
        match text.chars().find(|one| one.is_control() && *one != '\n') {
            Some(control) => Err(format!("{control:?} in {text:?}")),
            None => Ok(text),
        }
    };
    let said = text(&output.stderr)?;
    if said.is_empty() != (code == 0) {
        return Err(format!("exit code {code}, and said: {said:?}"));
    }
    text(&output.stdout)
}

fn document(text: &str, code: i32) -> Result<i32, String> {
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    let exit = document["error"]["exit"].as_i64().unwrap_or(0);
    if document["schema"] != 1 || exit != i64::from(code) {
        return Err(format!("exit code {code}, and the document: {text}"));
    }
    Ok(code)
}

fn picture(file: &Path, text: &str, code: i32) -> Result<i32, String> {
    if !text.is_empty() {
        return Err(format!("a picture, and shown: {text}"));
    }
    match fs::read_to_string(file) {
        Ok(drawing) => roxmltree::Document::parse(&drawing)
            .map(|_| code)
            .map_err(|error| format!("{error}: {drawing}")),
        Err(_) if code != 0 => Ok(code),
        Err(error) => Err(format!("no picture: {error}")),
    }
}

/// Names of all files, hidden ones too.
fn names(dir: &Path) -> Result<Vec<String>, String> {
    let files = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let mut names: Vec<_> = files
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by_key(|name| name != "image");
    Ok(names)
}
