//! Memory keys: how the card translates the addresses in descriptors.

use crate::card::{
    layout::{create_mkey_in, mkc},
    parse::word,
};

/// The key that ends the list of data segments in a receive descriptor (`MLX5_TERMINATE_SCATTER_LIST_LKEY`).
pub(crate) const TERMINATE: u32 = 0x100;

/// Access mode: addresses are bus addresses.
const PHYSICAL: u64 = 0;
/// Access mode: 8-byte entries, each the bus address of a page and two permission bits.
const PAGES: u64 = 1;
/// Access mode: 16-byte entries, each a key and an address for a block of fixed size.
const BLOCKS: u64 = 3;

/// Permission bits of a page entry.
const ENTRY_READ: u64 = 1;
const ENTRY_WRITE: u64 = 2;
/// Bits of a page entry that do not belong to the address.
const ENTRY_FLAGS: u64 = 7;

/// Direction of an access to guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A range of bus addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) length: usize,
}

/// What the card may do with the memory of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Permissions {
    read: bool,
    write: bool,
}

/// A memory key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryKey {
    /// Lowest 8 bits of the key; the upper 24 bits are its index.
    pub(crate) variant: u8,
    mode: u64,
    start: u64,
    /// `None` if the key covers all addresses.
    length: Option<u64>,
    log_page: u32,
    permissions: Permissions,
    modifiable: bool,
    /// Whether the key is not in use: nothing may access it.
    free: bool,
    translations: Vec<u8>,
}

impl MemoryKey {
    /// Parses the input of `CREATE_MKEY`.
    pub(crate) fn parse(input: &[u8]) -> Self {
        let context = input
            .get(create_mkey_in::MEMORY_KEY_MKEY_ENTRY.byte()..)
            .unwrap_or_default();
        let present = create_mkey_in::TRANSLATIONS_OCTWORD_ACTUAL_SIZE.get(input) as usize * 16;
        let size = present.max(mkc::TRANSLATIONS_OCTWORD_SIZE.get(context) as usize * 16);
        let mut translations = input
            .get(create_mkey_in::KLM_PAS_MTT.byte()..)
            .unwrap_or_default()
            .to_vec();
        translations.resize(size, 0);
        Self {
            variant: mkc::MKEY_7_0.get(context) as u8,
            mode: mkc::ACCESS_MODE_4_2.get(context) << 2 | mkc::ACCESS_MODE_1_0.get(context),
            start: mkc::START_ADDR.get(context),
            length: (mkc::LENGTH64.get(context) == 0).then(|| mkc::LEN.get(context)),
            log_page: mkc::LOG_PAGE_SIZE.get(context) as u32,
            permissions: Permissions {
                read: mkc::LR.get(context) == 1,
                write: mkc::LW.get(context) == 1,
            },
            modifiable: mkc::UMR_EN.get(context) == 1,
            free: mkc::FREE.get(context) == 1,
            translations,
        }
    }

    /// Replaces translations from byte `offset` on, and takes the key in or out of use, as a UMR does.
    pub(crate) fn update(
        &mut self,
        offset: usize,
        entries: &[u8],
        free: Option<bool>,
    ) -> Result<(), &'static str> {
        if !self.modifiable {
            return Err("a UMR for a memory key without umr_en");
        }
        let end = offset + entries.len();
        let place = self
            .translations
            .get_mut(offset..end)
            .ok_or("a UMR behind the translations of the key")?;
        place.copy_from_slice(entries);
        self.free = free.unwrap_or(self.free);
        Ok(())
    }

    /// Translates `length` bytes at `address`.
    ///
    /// `other` gives the key of a block.
    pub(crate) fn translate<'k>(
        &self,
        address: u64,
        length: usize,
        access: Access,
        other: impl Fn(u32) -> Result<&'k MemoryKey, &'static str>,
    ) -> Result<Vec<Piece>, &'static str> {
        let offset = self.check(address, length, access)?;
        match self.mode {
            PHYSICAL => Ok(vec![Piece { address, length }]),
            PAGES => self.walk(offset, length, |index| self.page(index, access)),
            BLOCKS => self.walk(offset, length, |index| {
                let key = other((self.entry(index * 16)? & 0xffff_ffff) as u32)?;
                if key.mode != PHYSICAL {
                    return Err("a block whose key is not physical");
                }
                self.entry(index * 16 + 8)
            }),
            _ => Err("a memory key with an access mode that the model does not have"),
        }
    }

    /// Checks an access. Returns its offset in the key.
    fn check(&self, address: u64, length: usize, access: Access) -> Result<u64, &'static str> {
        let allowed = match access {
            Access::Read => self.permissions.read,
            Access::Write => self.permissions.write,
        };
        if !allowed {
            return Err("the memory key does not permit the access");
        }
        if self.free {
            return Err("a free memory key");
        }
        let offset = address
            .checked_sub(self.start)
            .ok_or("an address before the memory key")?;
        let end = offset.checked_add(length as u64);
        let covered = self.length.unwrap_or(u64::MAX);
        if end.is_none_or(|end| end > covered) {
            return Err("an address behind the memory key");
        }
        Ok(offset)
    }

    /// Returns the bus address of a page.
    fn page(&self, index: usize, access: Access) -> Result<u64, &'static str> {
        let entry = self.entry(index * 8)?;
        let needed = if access == Access::Write {
            ENTRY_WRITE
        } else {
            ENTRY_READ
        };
        if entry & needed == 0 {
            return Err("a translation that does not permit the access");
        }
        let address = entry & !ENTRY_FLAGS;
        if address & ((1 << self.log_page) - 1) != 0 {
            return Err("a translation that is not aligned to its page");
        }
        Ok(address)
    }

    /// Divides a range at page boundaries and translates the page of each part.
    fn walk(
        &self,
        mut offset: u64,
        mut length: usize,
        translate: impl Fn(usize) -> Result<u64, &'static str>,
    ) -> Result<Vec<Piece>, &'static str> {
        let mut pieces = Vec::new();
        let page = 1_u64 << self.log_page;
        while length > 0 {
            let inside = offset & (page - 1);
            let part = length.min((page - inside) as usize);
            let address = translate((offset >> self.log_page) as usize)? + inside;
            pieces.push(Piece {
                address,
                length: part,
            });
            offset += part as u64;
            length -= part;
        }
        Ok(pieces)
    }

    fn entry(&self, at: usize) -> Result<u64, &'static str> {
        let bytes = self
            .translations
            .get(at..at + 8)
            .ok_or("an address without a translation")?;
        Ok((0..4).fold(0, |value, index| value << 16 | u64::from(word(bytes, index * 2))))
    }
}

#[cfg(test)]
mod tests;
