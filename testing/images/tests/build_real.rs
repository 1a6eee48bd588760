//! `kpeel build` on real kernels and stubs: the same sections, contents and order as ukify's.
//!
//! Every difference that is meant is one test here, and one row in `docs/build.md`.

mod kpeel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kpeel::{kpeel, unfold};
use kpeel_images::make::{Codec, Machine, Scratch, noise, tiny_kernel, zboot};
use kpeel_images::oracle::{expected_section, expected_sections, expected_zboot_payload};
use kpeel_images::{Item, fetch};

/// Offset of SizeOfInitializedData from the PE signature.
const INITIALIZED: usize = 4 + 20 + 8;

/// A directory with inputs, and both builders over it.
struct Bench(Scratch);

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        for (name, bytes) in [
            ("rd1", noise(10_001, 1)),
            ("rd2", noise(5_003, 2)),
            ("ucode", noise(999, 3)),
            ("splash", noise(3_000, 4)),
            ("dtb1", noise(700, 5)),
            ("dtb2", noise(800, 6)),
            ("key", b"-----BEGIN PUBLIC KEY-----\n".to_vec()),
            ("osrel", b"ID=test\nVERSION_ID=1\n".to_vec()),
            ("cmdline", b"root=/dev/vda  quiet \n\0".to_vec()),
            ("mine", noise(321, 7)),
            (
                "sbat",
                b"sbat,1,first line\nmine,1,Mine,mine,1,https://example.org/\n".to_vec(),
            ),
        ] {
            scratch.write(name, &bytes).unwrap();
        }
        fs::create_dir_all(scratch.join("hwids/more")).unwrap();
        let ids =
            r#"["11111111-2222-3333-4444-555555555555", "01234567-89ab-cdef-0123-456789abcdef"]"#;
        for (name, compatible) in [("b", "maker,b"), ("more/a", "maker,a")] {
            let text = format!(
                r#"{{"name": "Board {name}", "compatible": "{compatible}", "hwids": {ids}}}"#
            );
            scratch
                .write(&format!("hwids/{name}.json"), text.as_bytes())
                .unwrap();
        }
        Self(scratch)
    }

    fn run(&self, mut command: Command, arguments: &[String], out: &str) -> Output {
        command
            .current_dir(self.0.path())
            .args(arguments)
            .arg("-o")
            .arg(out);
        command.output().unwrap()
    }

    fn kpeel(&self, arguments: &[String], out: &str) -> Output {
        let mut command = kpeel();
        command.args(["build", "uki"]);
        self.run(command, arguments, out)
    }

    fn ukify(&self, arguments: &[String], out: &str) -> Output {
        let program = fetch(Item::Ukify).unwrap();
        let mut command = Command::new("/usr/bin/python3");
        command.env("PYTHONPATH", program.join("usr/lib/python3/dist-packages"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(program.join("usr/bin/ukify")).arg("build");
        self.run(command, arguments, out)
    }

    #[track_caller]
    fn ours(&self, arguments: &[String], out: &str) -> PathBuf {
        succeeds(&self.kpeel(arguments, out));
        self.0.join(out)
    }

    #[track_caller]
    fn theirs(&self, arguments: &[String], out: &str) -> PathBuf {
        succeeds(&self.ukify(arguments, out));
        self.0.join(out)
    }

    /// Builds with both and compares byte by byte.
    #[track_caller]
    fn compare(&self, arguments: &[String]) -> PathBuf {
        let mut without = arguments.to_vec();
        without.push("--no-parser".into());
        let ours = self.ours(&without, "ours.efi");
        let theirs = self.theirs(arguments, "theirs.efi");
        same_but_for_one_field(&fs::read(&ours).unwrap(), &fs::read(&theirs).unwrap());
        ours
    }
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// SizeOfInitializedData: ukify adds sizes in memory, the format's definition and we those in the file.
#[track_caller]
fn same_but_for_one_field(ours: &[u8], theirs: &[u8]) {
    let pe = u32::from_le_bytes(ours[0x3c..0x40].try_into().unwrap()) as usize;
    let field = pe + INITIALIZED..pe + INITIALIZED + 4;
    assert_eq!(ours.len(), theirs.len());
    let differing = (0..ours.len()).find(|at| ours[*at] != theirs[*at] && !field.contains(at));
    assert_eq!(differing, None);
}

fn arguments(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Options for a whole UKI of this stub and kernel.
fn whole(stub: Item, linux: &Path) -> Vec<String> {
    let mut all = arguments(&[
        "--initrd=rd1",
        "--initrd=rd2",
        "--microcode=ucode",
        "--splash=splash",
        "--devicetree=dtb1",
        "--devicetree-auto=dtb1",
        "--devicetree-auto=dtb2",
        "--hwids=hwids",
        "--pcrpkey=key",
        "--os-release=@osrel",
        "--cmdline=@cmdline",
        "--section=.mine:@mine",
        "--section=.text2:some text",
    ]);
    all.push(format!("--stub={}", fetch(stub).unwrap().display()));
    all.push(format!("--linux={}", linux.display()));
    all
}

fn release_of(linux: &Path) -> String {
    let name = linux.file_name().unwrap().to_str().unwrap();
    name.split_once('-').unwrap().1.to_owned()
}

#[test]
fn a_whole_uki_is_ukifys_byte_for_byte() {
    for (stub, kernel) in [
        (Item::StubAmd64V257, Item::LinuxAmd64Unsigned),
        (Item::StubArm64, Item::LinuxArm64),
    ] {
        let bench = Bench::new();
        let linux = fetch(kernel).unwrap();
        let ours = bench.compare(&whole(stub, &linux));
        let release = expected_section(&ours, ".uname").unwrap();
        assert_eq!(String::from_utf8(release).unwrap(), release_of(&linux));
        let readobj = Command::new("llvm-readobj-22")
            .args(["--file-headers", "--sections"])
            .arg(&ours)
            .output();
        let readobj = readobj.unwrap();
        assert!(
            readobj.status.success() && readobj.stderr.is_empty(),
            "{readobj:?}"
        );
    }
}

#[test]
fn a_command_line_and_os_release_of_text_are_ukifys() {
    let bench = Bench::new();
    let linux = fetch(Item::LinuxAmd64).unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let mut all = arguments(&[
        "--cmdline= a  b\nc ",
        "--uname=6.0.0-given",
        "--os-release=ID=x",
        "--sbat=@sbat",
    ]);
    all.extend([
        format!("--stub={}", stub.display()),
        format!("--linux={}", linux.display()),
    ]);
    let ours = bench.compare(&all);
    assert_eq!(expected_section(&ours, ".cmdline").unwrap(), b"a b c");
    all[2] = "--os-release=".into();
    let ours = bench.compare(&all);
    assert_eq!(expected_sections(&ours, ".osrel").unwrap().len(), 0);
}

/// systemd's stub for add-ons, beside its other one.
fn addon_stub() -> String {
    let stub = fetch(Item::StubAmd64V257).unwrap();
    format!(
        "--stub={}",
        stub.with_file_name("addonx64.efi.stub").display()
    )
}

#[test]
fn addons_and_profiles_are_ukifys() {
    let bench = Bench::new();
    let mut addon = arguments(&["--cmdline=extra", "--initrd=rd1", "--uname=6.0.0"]);
    addon.push(addon_stub());
    bench.compare(&addon);
    addon.push("--addon".into());
    bench.ours(&addon, "addon.efi");
    let mut profile = arguments(&["--profile=ID=rescue\nTITLE=Rescue", "--cmdline=rescue"]);
    profile.push(addon_stub());
    let profile = bench.compare(&profile);
    fs::rename(profile, bench.0.join("rescue.efi")).unwrap();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let mut joined = whole(Item::StubAmd64V257, &linux);
    joined.push("--join-profile=rescue.efi".into());
    let ours = bench.compare(&joined);
    let profiles = expected_sections(&ours, ".profile").unwrap();
    assert_eq!(
        profiles,
        [b"ID=main".to_vec(), b"ID=rescue\nTITLE=Rescue".to_vec()]
    );
    let with_parser = bench.ours(&joined, "joined.efi");
    let unfolded = unfold(&with_parser, &["--profile", "1"]).unwrap();
    assert_eq!(unfolded.cmdline.unwrap(), b"rescue");
}

#[test]
fn an_addon_must_hold_what_a_stub_takes_from_one() {
    let bench = Bench::new();
    let mut addon = arguments(&["--addon", "--uname=6.0.0"]);
    addon.push(addon_stub());
    let refused = bench.kpeel(&addon, "addon.efi");
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    addon.push("--cmdline=x".into());
    bench.ours(&addon, "addon.efi");
}

#[test]
fn ukifys_configuration_file_says_the_same() {
    let bench = Bench::new();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let text = format!(
        "# comment\n[UKI]\nLinux={}\nStub = {}\nInitrd=rd1 rd2\nMicrocode=ucode\nCmdline=root=/dev/vda\n  quiet # why\n\
         OSRelease=@osrel\nUname=6.1.2#x\nSplash=splash\nDeviceTree=dtb1\nDeviceTreeAuto=dtb1 dtb2\nHWIDs=hwids\n\
         PCRPKey=key\nColour=red\n",
        linux.display(),
        stub.display()
    );
    bench.0.write("ukify.conf", text.as_bytes()).unwrap();
    let ours = bench.compare(&arguments(&[
        "--config=ukify.conf",
        "--initrd=ucode",
        "--cmdline=mine",
    ]));
    assert_eq!(expected_section(&ours, ".cmdline").unwrap(), b"mine");
    bench.compare(&arguments(&["--config=ukify.conf"]));
}

#[test]
fn a_uki_of_stock_ukify_with_our_parser_as_a_section_unfolds() {
    let bench = Bench::new();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let mut export = kpeel();
    export
        .args(["parser", "export", "uki", "-o"])
        .arg(bench.0.join("uki.bpf"));
    succeeds(&export.output().unwrap());
    let mut all = whole(Item::StubAmd64V257, &linux);
    all.push("--section=.bpf:@uki.bpf".into());
    let image = bench.theirs(&all, "theirs.efi");
    // Without it, the image's own parser is the only one.
    let unfolded = unfold(&image, &["--parser", "zboot"]).unwrap();
    assert!(unfolded.kernel.unwrap() == fs::read(&linux).unwrap());
    // A parser given as a section is not joined by another.
    bench.compare(&all);
}

#[test]
fn the_same_inputs_give_the_same_bytes_whenever_and_wherever() {
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let build = |epoch: Option<&str>| {
        let bench = Bench::new();
        let mut command = kpeel();
        command.args(["build", "uki"]);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        succeeds(&bench.run(command, &whole(Item::StubAmd64V257, &linux), "out.efi"));
        fs::read(bench.0.join("out.efi")).unwrap()
    };
    let one = build(None);
    assert!(one == build(Some("1")) && one == build(Some("1700000000")));
}

#[test]
fn the_release_is_read_out_of_every_kernel_and_codec() {
    let bench = Bench::new();
    let stub = |item: Item| format!("--stub={}", fetch(item).unwrap().display());
    for (kernel, stub) in [
        (Item::LinuxAmd64V61, stub(Item::StubAmd64V257)),
        (Item::LinuxLoong64, stub(Item::StubLoong64)),
    ] {
        let linux = fetch(kernel).unwrap();
        let image = bench.ours(&[stub, format!("--linux={}", linux.display())], "out.efi");
        let release = String::from_utf8(expected_section(&image, ".uname").unwrap()).unwrap();
        assert!(
            linux.to_str().unwrap().contains(&release) && release.len() > 8,
            "{release}"
        );
    }
    let mut kernel = tiny_kernel(Machine::Arm64, 20_000);
    let banner = b"Linux version 6.12.0-kpeel (builder@example) (gcc) #1 SMP\n\0";
    kernel[9000..9000 + banner.len()].copy_from_slice(banner);
    for codec in Codec::ALL {
        zboot(Machine::Arm64, codec, &kernel, &bench.0.join("vmlinuz.efi")).unwrap();
        let image = bench.ours(
            &[stub(Item::StubArm64), "--linux=vmlinuz.efi".into()],
            "out.efi",
        );
        assert_eq!(expected_section(&image, ".uname").unwrap(), b"6.12.0-kpeel");
    }
}

/// ukify 257 reads gzip and lzma; of the others it finds no release, or it gives up.
#[test]
fn differs_the_release_of_a_packed_kernel_is_read() {
    let bench = Bench::new();
    let mut kernel = tiny_kernel(Machine::Arm64, 20_000);
    let banner = b"Linux version 6.12.0-kpeel (builder@example) (gcc) #1 SMP\n\0";
    kernel[9000..9000 + banner.len()].copy_from_slice(banner);
    let stub = format!("--stub={}", fetch(Item::StubArm64).unwrap().display());
    for codec in [Codec::Zstd, Codec::Xz, Codec::Lzo] {
        zboot(Machine::Arm64, codec, &kernel, &bench.0.join("vmlinuz.efi")).unwrap();
        let all = [stub.clone(), "--linux=vmlinuz.efi".into()];
        let finds = bench.ukify(&all, "theirs.efi").status.success()
            && !expected_sections(&bench.0.join("theirs.efi"), ".uname")
                .unwrap()
                .is_empty();
        assert!(!finds, "{codec:?}");
        let ours = bench.ours(&all, "ours.efi");
        assert_eq!(expected_section(&ours, ".uname").unwrap(), b"6.12.0-kpeel");
    }
}

/// ukify 257 leaves these out of a profile that it joins.
#[test]
fn differs_a_joined_profile_keeps_its_device_trees_and_keys() {
    let bench = Bench::new();
    let mut profile = arguments(&[
        "--profile=ID=b",
        "--cmdline=b",
        "--devicetree-auto=dtb2",
        "--hwids=hwids",
        "--pcrpkey=key",
        "--section=.other:@mine",
    ]);
    profile.push(addon_stub());
    let profile = bench.compare(&profile);
    fs::rename(profile, bench.0.join("b.efi")).unwrap();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let all = arguments(&[
        &format!("--linux={}", linux.display()),
        &format!("--stub={}", stub.display()),
        "--join-profile=b.efi",
    ]);
    let (ours, theirs) = (
        bench.ours(&all, "ours.efi"),
        bench.theirs(&all, "theirs.efi"),
    );
    for name in [".dtbauto", ".hwids", ".pcrpkey", ".other"] {
        let count = |image: &Path| expected_sections(image, name).unwrap().len();
        assert_eq!((count(&ours), count(&theirs)), (1, 0), "{name}");
    }
}

/// ukify gives up where the stub's `.sbat` has no room in the file; memory has more.
#[test]
fn differs_a_long_sbat_finds_room() {
    let bench = Bench::new();
    let lines: String = (0..20)
        .map(|at| format!("component{at},1,Some Vendor,package,1,https://example.org/\n"))
        .collect();
    bench
        .0
        .write("long", format!("sbat,1,first\n{lines}").as_bytes())
        .unwrap();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let all = arguments(&[
        &format!("--linux={}", linux.display()),
        &format!("--stub={}", stub.display()),
        "--sbat=@long",
    ]);
    let refused = bench.ukify(&all, "theirs.efi");
    assert!(
        !refused.status.success() && stderr(&refused).contains("Not enough space"),
        "{}",
        stderr(&refused)
    );
    let ours = bench.ours(&all, "ours.efi");
    let sbat = String::from_utf8(expected_section(&ours, ".sbat").unwrap()).unwrap();
    assert!(sbat.starts_with("sbat,1,SBAT Version") && sbat.contains(&lines));
    // The stub's own entry stays.
    assert!(sbat.contains("systemd-stub"));
}

/// ukify adds at most as many sections as fit below SizeOfHeaders rounded up.
#[test]
fn differs_headers_grow_for_many_sections() {
    let bench = Bench::new();
    let mut all = arguments(&["--cmdline=x"]);
    all.push(addon_stub());
    all.extend((0..40).map(|at| format!("--section=.x{at}:text")));
    let refused = bench.ukify(&all, "theirs.efi");
    assert!(
        !refused.status.success() && stderr(&refused).contains("header space"),
        "{}",
        stderr(&refused)
    );
    let ours = bench.ours(&all, "ours.efi");
    assert_eq!(expected_section(&ours, ".x39").unwrap(), b"text");
}

/// systemd 252's stub has a COFF symbol table, which ukify strips, and we keep behind everything else.
#[test]
fn differs_a_symbol_table_stays() {
    let bench = Bench::new();
    let linux = fetch(Item::LinuxAmd64Unsigned).unwrap();
    let stub = fetch(Item::StubAmd64V252).unwrap();
    let all = arguments(&[
        &format!("--linux={}", linux.display()),
        &format!("--stub={}", stub.display()),
        "--cmdline=x",
        "--initrd=rd1",
        "--no-parser",
    ]);
    let ours = bench.ours(&all, "ours.efi");
    let theirs = bench.theirs(&all[..all.len() - 1], "theirs.efi");
    for name in [
        ".cmdline", ".linux", ".initrd", ".uname", ".osrel", ".sbat", ".text", ".sdmagic",
    ] {
        let content = |image: &Path| expected_section(image, name).unwrap();
        assert!(content(&ours) == content(&theirs), "{name}");
    }
    let symbols = |image: &Path| {
        let tool = Command::new("objdump")
            .arg("--syms")
            .arg(image)
            .output()
            .unwrap();
        String::from_utf8_lossy(&tool.stdout).contains("(sec ")
    };
    assert!(symbols(&stub) && symbols(&ours) && !symbols(&theirs));
}

#[test]
fn the_real_zboot_image_is_a_template() {
    let bench = Bench::new();
    let template = fetch(Item::LinuxLoong64).unwrap();
    // Any PE image of the machine will do as a kernel that has room.
    let stub = fs::read(fetch(Item::StubLoong64).unwrap()).unwrap();
    bench.0.write("kernel", &stub).unwrap();
    let mut command = kpeel();
    command
        .args(["build", "zboot", "--linux=kernel", "--template"])
        .arg(&template);
    succeeds(&bench.run(command, &[], "out.efi"));
    assert!(expected_zboot_payload(&bench.0.join("out.efi")).unwrap() == stub);
    let code = |image: &Path| expected_section(image, ".data").unwrap();
    assert!(code(&bench.0.join("out.efi")) == code(&template));
}
