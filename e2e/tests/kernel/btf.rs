//! Reads the offset of a struct's member from the kernel's BTF (Documentation/bpf/btf.rst).

use std::fs;

/// `struct btf_header`: byte offsets of its fields.
const HDR_LEN: usize = 4;
const TYPE_OFF: usize = 8;
const STR_OFF: usize = 16;

/// `struct btf_type`: `name_off`, `info`, `size` or `type`, of 4 bytes each; then what the kind adds.
const TYPE_LEN: usize = 12;
/// `struct btf_member`: `name_off`, `type`, `offset`, of 4 bytes each.
const MEMBER_LEN: usize = 12;

const BTF_KIND_STRUCT: u32 = 4;

/// Returns the byte offset of a member, which is no bit field, of a struct of the running kernel.
pub(crate) fn member_offset(structure: &str, member: &str) -> u32 {
    let btf = Btf(fs::read("/sys/kernel/btf/vmlinux").unwrap());
    let (mut at, end) = (btf.section(TYPE_OFF), btf.section(STR_OFF));
    while at < end {
        let info = btf.word(at + 4);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let members = at + TYPE_LEN;
        if kind == BTF_KIND_STRUCT && btf.has_name(at, structure) {
            let mut members = (0..count).map(|number| members + number * MEMBER_LEN);
            let found = members.find(|at| btf.has_name(*at, member)).unwrap();
            // With the kind flag, the upper byte is the size of a bit field.
            return (btf.word(found + 8) & 0x00ff_ffff) / 8;
        }
        at = members + extra(kind, count);
    }
    panic!("no `struct {structure}` in the kernel's BTF");
}

struct Btf(Vec<u8>);

impl Btf {
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(*self.0[at..].first_chunk().unwrap())
    }

    /// The start of a section, whose offset from the header's end is in the header.
    fn section(&self, field: usize) -> usize {
        (self.word(HDR_LEN) + self.word(field)) as usize
    }

    /// Whether the type or member at this position has this name.
    fn has_name(&self, at: usize, name: &str) -> bool {
        let text = &self.0[self.section(STR_OFF) + self.word(at) as usize..];
        text.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Returns the number of bytes that follow the `struct btf_type` of a kind.
fn extra(kind: u32, count: usize) -> usize {
    match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => 12 * count,
        // ENUM, FUNC_PROTO
        6 | 13 => 8 * count,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        other => panic!("unknown BTF kind {other}"),
    }
}
