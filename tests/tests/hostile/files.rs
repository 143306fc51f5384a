//! Files that are no module, or none as a whole.

use super::guest::Guest;
use super::kinds::{Kind, check};

const INVALID: &str = "not a valid WebAssembly module";
/// Id and name of each section, in the order in which they stand.
const SECTIONS: [(u8, &str); 10] = [
    (1, "cut off in its types"),
    (3, "cut off in its functions"),
    (4, "cut off in its table"),
    (5, "cut off in its memory"),
    (6, "cut off in its globals"),
    (7, "cut off in its exports"),
    (9, "cut off in its elements"),
    (12, "cut off in its number of data segments"),
    (10, "cut off in its code"),
    (11, "cut off in its data"),
];
const HEADER_BYTES: usize = 8;

/// The sections of a module, each with its head.
fn sections(module: &[u8]) -> Vec<&[u8]> {
    let (mut sections, mut rest) = (Vec::new(), &module[HEADER_BYTES..]);
    while !rest.is_empty() {
        let (mut size, mut head) = (0, 1);
        for (place, byte) in rest[1..].iter().enumerate() {
            size |= usize::from(byte & 0x7f) << (7 * place);
            head += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (section, behind) = rest.split_at(head + size);
        sections.push(section);
        rest = behind;
    }
    sections
}

pub(crate) fn kinds() -> Vec<Kind> {
    let module = Guest::default().module();
    let header = &module[..HEADER_BYTES];
    let sections = sections(&module);
    let of = |parts: &[&[u8]]| [&[header], parts].concat().concat();
    let with = |at: usize, byte: u8| {
        let mut module = module.clone();
        module[at] = byte;
        module
    };
    let mut kinds = vec![
        check("nothing at all", Vec::new(), "not a WebAssembly module"),
        check("another file", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not a WebAssembly module"),
        check("a wrong magic number", with(0, b'x'), "not a WebAssembly module"),
        check("a wrong version", with(4, 2), "not a WebAssembly module"),
        check("a component", b"\0asm\x0d\0\x01\0".to_vec(), "a WebAssembly component"),
        check("a header and nothing else", header.to_vec(), "does not export memory"),
    ];
    for (id, name) in SECTIONS {
        let section = sections.iter().find(|section| section[0] == id).expect("the guest has each of them");
        let start = section.as_ptr() as usize - module.as_ptr() as usize;
        kinds.push(check(name, module[..start + section.len() - 1].to_vec(), INVALID));
    }
    let swapped = [&sections[1..2], &sections[..1], &sections[2..]].concat();
    let twice = [&sections[..1], &sections[..]].concat();
    let without_code: Vec<&[u8]> = sections.iter().copied().filter(|section| section[0] != 10).collect();
    kinds.extend([
        check("sections out of order", of(&swapped), INVALID),
        check("a section twice", of(&twice), INVALID),
        check("functions without code", of(&without_code), INVALID),
        check("a section of another kind", of(&[&sections[..], &[&[0x63, 1, 0]]].concat()), INVALID),
        check("a section of 4 GiB", of(&[&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]]), INVALID),
        check("4,294,967,295 types announced", of(&[&[1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]]), "types, but at most"),
        check("a custom section without a name", of(&[&[0, 1, 0x7f]]), INVALID),
    ]);
    kinds
}
