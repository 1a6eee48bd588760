//! UKIs on small stubs: order, what is refused, and the twin that is taken.

mod support;

use std::borrow::Cow;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal, Result};
use kpeel_envelope::pe::Pe;
use kpeel_image::uki::{
    Initrd, NewSection, Sections, assemble, merge_sbat, profile_sections, uname_of,
};
use kpeel_image::{DetachOptions, detach};
use support::judge::{full_headers, sections};
use support::{MACHINE_ARM64, Maker, OPTIONAL, Part, assert_same, carrier, part, put};

const DLL_CHARACTERISTICS: usize = 0x80 + 4 + OPTIONAL + 70;

fn stub() -> Maker {
    Maker {
        parts: vec![part(".text", 700), part(".sbat", 100), part(".reloc", 12)],
        ..Maker::default()
    }
}

fn built(stub: &[u8], sections: Vec<NewSection<'_>>) -> Result<Vec<u8>> {
    assemble(stub, sections, None)?.finish()
}

fn names(image: &[u8]) -> Vec<String> {
    sections(image).into_iter().map(|(name, ..)| name).collect()
}

fn content(text: &str) -> Option<Cow<'_, [u8]>> {
    Some(text.as_bytes().into())
}

fn all_sections() -> Sections<'static> {
    Sections {
        osrel: content("osrel"),
        cmdline: content("cmdline"),
        dtb: content("dtb"),
        dtbauto: vec![b"one"[..].into(), b"two"[..].into()],
        hwids: content("hwids"),
        uname: content("uname"),
        splash: content("splash"),
        pcrpkey: content("pcrpkey"),
        linux: None,
        initrd: content("initrd").map(Initrd::Bytes),
        efifw: vec![b"efifw"[..].into()],
        ucode: content("ucode"),
        others: vec![NewSection::new(".mine", &b"mine"[..])],
        sbat: None,
        profile: None,
        joined: Vec::new(),
    }
}

#[test]
fn sections_stand_in_ukifys_order() {
    let image = built(&stub().make(), all_sections().arrange()).unwrap();
    let expected = [
        ".text", ".sbat", ".reloc", ".osrel", ".cmdline", ".dtb", ".dtbauto", ".dtbauto", ".hwids",
        ".uname", ".splash", ".pcrpkey", ".initrd", ".efifw", ".ucode", ".mine",
    ];
    assert_eq!(names(&image), expected);
    for (name, address, data) in sections(&image).into_iter().skip(3) {
        assert_eq!(address % 4096, 0, "{name}");
        let text = name.trim_start_matches('.').as_bytes();
        assert!(data == text || name == ".dtbauto", "{name}");
    }
}

#[test]
fn a_profile_begins_a_profile_and_ends_a_base() {
    let with_profile = Sections {
        profile: content("ID=a"),
        ..all_sections()
    };
    let alone = with_profile.clone().arrange();
    assert_eq!(alone[0].name, ".profile");
    let alone = built(&stub().make(), alone).unwrap();
    let joined = profile_sections(&alone).unwrap();
    assert_eq!((joined[0].name.as_ref(), joined.len()), (".profile", 14));
    let arranged = Sections {
        joined: vec![joined],
        ..with_profile
    }
    .arrange();
    let positions: Vec<_> = (0..)
        .zip(&arranged)
        .filter(|(_, s)| s.name == ".profile")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(positions, [13, 14]);
    built(&stub().make(), arranged).unwrap();
}

#[test]
fn a_profile_to_join_needs_one_profile_section() {
    let image = |count: usize| {
        let mut maker = stub();
        maker.parts.extend(vec![part(".profile", 9); count]);
        maker.parts.push(part(".bpf", 9));
        maker.parts.push(part(".cmdline", 9));
        maker.make()
    };
    for count in [0, 2] {
        assert_eq!(
            profile_sections(&image(count)).unwrap_err().class,
            Class::Malformed
        );
    }
    let one = image(1);
    let names: Vec<_> = profile_sections(&one)
        .unwrap()
        .into_iter()
        .map(|s| s.name.into_owned())
        .collect();
    assert_eq!(names, [".profile", ".cmdline"]);
}

#[test]
fn sbat_takes_the_stubs_place_while_it_fits() {
    let stub = stub().make();
    let sbat = |len: usize| vec![NewSection::new(".sbat", vec![b'x'; len])];
    let image = built(&stub, sbat(4096)).unwrap();
    assert_eq!(names(&image), [".text", ".sbat", ".reloc"]);
    let image = built(&stub, sbat(4097)).unwrap();
    assert_eq!(names(&image), [".text", ".reloc", ".sbat"]);
    assert_eq!(sections(&image)[2].2, vec![b'x'; 4097]);
}

