//! Commands for event queues and completion queues.

use crate::card::{
    bits::Field,
    commands::{Answer, Kind, Status, remove, unknown},
    device::Device,
    interrupts::VECTORS,
    layout::{
        cqc, create_cq_in, create_cq_out, create_eq_in, create_eq_out, destroy_cq_in, destroy_eq_in, eqc,
        modify_cq_in,
    },
    queues::{CompletionQueue, ENTRY, EventQueue, Pages},
};

/// Event queues have numbers of 8 bits.
const EVENT_QUEUES: std::ops::Range<u32> = 1..64;
const FIRST_COMPLETION_QUEUE: u32 = 0x400;

impl Device {
    pub(super) fn create_event_queue(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let context = super::from(input, create_eq_in::EQ_CONTEXT_ENTRY)?;
        self.needs(Kind::Uar, eqc::UAR_PAGE, context)?;
        let log_size = eqc::LOG_EQ_SIZE.get(context) as u32;
        let queue = EventQueue::new(
            Pages::parse(
                input,
                create_eq_in::PAS.byte(),
                eqc::LOG_PAGE_SIZE.get(context),
                eqc::PAGE_OFFSET.get(context) * 64,
                ENTRY << log_size,
            ),
            log_size,
            eqc::INTR.get(context) as usize,
            std::array::from_fn(|word| {
                Field::new(create_eq_in::EVENT_BITMASK.bit + 64 * word, 64).get(input)
            }),
        );
        queue
            .pages
            .check()
            .map_err(|reason| Status::BadParameter.because(reason))?;
        if queue.vector >= VECTORS {
            return Err(Status::BadParameter.because("an interrupt vector that the card does not have"));
        }
        let number = EVENT_QUEUES
            .into_iter()
            .find(|number| !self.eqs.contains_key(number))
            .ok_or(Status::NoResources.because("no event queue is left"))?;
        self.eqs.insert(number, queue);
        create_eq_out::EQ_NUMBER.set(output, u64::from(number));
        Ok(())
    }

    pub(super) fn destroy_event_queue(&mut self, input: &[u8]) -> Answer {
        let number = destroy_eq_in::EQ_NUMBER.get(input) as u32;
        if self.cqs.values().any(|queue| queue.eqn == number) {
            return Err(Status::Busy.because("the event queue has completion queues"));
        }
        remove(&mut self.eqs, number, "no such event queue")
    }

    pub(super) fn create_completion_queue(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let context = super::from(input, create_cq_in::CQ_CONTEXT)?;
        self.needs(Kind::Uar, cqc::UAR_PAGE, context)?;
        let log_size = cqc::LOG_CQ_SIZE.get(context) as u32;
        if cqc::CQE_SZ.get(context) != 0 {
            return Err(Status::BadParameter.because("completions of 128 bytes"));
        }
        let eqn = cqc::C_EQN_OR_APU_ELEMENT.get(context) as u32;
        if !self.eqs.contains_key(&eqn) {
            return Err(Status::BadResource.because("no such event queue"));
        }
        let pages = Pages::parse(
            input,
            create_cq_in::PAS.byte(),
            cqc::LOG_PAGE_SIZE.get(context),
            cqc::PAGE_OFFSET.get(context) * 64,
            ENTRY << log_size,
        );
        pages
            .check()
            .map_err(|reason| Status::BadParameter.because(reason))?;
        let number = self.id("cq", FIRST_COMPLETION_QUEUE);
        self.cqs.insert(
            number,
            CompletionQueue::new(pages, log_size, eqn, cqc::DBR_ADDR.get(context)),
        );
        create_cq_out::CQN.set(output, u64::from(number));
        Ok(())
    }

    pub(super) fn destroy_completion_queue(&mut self, input: &[u8]) -> Answer {
        let number = destroy_cq_in::CQN.get(input) as u32;
        if self.rqs.values().any(|queue| queue.cqn == number)
            || self.sqs.values().any(|queue| queue.cqn == number)
        {
            return Err(Status::Busy.because("the completion queue has work queues"));
        }
        remove(&mut self.cqs, number, "no such completion queue")
    }

    /// Accepts moderation; the model interrupts for every completion that the driver armed.
    pub(super) fn modify_completion_queue(&mut self, input: &[u8]) -> Answer {
        let number = modify_cq_in::CQN.get(input) as u32;
        self.cqs
            .contains_key(&number)
            .then_some(())
            .ok_or_else(unknown("no such completion queue"))
    }
}
