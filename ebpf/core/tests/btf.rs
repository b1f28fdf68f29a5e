//! Field offsets from type information.

use xdp_core::btf::field_offset;

const INT: u32 = 1;
const POINTER: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const CONST: u32 = 10;

/// Type information as a compiler writes it. Types are numbered from 1.
#[derive(Default)]
struct Builder {
    types: Vec<u32>,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        let mut builder = Self::default();
        builder.string("");
        builder
    }

    fn string(&mut self, text: &str) -> u32 {
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        if text.is_empty() { 0 } else { offset }
    }

    fn int(self) -> Self {
        self.kind("int", INT, 4, &[32])
    }

    fn kind(mut self, name: &str, kind: u32, target: u32, extra: &[u32]) -> Self {
        let name = self.string(name);
        self.types.extend([name, kind << 24, target]);
        self.types.extend(extra);
        self
    }

    /// Members are name, type and offset in bits, with the size of a bitfield in the upper byte.
    fn structure(mut self, name: &str, kind: u32, bitfields: bool, members: &[(&str, u32, u32)]) -> Self {
        let name = self.string(name);
        let info = u32::from(bitfields) << 31 | kind << 24 | members.len() as u32;
        self.types.extend([name, info, 0]);
        for &(name, id, place) in members {
            let name = self.string(name);
            self.types.extend([name, id, place]);
        }
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types_len, strings_len) = (types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types_len, types_len, strings_len] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

#[test]
fn a_field_is_found_behind_types_of_every_length() {
    let btf = Builder::new()
        .int()
        .kind("", POINTER, 1, &[])
        .kind("", 3, 0, &[1, 1, 4])
        .kind("colour", 6, 4, &[])
        .structure("other", STRUCT, false, &[("wanted", 1, 640)])
        .structure("device", STRUCT, false, &[("first", 1, 0), ("wanted", 1, 96)])
        .bytes();
    assert_eq!(field_offset(&btf, "device", "wanted"), Some(12));
    assert_eq!(field_offset(&btf, "device", "first"), Some(0));
    assert_eq!(field_offset(&btf, "device", "want"), None);
    assert_eq!(field_offset(&btf, "device", "wanted_too"), None);
    assert_eq!(field_offset(&btf, "dev", "wanted"), None);
}

#[test]
fn fields_of_anonymous_structures_belong_to_the_structure_around_them() {
    let btf = Builder::new()
        .int()
        .structure("", STRUCT, false, &[("deep", 1, 32)])
        .structure("", UNION, false, &[("flat", 1, 0), ("", 2, 0)])
        .kind("", CONST, 3, &[])
        .structure("named", STRUCT, false, &[("hidden", 1, 0)])
        .structure(
            "device",
            STRUCT,
            false,
            &[("first", 1, 0), ("inner", 5, 32), ("", 4, 64)],
        )
        .bytes();
    assert_eq!(field_offset(&btf, "device", "flat"), Some(8));
    assert_eq!(field_offset(&btf, "device", "deep"), Some(12));
    assert_eq!(field_offset(&btf, "device", "hidden"), None);
}

#[test]
fn bitfields_have_no_offset_and_do_not_move_their_neighbours() {
    let members = [("bits", 1, 3 << 24 | 32), ("whole", 1, 64)];
    let btf = Builder::new()
        .int()
        .structure("device", STRUCT, true, &members)
        .bytes();
    assert_eq!(field_offset(&btf, "device", "bits"), None);
    assert_eq!(field_offset(&btf, "device", "whole"), Some(8));
}

#[test]
fn a_union_or_a_forward_declaration_of_the_name_is_no_structure() {
    let btf = Builder::new()
        .int()
        .structure("device", UNION, false, &[("wanted", 1, 0)])
        .kind("device", 7, 0, &[])
        .bytes();
    assert_eq!(field_offset(&btf, "device", "wanted"), None);
}

#[test]
fn structures_that_contain_themselves_end() {
    let btf = Builder::new()
        .structure("device", STRUCT, false, &[("", 1, 0)])
        .structure("chain", STRUCT, false, &[("", 3, 0)])
        .kind("", CONST, 3, &[])
        .bytes();
    assert_eq!(field_offset(&btf, "device", "wanted"), None);
    assert_eq!(field_offset(&btf, "chain", "wanted"), None);
}

#[test]
fn cut_or_foreign_bytes_are_refused() {
    let btf = Builder::new()
        .int()
        .structure("device", STRUCT, false, &[("wanted", 1, 32)])
        .bytes();
    assert_eq!(field_offset(&btf, "device", "wanted"), Some(4));
    for length in 0..btf.len() {
        assert_eq!(
            field_offset(&btf[..length], "device", "wanted"),
            None,
            "{length} bytes"
        );
    }
    let mut foreign = btf;
    foreign.swap(0, 1);
    assert_eq!(field_offset(&foreign, "device", "wanted"), None);
}
