//! A confined process can work with memory and open descriptors, and dies of anything else.
//!
//! Without the usual harness, since each case must confine a process of its own: this program runs
//! itself once for each.

use std::env;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use kpeel_confine::{Killed, confine, killed};

const CASE: &str = "KPEEL_CONFINE_CASE";

/// A case: its name, what it does confined, and how it must end.
type Case = (&'static str, fn(), Option<Killed>);

const CASES: &[Case] = &[
    ("memory_and_open_files_work", works, None),
    (
        "opening_a_file_is_forbidden",
        opens,
        Some(Killed::ForbiddenCall),
    ),
    (
        "making_a_socket_is_forbidden",
        connects,
        Some(Killed::ForbiddenCall),
    ),
    (
        "starting_a_program_is_forbidden",
        starts,
        Some(Killed::ForbiddenCall),
    ),
    (
        "starting_a_thread_is_forbidden",
        threads,
        Some(Killed::ForbiddenCall),
    ),
    ("files_left_open_are_not_inherited", inherits, None),
    (
        "signalling_another_is_forbidden",
        signals,
        Some(Killed::ForbiddenCall),
    ),
    (
        "other_uses_of_fcntl_are_forbidden",
        owns,
        Some(Killed::ForbiddenCall),
    ),
    (
        "aborting_is_a_signal_of_its_own",
        abort,
        Some(Killed::Signal(libc::SIGABRT)),
    ),
];

fn main() {
    if let Ok(name) = env::var(CASE) {
        let (_, case, _) = CASES.iter().find(|(case, ..)| *case == name).unwrap();
        case();
        return;
    }
    let mut failed = 0;
    for (name, _, expected) in CASES {
        let status = Command::new(env::current_exe().unwrap())
            .env(CASE, name)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let found = killed(status);
        let right = found == *expected && (expected.is_some() || status.success());
        println!("test {name} ... {}", if right { "ok" } else { "FAILED" });
        if !right {
            println!("  found {status:?}, needed {expected:?}");
            failed += 1;
        }
    }
    let passed = CASES.len() - failed;
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed != 0));
}

fn works() {
    let mut file = File::open("/proc/self/exe").unwrap();
    let mut scratch = File::options().write(true).open("/dev/null").unwrap();
    confine().unwrap();
    let mut bytes = vec![0; 40 << 20];
    let len = file.read(&mut bytes).unwrap();
    file.rewind().unwrap();
    scratch.write_all(&bytes[..len]).unwrap();
    bytes.resize(80 << 20, 1);
    assert!(std::collections::HashSet::from([1, 2, 3]).contains(&2));
}

fn opens() {
    confine().unwrap();
    let _ = File::open("/etc/passwd");
}

fn connects() {
    confine().unwrap();
    let _ = std::net::TcpStream::connect("127.0.0.1:1");
}

fn starts() {
    confine().unwrap();
    let _ = Command::new("/bin/true").status();
}

fn threads() {
    confine().unwrap();
    let _ = std::thread::spawn(|| ()).join();
}

/// Not confined itself: what it starts would be.
fn inherits() {
    let file = File::open("/proc/self/exe").unwrap();
    // Unlike `file`, the duplicate stays open over exec.
    let left_open = rustix::io::dup(&file).unwrap();
    let path = format!("/proc/self/fd/{}", left_open.as_raw_fd());
    let is_inherited = || {
        let mut test = Command::new("test");
        test.args(["-e", &path]).status().unwrap().success()
    };
    assert!(is_inherited());
    kpeel_confine::inherit_no_files();
    // Kernels before Linux 5.11 cannot do it.
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = kernel
        .split('.')
        .map(|number| number.parse().unwrap_or(0_u32));
    if (numbers.next(), numbers.next()) >= (Some(5), Some(11)) {
        assert!(!is_inherited());
    }
}

fn abort() {
    confine().unwrap();
    std::process::abort();
}

fn signals() {
    let parent = std::os::unix::process::parent_id();
    confine().unwrap();
    let parent = rustix::process::Pid::from_raw(parent as i32).unwrap();
    let _ = rustix::process::kill_process(parent, rustix::process::Signal::URG);
}

fn owns() {
    let file = File::open("/dev/null").unwrap();
    confine().unwrap();
    let _ = rustix::fs::fcntl_getfl(&file);
}
