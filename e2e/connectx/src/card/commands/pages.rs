//! Pages of guest memory that the firmware asks for. The model keeps them and does not use them.

use crate::card::{
    bits::Field,
    commands::{Answer, Status},
    device::Device,
    layout::{cmd_in, manage_pages_in, manage_pages_out, query_pages_out},
};

/// Modifiers of `QUERY_PAGES`.
const BOOT: u64 = 1;
const INIT: u64 = 2;
/// Modifiers of `MANAGE_PAGES`.
const CANNOT_GIVE: u64 = 0;
const GIVE: u64 = 1;
const TAKE: u64 = 2;

/// What the firmware asks for.
const BOOT_PAGES: u32 = 8;
const INIT_PAGES: u32 = 24;

const PAGE: u64 = 4096;

impl Device {
    pub(super) fn query_pages(&self, input: &[u8], output: &mut [u8]) {
        let pages = match cmd_in::OP_MOD.get(input) {
            BOOT => BOOT_PAGES,
            INIT => INIT_PAGES,
            // A negative number: what the driver gets back.
            _ => (self.pages.len() as u32).wrapping_neg(),
        };
        query_pages_out::NUM_PAGES.set(output, u64::from(pages));
    }

    pub(super) fn manage_pages(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let count = manage_pages_in::INPUT_NUM_ENTRIES.get(input) as usize;
        match cmd_in::OP_MOD.get(input) {
            CANNOT_GIVE => Ok(()),
            GIVE => self.take_pages(super::from(input, manage_pages_in::PAS)?, count),
            TAKE => {
                self.return_pages(output, count);
                Ok(())
            }
            _ => Err(Status::BadParameter.because("an unknown modifier")),
        }
    }

    fn take_pages(&mut self, list: &[u8], count: usize) -> Answer {
        for index in 0..count {
            let page = Field::new(index * 64, 64).get(list);
            if page == 0 || !page.is_multiple_of(PAGE) {
                return Err(Status::BadParameter.because("a page that is absent or not aligned"));
            }
            if !self.pages.insert(page) {
                return Err(Status::BadParameter.because("a page that the firmware has already"));
            }
        }
        Ok(())
    }

    fn return_pages(&mut self, output: &mut [u8], count: usize) {
        let room = output.len().saturating_sub(manage_pages_out::PAS.byte()) / 8;
        let mut returned = 0;
        while returned < count.min(room) {
            let Some(page) = self.pages.pop_last() else { break };
            Field::new(manage_pages_out::PAS.bit + returned * 64, 64).set(output, page);
            returned += 1;
        }
        manage_pages_out::OUTPUT_NUM_ENTRIES.set(output, returned as u64);
    }
}