#[test]
fn refuses_names_that_the_stub_has_itself() {
    let stub = stub().make();
    let error = built(&stub, vec![NewSection::new(".text", &b"x"[..])]).unwrap_err();
    assert_eq!(error.class, Class::Misuse);
    assert!(built(&stub, vec![NewSection::new(".text2", &b"x"[..])]).is_ok());
}

#[test]
fn refuses_a_name_twice_in_one_profile() {
    let stub = stub().make();
    let section = |name: &'static str| NewSection::new(name, &b"x"[..]);
    let kernel = Maker::default().make();
    // A UKI, and what has no kernel: an add-on, or a profile on its own.
    for kernel in [Some(NewSection::new(".linux", kernel)), None] {
        let built = |names: &[&'static str]| {
            let sections = names.iter().map(|name| section(name));
            built(&stub, sections.chain(kernel.clone()).collect())
        };
        for name in [".cmdline", ".initrd", ".hwids", ".sbat", ".mine"] {
            let error = built(&[name, name]).unwrap_err();
            assert_eq!(error.class, Class::Misuse);
            let text = error.to_string();
            assert!(text.contains(&format!("{name}: given twice")), "{text}");
            assert!(built(&[".profile", name, ".other", name]).is_err());
            // Names that begin alike are others.
            assert!(built(&[name, ".mine2", ".min"]).is_ok());
        }
        // In two profiles it may.
        for name in [".cmdline", ".initrd", ".hwids", ".mine"] {
            assert!(built(&[name, ".profile", name, ".profile", name]).is_ok());
        }
        for name in [".dtbauto", ".efifw", ".profile"] {
            assert!(built(&[name, name]).is_ok());
        }
    }
}

#[test]
fn takes_one_parser_and_no_more() {
    let plain = stub().make();
    let carrier = carrier();
    let bpf = || NewSection::new(".bpf", &carrier[..]);
    let profile = || NewSection::new(".profile", &b"ID=a"[..]);
    let with = |stub, sections, parser| assemble(stub, sections, parser)?.finish();
    assert!(with(&plain, vec![bpf()], None).is_ok());
    assert!(with(&plain, Vec::new(), Some(&carrier)).is_ok());
    for (sections, parser) in [
        (vec![bpf(), bpf()], None),
        (vec![bpf(), profile(), bpf()], None),
        (vec![bpf()], Some(&carrier[..])),
        (vec![profile(), bpf()], Some(&carrier[..])),
    ] {
        let error = with(&plain, sections, parser).unwrap_err();
        assert_eq!(error.class, Class::Misuse, "{error}");
    }
    let mut own = stub();
    own.parts.push(part(".bpf", 800));
    let own = own.make();
    assert!(with(&own, Vec::new(), None).is_ok());
    for (sections, parser) in [(vec![bpf()], None), (Vec::new(), Some(&carrier[..]))] {
        let error = with(&own, sections, parser).unwrap_err();
        assert_eq!(error.class, Class::Misuse, "{error}");
    }
}

/// The stub's section goes, and those behind it are others then.
#[test]
fn sbat_that_grows_does_not_make_a_section_the_stubs() {
    let section = |name: &'static str, len: usize| NewSection::new(name, vec![b'x'; len]);
    let sections = vec![
        section(".cmdline", 9),
        section(".sbat", 4097),
        section(".profile", 9),
        section(".cmdline", 9),
    ];
    let image = built(&stub().make(), sections).unwrap();
    let expected = [
        ".text", ".reloc", ".cmdline", ".sbat", ".profile", ".cmdline",
    ];
    assert_eq!(names(&image), expected);
}

#[test]
fn refuses_a_signed_stub() {
    let signed = Maker {
        certificate: vec![7; 90],
        ..stub()
    }
    .make();
    let sections = || vec![NewSection::new(".cmdline", &b"x"[..])];
    let error = built(&signed, sections()).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    assert!(built(&stub().make(), sections()).is_ok());
}

#[test]
fn refuses_a_stub_without_header_room() {
    let crowded = Maker {
        first_address: 0x400,
        section_alignment: 512,
        ..full_headers(15)
    };
    let sections = || vec![NewSection::new(".cmdline", &b"x"[..])];
    let error = built(&crowded.make(), sections()).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("SizeOfHeaders"))
    );
    let roomy = Maker {
        first_address: 0x600,
        ..crowded
    };
    assert!(built(&roomy.make(), sections()).is_ok());
}

#[test]
fn refuses_a_stub_whose_sections_overlap() {
    let image = stub().make();
    let mut bad = image.clone();
    let table = 0x80 + 4 + support::DIRECTORIES + 16 * 8;
    put(&mut bad, table + 40 + 12, &0x1100_u32.to_le_bytes());
    let error = built(&bad, Vec::new()).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Malformed, Field::Named("VirtualAddress"))
    );
    assert!(built(&image, Vec::new()).is_ok());
}

