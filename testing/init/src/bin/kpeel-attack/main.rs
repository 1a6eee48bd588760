//! Root in user space, against the thread in which Linux runs an image's parser.
//!
//! `kpeel-attack LOADS PROGRAM ARGUMENT...`: runs PROGRAM, a load of an image, LOADS times; each must exit with 0.
//! Meanwhile threads look for the loader's objects: by BPF id, in the descriptors of this process and of the
//! loader thread (`/proc`), by `pidfd_getfd`, by iterators. Before and after, programs are loaded onto the anchors, and
//! onto what verifies signatures; one that may stay on an anchor counts how often it runs. Every kind of attack is
//! first tried where it works, on an object of our own: an attack that cannot succeed proves nothing.
#![expect(
    unsafe_code,
    reason = "bpf(2) and pidfd_getfd(2) have no other interface"
)]

mod bpf;
mod btf;
mod thread;
mod trace;

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use bpf::Kind;
use thread::Seen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match attack(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-attack: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attack(arguments: &[String]) -> Result<(), String> {
    let [loads, program, rest @ ..] = arguments else {
        return Err("usage: kpeel-attack LOADS PROGRAM ARGUMENT...".to_owned());
    };
    let loads: u32 = loads.parse().map_err(|_| "LOADS is no number")?;
    let types = btf::Types::of_kernel()?;
    foreign_programs(&types)?;
    own_objects_are_found()?;
    let iterators = trace::Iterators::new(&types)?;
    iterators.find_our_own()?;
    let lookers = trace::Lookers::new(&types)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ids = scope.spawn(|| new_ids(&stop));
        let files = scope.spawn(|| thread::watch(&stop));
        let shown = scope.spawn(|| iterators.watch(&stop));
        let result = run_loads(loads, program, rest);
        stop.store(true, Ordering::Relaxed);
        let (looks, found) = ids
            .join()
            .map_err(|_| "the thread that reads ids panicked")??;
        let seen = files
            .join()
            .map_err(|_| "the thread that reads files panicked")??;
        let shown = shown
            .join()
            .map_err(|_| "the thread that iterates panicked")??;
        result?;
        judge(looks, &found, &seen)?;
        println!("kpeel-attack: {shown:?}");
        if shown.new != 0 || shown.looks < 3 || shown.files == 0 {
            return Err(format!("iterators: {shown:?}"));
        }
        lookers.judge(loads.into())
    })?;
    drop(lookers);
    foreign_programs(&types)
}

fn run_loads(loads: u32, program: &str, arguments: &[String]) -> Result<(), String> {
    for _ in 0..loads {
        let status = Command::new(program).args(arguments).status();
        let status = status.map_err(|error| format!("{program}: {error}"))?;
        if !status.success() {
            return Err(format!("a load under attack ended with {status}, needed 0"));
        }
    }
    Ok(())
}

fn judge(looks: u64, found: &[(Kind, u32)], seen: &Seen) -> Result<(), String> {
    println!("kpeel-attack: {looks} looks for ids, new ones: {found:?}; {seen:?}");
    if !found.is_empty() {
        return Err(format!("objects of the loader have ids: {found:?}"));
    }
    if looks < 10 || seen.threads == 0 || seen.refused == 0 {
        return Err(format!("hardly attacked: {looks} looks for ids, {seen:?}"));
    }
    if seen.taken != 0 || seen.opened != 0 || seen.own != 0 {
        return Err(format!("descriptors of the loader were had: {seen:?}"));
    }
    Ok(())
}

/// What decides over an image: nobody may have it return something else.
const VERIFIERS: [&str; 4] = [
    "kexec_kernel_verify_pe_sig",
    "kexec_pe_claims",
    "kexec_pe_unfold",
    "kexec_pe_check_bpf",
];

/// Programs that somebody else loads for the anchors, or that call the kfuncs.
fn foreign_programs(types: &btf::Types) -> Result<(), String> {
    const SYSCALL: u32 = 31;
    let anchor = types.function("bpf_handle_pefile")?;
    let post = types.function("bpf_post_handle_pefile")?;
    let put = types.function("bpf_kexec_verdict")?;
    let other = types.function("do_exit")?;
    let demand = |what: &str, needed: i32, result: Result<_, i32>| match result {
        Err(errno) if errno == needed => Ok(()),
        other => Err(format!(
            "{what}: {:?}, needed errno {needed}",
            other.map(|_: std::os::fd::OwnedFd| ())
        )),
    };
    for id in [anchor, post] {
        let fentry = bpf::load(bpf::TRACING, bpf::FENTRY, true, id, &bpf::returning_zero());
        demand("a sleepable program on an anchor", libc::EINVAL, fentry)?;
        let modify = bpf::load(
            bpf::TRACING,
            bpf::MODIFY_RETURN,
            false,
            id,
            &bpf::returning_zero(),
        );
        demand(
            "a program that modifies an anchor's return",
            libc::EINVAL,
            modify,
        )?;
        let calls = bpf::load(bpf::TRACING, bpf::FENTRY, false, id, &bpf::calling(put));
        demand("a foreign program that calls a kfunc", libc::EACCES, calls)?;
        let replaces = bpf::load(bpf::EXT, 0, false, id, &bpf::returning_zero());
        demand("a program that replaces an anchor", libc::EINVAL, replaces)?;
    }
    let calls = bpf::load(bpf::TRACING, bpf::FENTRY, false, other, &bpf::calling(put));
    demand(
        "a program elsewhere that calls a kfunc",
        libc::EACCES,
        calls,
    )?;
    let calls = bpf::load(SYSCALL, 0, true, 0, &bpf::calling(put));
    demand(
        "a system call program that calls a kfunc",
        libc::EACCES,
        calls,
    )?;
    for name in VERIFIERS {
        let id = types.function(name)?;
        let modify = bpf::load(
            bpf::TRACING,
            bpf::MODIFY_RETURN,
            false,
            id,
            &bpf::returning_zero(),
        );
        demand(name, libc::EINVAL, modify)?;
    }
    // The twin: the same program, where programs may be.
    let there = bpf::load(
        bpf::TRACING,
        bpf::FENTRY,
        false,
        other,
        &bpf::returning_zero(),
    );
    there
        .map(|_| ())
        .map_err(|errno| format!("a harmless program: errno {errno}"))
}

/// The attacks work: on objects that are not the loader's.
fn own_objects_are_found() -> Result<(), String> {
    let before = bpf::ids(Kind::Map);
    let map = bpf::map().map_err(|errno| format!("a map of our own: errno {errno}"))?;
    let after = bpf::ids(Kind::Map);
    if !after.iter().any(|id| !before.contains(id)) {
        return Err("a map of our own has no id".to_owned());
    }
    thread::take_own(&map)
}

/// Looks for ids that were not there before; gives the number of looks.
fn new_ids(stop: &AtomicBool) -> Result<(u64, Vec<(Kind, u32)>), String> {
    let before: Vec<(Kind, Vec<u32>)> = Kind::ALL
        .iter()
        .map(|&kind| (kind, bpf::ids(kind)))
        .collect();
    let mut looks = 0;
    let mut found = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for (kind, known) in &before {
            let new = bpf::ids(*kind).into_iter().filter(|id| !known.contains(id));
            found.extend(new.map(|id| (*kind, id)));
        }
        looks += 1;
    }
    Ok((looks, found))
}
