//! Commands for memory keys.

use crate::card::{
    commands::{Answer, Kind, remove},
    device::Device,
    layout::{create_mkey_in, create_mkey_out, destroy_mkey_in, mkc, query_special_contexts_out},
    mkey::MemoryKey,
};

const FIRST_KEY: u32 = 0x100;
/// The key for all memory, which the driver does not use for Ethernet.
const RESERVED_KEY: u64 = 0x300;
const NULL_KEY: u64 = 0x400;

impl Device {
    pub(super) fn create_key(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        super::from(input, create_mkey_in::KLM_PAS_MTT)?;
        let context = super::from(input, create_mkey_in::MEMORY_KEY_MKEY_ENTRY)?;
        self.needs(Kind::ProtectionDomain, mkc::PD, context)?;
        let number = self.id("mkey", FIRST_KEY);
        self.mkeys.insert(number, MemoryKey::parse(input));
        create_mkey_out::MKEY_INDEX.set(output, u64::from(number));
        Ok(())
    }

    pub(super) fn destroy_key(&mut self, input: &[u8]) -> Answer {
        let number = destroy_mkey_in::MKEY_INDEX.get(input) as u32;
        remove(&mut self.mkeys, number, "no such memory key")
    }

    pub(super) fn special_contexts(output: &mut [u8]) {
        query_special_contexts_out::RESD_LKEY.set(output, RESERVED_KEY);
        query_special_contexts_out::NULL_MKEY.set(output, NULL_KEY);
    }
}
