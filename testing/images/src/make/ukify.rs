//! UKIs by ukify, the producer that distributions use; knows every machine and profiles.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scratch;
use crate::{Error, Item, Result, fetch, tool};

/// Makes a UKI of `sections` on `stub` with Debian's ukify and writes it to `out`.
///
/// Sections before the first `.profile` are the base, each `.profile` begins a profile; to ukify the first has no
/// other sections. It orders a scope's sections as it likes and adds `.uname` and `.sbat` of its own.
///
/// # Errors
/// What fetching [`Item::Ukify`] or running it says.
pub fn ukify(stub: &Path, sections: &[(&str, &[u8])], out: &Path) -> Result<()> {
    let program = fetch(Item::Ukify)?;
    let scratch = Scratch::new()?;
    let is_profile = |section: &(&str, &[u8])| section.0 == ".profile";
    // The base runs up to the second profile: the first adds its `.profile` and nothing else.
    let first = sections
        .iter()
        .position(is_profile)
        .map_or(sections.len(), |first| first + 1);
    let (base, others) = sections.split_at(first);
    if let Some((name, _)) = others.first().filter(|section| !is_profile(section)) {
        return Err(Error::unexpected(
            out,
            "first profile",
            *name,
            ".profile alone",
        ));
    }
    let mut options = options_of(&scratch, 0, base)?;
    for (index, scope) in others.chunk_by(|_, next| !is_profile(next)).enumerate() {
        let profile = scratch.join(&format!("profile{index}.efi"));
        let own = options_of(&scratch, index + 1, scope)?;
        run(&program, &addon_stub(stub), &own, &profile)?;
        options.push(format!("--join-profile={}", profile.display()));
    }
    run(&program, stub, &options, out)
}

/// Profiles are joined out of images that have no `.sbat`: those on systemd's stub for addons, beside the other.
fn addon_stub(stub: &Path) -> PathBuf {
    let name = stub.file_name().unwrap_or_default().to_string_lossy();
    stub.with_file_name(name.replace("linux", "addon"))
}

fn options_of(scratch: &Scratch, scope: usize, sections: &[(&str, &[u8])]) -> Result<Vec<String>> {
    let mut options = Vec::new();
    for (index, (name, content)) in sections.iter().enumerate() {
        let file = scratch.write(&format!("scope{scope}section{index}"), content)?;
        options.push(option(name, &file));
    }
    Ok(options)
}

fn option(name: &str, file: &Path) -> String {
    let file = file.display();
    match name {
        ".linux" => format!("--linux={file}"),
        ".initrd" => format!("--initrd={file}"),
        ".ucode" => format!("--microcode={file}"),
        ".splash" => format!("--splash={file}"),
        ".dtb" => format!("--devicetree={file}"),
        ".cmdline" => format!("--cmdline=@{file}"),
        ".osrel" => format!("--os-release=@{file}"),
        ".profile" => format!("--profile=@{file}"),
        _ => format!("--section={name}:@{file}"),
    }
}

fn run(program: &Path, stub: &Path, options: &[String], out: &Path) -> Result<()> {
    let modules: PathBuf = program.join("usr/lib/python3/dist-packages");
    let mut command = Command::new("/usr/bin/python3");
    command
        .env("PYTHONPATH", modules)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(program.join("usr/bin/ukify")).arg("build");
    command
        .arg(format!("--stub={}", stub.display()))
        .arg(format!("--output={}", out.display()));
    // Without a version ukify unpacks the kernel to find one.
    if options.iter().any(|option| option.starts_with("--linux=")) {
        command.arg("--uname=6.12.0-test");
    }
    if !options
        .iter()
        .any(|option| option.starts_with("--os-release="))
    {
        command.arg("--os-release=");
    }
    tool::run(command.args(options))?;
    Ok(())
}
