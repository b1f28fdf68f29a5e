//! Commands for receive queues, and for what spreads frames over them: TIRs and RQ tables.

use crate::card::{
    bits::Field,
    commands::{Answer, NOT_MODELLED, Refusal, Status, from, remove, transition, unknown},
    device::Device,
    layout::{
        create_rq_in, create_rq_out, create_rqt_in, create_rqt_out, create_tir_in, create_tir_out,
        destroy_rq_in, destroy_rqt_in, destroy_tir_in, modify_rq_in, modify_rqt_in, modify_tir_in, opcode,
        query_rq_in, query_rq_out, rqc, rqtc,
    },
    receive::ReceiveQueue,
    rss::{Target, Tir},
    steering::Destination,
    work_queue::RESET,
};

const FIRST_QUEUE: u32 = 0x2000;
const FIRST_TABLE: u32 = 0x10;
const FIRST_TIR: u32 = 0x10;

impl Device {
    pub(super) fn receive_queue_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::CREATE_RQ => self.create_receive_queue(input, output),
            opcode::MODIFY_RQ => self.modify_receive_queue(input),
            opcode::DESTROY_RQ => self.destroy_receive_queue(destroy_rq_in::RQN.get(input) as u32),
            opcode::QUERY_RQ => {
                let number = query_rq_in::RQN.get(input) as u32;
                let queue = self
                    .rqs
                    .get(&number)
                    .ok_or_else(unknown("no such receive queue"))?;
                rqc::STATE
                    .inside(query_rq_out::RQ_CONTEXT)
                    .set(output, queue.state);
                Ok(())
            }
            _ => Err(NOT_MODELLED),
        }
    }

    fn create_receive_queue(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let queue = ReceiveQueue::parse(from(input, create_rq_in::CTX)?)
            .map_err(|reason| Status::BadParameter.because(reason))?;
        if !self.cqs.contains_key(&queue.cqn) {
            return Err(Status::BadResource.because("no such completion queue"));
        }
        if queue.state != RESET {
            return Err(Status::BadState.because("a new receive queue that is not in reset"));
        }
        if queue.counter != 0 && !self.queue_counters.contains_key(&queue.counter) {
            return Err(Status::BadResource.because("no such counter set"));
        }
        let number = self.id("rq", FIRST_QUEUE);
        self.rqs.insert(number, queue);
        create_rq_out::RQN.set(output, u64::from(number));
        Ok(())
    }

    fn modify_receive_queue(&mut self, input: &[u8]) -> Answer {
        let number = modify_rq_in::RQN.get(input) as u32;
        let queue = self
            .rqs
            .get_mut(&number)
            .ok_or_else(unknown("no such receive queue"))?;
        if modify_rq_in::RQ_STATE.get(input) != queue.state {
            return Err(Status::BadState.because("the receive queue is in another state"));
        }
        transition(queue.state, rqc::STATE.inside(modify_rq_in::CTX).get(input))?;
        queue.modify(
            from(input, modify_rq_in::CTX)?,
            modify_rq_in::MODIFY_BITMASK.get(input),
        );
        Ok(())
    }

    fn destroy_receive_queue(&mut self, number: u32) -> Answer {
        let in_table = self.rqts.values().any(|table| table.contains(&number));
        if in_table || self.tirs.values().any(|tir| tir.target == Target::Queue(number)) {
            return Err(Status::Busy.because("a TIR or an RQ table has the receive queue"));
        }
        remove(&mut self.rqs, number, "no such receive queue")
    }

    pub(super) fn hashing_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::CREATE_TIR => self.create_tir(input, output),
            opcode::MODIFY_TIR => self.modify_tir(input),
            opcode::DESTROY_TIR => self.destroy_tir(destroy_tir_in::TIRN.get(input) as u32),
            opcode::CREATE_RQT => {
                let queues = self.table(input, create_rqt_in::RQT_CONTEXT)?;
                let number = self.id("rqt", FIRST_TABLE);
                self.rqts.insert(number, queues);
                create_rqt_out::RQTN.set(output, u64::from(number));
                Ok(())
            }
            opcode::MODIFY_RQT => {
                let queues = self.table(input, modify_rqt_in::CTX)?;
                let number = modify_rqt_in::RQTN.get(input) as u32;
                *self
                    .rqts
                    .get_mut(&number)
                    .ok_or_else(unknown("no such RQ table"))? = queues;
                Ok(())
            }
            opcode::DESTROY_RQT => self.destroy_table(destroy_rqt_in::RQTN.get(input) as u32),
            _ => Err(NOT_MODELLED),
        }
    }

    /// Reads the numbers of an RQ table, all of which must be receive queues.
    fn table(&self, input: &[u8], context: Field) -> Result<Vec<u32>, Refusal> {
        let list = from(input, context)?;
        let count = rqtc::RQT_ACTUAL_SIZE.get(list) as usize;
        let number = |index: usize| Field::new(rqtc::SIZE * 8 + index * 32 + 8, 24).get(list) as u32;
        let queues: Vec<u32> = (0..count).map(number).collect();
        let known = queues.iter().all(|queue| self.rqs.contains_key(queue));
        known
            .then_some(queues)
            .ok_or_else(unknown("no such receive queue"))
    }

    fn destroy_table(&mut self, number: u32) -> Answer {
        if self.tirs.values().any(|tir| tir.target == Target::Table(number)) {
            return Err(Status::Busy.because("a TIR has the RQ table"));
        }
        remove(&mut self.rqts, number, "no such RQ table")
    }

    fn create_tir(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let tir = Tir::parse(from(input, create_tir_in::CTX)?);
        let known = match tir.target {
            Target::Table(table) => self.rqts.contains_key(&table),
            Target::Queue(queue) => self.rqs.contains_key(&queue),
        };
        if !known {
            return Err(Status::BadResource.because("no such receive queue or RQ table"));
        }
        let number = self.id("tir", FIRST_TIR);
        self.tirs.insert(number, tir);
        create_tir_out::TIRN.set(output, u64::from(number));
        Ok(())
    }

    fn modify_tir(&mut self, input: &[u8]) -> Answer {
        let number = modify_tir_in::TIRN.get(input) as u32;
        let tir = self.tirs.get_mut(&number).ok_or_else(unknown("no such TIR"))?;
        tir.modify(
            from(input, modify_tir_in::CTX)?,
            from(input, modify_tir_in::BITMASK)?,
        );
        Ok(())
    }

    fn destroy_tir(&mut self, number: u32) -> Answer {
        let tir = Destination::Tir(number);
        if self.flow_tables.values().any(|table| table.has_destination(tir)) {
            return Err(Status::Busy.because("a flow entry has the TIR"));
        }
        remove(&mut self.tirs, number, "no such TIR")
    }
}
