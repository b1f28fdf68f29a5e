//! Commands for send queues.

use crate::card::{
    commands::{Answer, Kind, NOT_MODELLED, Status, from, remove, transition, unknown},
    device::Device,
    layout::{
        create_sq_in, create_sq_out, destroy_sq_in, modify_sq_in, opcode, query_sq_in, query_sq_out, sqc, wq,
    },
    send::SendQueue,
    work_queue::RESET,
};

const FIRST_QUEUE: u32 = 0x1000;

impl Device {
    pub(super) fn send_queue_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::CREATE_SQ => self.create_send_queue(input, output),
            opcode::MODIFY_SQ => self.modify_send_queue(input),
            opcode::DESTROY_SQ => {
                let number = destroy_sq_in::SQN.get(input) as u32;
                remove(&mut self.sqs, number, "no such send queue")
            }
            opcode::QUERY_SQ => {
                let number = query_sq_in::SQN.get(input) as u32;
                let queue = self.sqs.get(&number).ok_or_else(unknown("no such send queue"))?;
                sqc::STATE
                    .inside(query_sq_out::SQ_CONTEXT)
                    .set(output, queue.state);
                Ok(())
            }
            _ => Err(NOT_MODELLED),
        }
    }

    fn create_send_queue(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let context = from(input, create_sq_in::CTX)?;
        // The queue for the driver's own requests sends nothing and has none.
        if sqc::TIS_LST_SZ.get(context) != 0 {
            self.needs(Kind::Tis, sqc::TIS_NUM_0, context)?;
        }
        self.needs(Kind::ProtectionDomain, wq::PD.inside(sqc::WQ), context)?;
        self.needs(Kind::Uar, wq::UAR_PAGE.inside(sqc::WQ), context)?;
        let queue = SendQueue::parse(context).map_err(|reason| Status::BadParameter.because(reason))?;
        if !self.cqs.contains_key(&queue.cqn) {
            return Err(Status::BadResource.because("no such completion queue"));
        }
        if queue.state != RESET {
            return Err(Status::BadState.because("a new send queue that is not in reset"));
        }
        let number = self.id("sq", FIRST_QUEUE);
        self.sqs.insert(number, queue);
        create_sq_out::SQN.set(output, u64::from(number));
        Ok(())
    }

    fn modify_send_queue(&mut self, input: &[u8]) -> Answer {
        let number = modify_sq_in::SQN.get(input) as u32;
        let queue = self
            .sqs
            .get_mut(&number)
            .ok_or_else(unknown("no such send queue"))?;
        if modify_sq_in::SQ_STATE.get(input) != queue.state {
            return Err(Status::BadState.because("the send queue is in another state"));
        }
        let state = sqc::STATE.inside(modify_sq_in::CTX).get(input);
        transition(queue.state, state)?;
        queue.set_state(state);
        Ok(())
    }
}
