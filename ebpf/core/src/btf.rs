//! Reads field offsets from the kernel's type information (BTF).
//!
//! Rust has no CO-RE relocations: the agent looks the offsets up and writes them into
//! [`Config`](crate::tables::Config).

const MAGIC: u16 = 0xeb9f;
/// Anonymous structures inside anonymous structures. The kernel has two levels.
const MAX_DEPTH: u32 = 8;

const INT: u8 = 1;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// Returns the offset in bytes of `field` in `struct structure`, or `None` if there is no such field, if it
/// is a bitfield, or if `btf` is malformed. Fields of anonymous structures and unions belong to the structure
/// around them.
///
/// `btf` is in the byte order of this machine, as in `/sys/kernel/btf/vmlinux`.
pub fn field_offset(btf: &[u8], structure: &str, field: &str) -> Option<u32> {
    let btf = Btf::parse(btf)?;
    btf.types()
        .filter(|found| found.kind == STRUCT && btf.is_named(found.name, structure))
        .find_map(|found| btf.field_bits(&found, field, 0))
        .and_then(|bits| bits.is_multiple_of(8).then_some(bits / 8))
}

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

struct Type<'a> {
    name: u32,
    kind: u8,
    /// Whether a member's offset also holds the size of its bitfield.
    has_bitfields: bool,
    /// The type that a modifier refers to.
    target: u32,
    members: &'a [u8],
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(..2)? != MAGIC.to_ne_bytes() {
            return None;
        }
        let body = bytes.get(word(bytes, 4)? as usize..)?;
        let section = |at| {
            let (offset, length) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
            body.get(offset..offset.checked_add(length)?)
        };
        Some(Self {
            types: section(8)?,
            strings: section(16)?,
        })
    }

    fn types(&self) -> impl Iterator<Item = Type<'a>> {
        let mut rest = self.types;
        core::iter::from_fn(move || {
            let (found, next) = split_type(rest)?;
            rest = next;
            Some(found)
        })
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let found = self.strings.get(name as usize..);
        let rest = found.and_then(|found| found.strip_prefix(wanted.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Finds a structure or union by its id, through typedefs and qualifiers.
    fn structure(&self, mut id: u32) -> Option<Type<'a>> {
        for _ in 0..MAX_DEPTH {
            // Id 0 is `void`, which has no entry.
            let found = self.types().nth(id.checked_sub(1)? as usize)?;
            match found.kind {
                STRUCT | UNION => return Some(found),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.target,
                _ => return None,
            }
        }
        None
    }

    fn field_bits(&self, structure: &Type<'_>, field: &str, depth: u32) -> Option<u32> {
        let (members, _) = structure.members.as_chunks::<12>();
        members.iter().find_map(|member| {
            let (name, id, place) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
            let (offset, bitfield) = if structure.has_bitfields {
                (place & 0xff_ffff, place >> 24)
            } else {
                (place, 0)
            };
            if self.is_named(name, field) {
                return (bitfield == 0).then_some(offset);
            }
            if !self.is_named(name, "") || depth == MAX_DEPTH {
                return None;
            }
            offset.checked_add(self.field_bits(&self.structure(id)?, field, depth + 1)?)
        })
    }
}

/// Splits the first type from the rest.
fn split_type(bytes: &[u8]) -> Option<(Type<'_>, &[u8])> {
    let (name, info, target) = (word(bytes, 0)?, word(bytes, 4)?, word(bytes, 8)?);
    let (kind, count) = ((info >> 24 & 0x1f) as u8, (info & 0xffff) as usize);
    let length = match kind {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => count * 12,
        ENUM | FUNC_PROTO => count * 8,
        1..=TYPE_TAG => 0,
        // The length of an unknown kind is unknown, too.
        _ => return None,
    };
    let (members, rest) = bytes.get(12..)?.split_at_checked(length)?;
    let found = Type {
        name,
        kind,
        has_bitfields: info >> 31 == 1,
        target,
        members,
    };
    Some((found, rest))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
