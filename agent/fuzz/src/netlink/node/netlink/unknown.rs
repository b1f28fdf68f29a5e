//! Adds attributes that no decoder knows, as a newer kernel does.

/// Higher than any number that a kernel uses.
const UNKNOWN: u16 = 0x3abc;
/// `NLA_TYPE_MASK`.
const KIND: u16 = 0x3fff;

/// An attribute that contains attributes.
pub(super) struct Nested {
    /// `None`: of whatever kind.
    kind: Option<u16>,
    inside: &'static [Self],
}

impl Nested {
    /// Whatever is there.
    pub(super) const ANY: Self = Self {
        kind: None,
        inside: &[],
    };

    pub(super) const fn new(kind: u16, inside: &'static [Self]) -> Self {
        Self {
            kind: Some(kind),
            inside,
        }
    }
}

/// Returns the message with an unknown attribute at the end of each list. `None`: the message is not a header
/// and a list of attributes, or gets too long.
pub(super) fn with_unknown(message: &[u8], header: usize, nested: &[Nested]) -> Option<Vec<u8>> {
    let (header, attributes) = message.split_at_checked(header)?;
    Some([header, &longer(attributes, nested)?].concat())
}

fn longer(mut attributes: &[u8], nested: &[Nested]) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    while let [l0, l1, k0, k1, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([k0, k1]);
        let value = attributes.get(4..length)?;
        let known = nested
            .iter()
            .find(|nested| nested.kind.is_none_or(|of| of == kind & KIND));
        let longer = known.and_then(|nested| longer(value, nested.inside));
        push(&mut list, kind, longer.as_deref().unwrap_or(value))?;
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    // In a list of numbered elements, whatever is there is an element.
    if nested.iter().all(|nested| nested.kind.is_some()) {
        push(&mut list, UNKNOWN, b"unknown")?;
    }
    attributes.is_empty().then_some(list)
}

fn push(list: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    let length = u16::try_from(4 + value.len()).ok()?;
    list.extend(length.to_ne_bytes());
    list.extend(kind.to_ne_bytes());
    list.extend(value);
    list.resize(list.len().next_multiple_of(4), 0);
    Some(())
}