#[test]
fn takes_96_sections_and_no_more() {
    let stub = Maker {
        first_address: 0x2000,
        ..full_headers(3)
    }
    .make();
    let sections = |count: usize| -> Vec<_> {
        (0..count)
            .map(|at| NewSection::new(format!(".x{at}"), &b"x"[..]))
            .collect()
    };
    assert_eq!(names(&built(&stub, sections(93)).unwrap()).len(), 96);
    let error = built(&stub, sections(94)).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("NumberOfSections"))
    );
    // The parser counts too.
    let carrier = carrier();
    assert!(assemble(&stub, sections(93), Some(&carrier)).is_err());
    assert!(assemble(&stub, sections(92), Some(&carrier)).is_ok());
}

#[test]
fn refuses_a_stub_that_is_no_efi_application() {
    let mut image = stub().make();
    assert!(built(&image, Vec::new()).is_ok());
    image[0x80 + 4 + OPTIONAL + 68] = 11;
    assert_eq!(
        built(&image, Vec::new()).unwrap_err().field,
        Field::Named("Subsystem")
    );
}

#[test]
fn refuses_a_kernel_for_another_machine_or_none_at_all() {
    let stub = stub().make();
    let linux = |kernel: Vec<u8>| vec![NewSection::new(".linux", kernel)];
    let foreign = Maker {
        machine: MACHINE_ARM64,
        ..Maker::default()
    }
    .make();
    let error = built(&stub, linux(foreign)).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Misuse, Field::Named("Machine of the kernel"))
    );
    assert_eq!(
        built(&stub, linux(vec![1; 9000])).unwrap_err().class,
        Class::Malformed
    );
    let image = built(&stub, linux(Maker::default().make())).unwrap();
    let kernel = Pe::parse(&image)
        .unwrap()
        .find(".linux")
        .next()
        .unwrap()
        .characteristics;
    assert_eq!(kernel, 0x4000_0020);
}

#[test]
fn promises_nx_only_if_the_kernel_does() {
    let ready = |mut image: Vec<u8>| {
        put(&mut image, DLL_CHARACTERISTICS, &0x0100_u16.to_le_bytes());
        image
    };
    let stub = ready(stub().make());
    let build = |kernel: Vec<u8>| built(&stub, vec![NewSection::new(".linux", kernel)]).unwrap();
    let promised = |image: Vec<u8>| Pe::parse(&image).unwrap().headers().dll_characteristics;
    assert_eq!(promised(build(ready(Maker::default().make()))), 0x0100);
    assert_eq!(promised(build(Maker::default().make())), 0);
}

#[test]
fn taking_the_parser_out_gives_the_image_without() {
    // Enough sections that the parser's entry needs header room of its own.
    for count in 0..40 {
        let parts: Vec<Part> = stub().parts;
        let stub = Maker {
            parts,
            overlay: vec![1; 5],
            ..stub()
        }
        .make();
        let sections = || -> Vec<_> {
            (0..count)
                .map(|at| NewSection::new(format!(".x{at}"), &b"some data"[..]))
                .collect()
        };
        let carrier = carrier();
        let with = assemble(&stub, sections(), Some(&carrier))
            .unwrap()
            .finish()
            .unwrap();
        let without = built(&stub, sections()).unwrap();
        assert_eq!(names(&with).last().unwrap(), ".bpf");
        assert_same(&detach(&with, DetachOptions::default()).unwrap(), &without);
    }
}

#[test]
fn no_corrupt_header_byte_of_stub_kernel_or_profile_makes_it_panic() {
    let (stub, kernel) = (stub().make(), Maker::default().make());
    let profile = Sections {
        profile: content("ID=a"),
        ..all_sections()
    };
    let profile = built(&stub, profile.arrange()).unwrap();
    let carrier = carrier();
    for at in 0..0x400 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let corrupt = |image: &[u8]| {
                let mut bad = image.to_vec();
                bad[at] = value;
                bad
            };
            let _ = profile_sections(&corrupt(&profile));
            let _ = uname_of(&corrupt(&kernel));
            let _ = merge_sbat(&[&corrupt(&stub)], &[]);
            let bad = corrupt(&stub);
            let sections = || {
                let linux = NewSection::new(".linux", &kernel[..]);
                vec![NewSection::new(".sbat", &b"sbat,1"[..]), linux]
            };
            let editor = assemble(&bad, sections(), Some(&carrier));
            if let Ok(image) = editor.and_then(|editor| editor.finish()) {
                check_coverage(&Pe::parse(&image).unwrap()).unwrap();
            }
            let linux = NewSection::new(".linux", corrupt(&kernel));
            let _ = built(&stub, vec![linux]);
        }
    }
}
