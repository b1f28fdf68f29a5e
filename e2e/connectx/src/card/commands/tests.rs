use crate::card::{
    bits::Field,
    commands::{
        Status,
        driver::{DOORBELL, Driver, QUEUE_HIGH},
    },
    findings::Finding,
    layout::{
        alloc_pd_out, alloc_uar_out, cmd_in, cmd_out, cqc, create_cq_in, create_eq_in, create_eq_out,
        create_flow_table_in, create_flow_table_out, create_rq_in, create_rq_out, create_sq_in,
        dealloc_pd_in, destroy_eq_in, destroy_flow_table_in, destroy_rq_in, eqc, flow_table_context,
        manage_pages_in, manage_pages_out, modify_rq_in, opcode, query_hca_cap_out, rqc, sqc, wq,
    },
    profile::Profile,
};

const READY: u64 = 1;
const ERROR: u64 = 3;

impl Driver {
    fn event_queue(&mut self, fields: &[(Field, u64)]) -> Vec<(Field, u64)> {
        let uar = alloc_uar_out::UAR.get(&self.must(opcode::ALLOC_UAR, 16, &[]));
        let context = create_eq_in::EQ_CONTEXT_ENTRY;
        let page = self.fixture.allocate(4096);
        let mut all = vec![
            (eqc::UAR_PAGE.inside(context), uar),
            (eqc::LOG_EQ_SIZE.inside(context), 6),
            (eqc::INTR.inside(context), 1),
            (Field::new(create_eq_in::PAS.bit, 64), page),
        ];
        all.extend(fields);
        all
    }

    fn create_event_queue(&mut self, fields: &[(Field, u64)]) -> u64 {
        let fields = self.event_queue(fields);
        create_eq_out::EQ_NUMBER.get(&self.must(opcode::CREATE_EQ, EQ, &fields))
    }

    /// Creates an event queue and a completion queue; returns the latter's number.
    fn create_completion_queue(&mut self) -> u64 {
        let eqn = self.create_event_queue(&[]);
        let uar = alloc_uar_out::UAR.get(&self.must(opcode::ALLOC_UAR, 16, &[]));
        let (page, doorbell) = (self.fixture.allocate(4096), self.fixture.allocate(8));
        let context = create_cq_in::CQ_CONTEXT;
        let output = self.must(
            opcode::CREATE_CQ,
            create_cq_in::PAS.byte() + 8,
            &[
                (cqc::UAR_PAGE.inside(context), uar),
                (cqc::LOG_CQ_SIZE.inside(context), 6),
                (cqc::C_EQN_OR_APU_ELEMENT.inside(context), eqn),
                (cqc::DBR_ADDR.inside(context), doorbell),
                (Field::new(create_cq_in::PAS.bit, 64), page),
            ],
        );
        Field::new(0x48, 24).get(&output)
    }

    fn create_receive_queue(&mut self) -> u64 {
        let cqn = self.create_completion_queue();
        let (page, doorbell) = (self.fixture.allocate(4096), self.fixture.allocate(8));
        let context = create_rq_in::CTX;
        let work = rqc::WQ.inside(context);
        let output = self.must(
            opcode::CREATE_RQ,
            work.byte() + wq::PAS.byte() + 8,
            &[
                (rqc::CQN.inside(context), cqn),
                (wq::WQ_TYPE.inside(work), 1),
                (wq::LOG_WQ_SZ.inside(work), 4),
                (wq::LOG_WQ_STRIDE.inside(work), 5),
                (wq::DBR_ADDR.inside(work), doorbell),
                (Field::new(wq::PAS.bit, 64).inside(work), page),
            ],
        );
        create_rq_out::RQN.get(&output)
    }

    fn modify_receive_queue(rqn: u64, from: u64, to: u64) -> [(Field, u64); 3] {
        let state = rqc::STATE.inside(modify_rq_in::CTX);
        [
            (modify_rq_in::RQN, rqn),
            (modify_rq_in::RQ_STATE, from),
            (state, to),
        ]
    }
}

/// The lengths of some inputs.
const EQ: usize = create_eq_in::PAS.byte() + 8;
const TABLE: usize = create_flow_table_in::FLOW_TABLE_CONTEXT.byte() + 40;
const MODIFY_RQ: usize = modify_rq_in::CTX.byte() + 240;

#[test]
fn input_and_output_go_through_chained_mailboxes() {
    let mut driver = Driver::new();
    let pages: Vec<u64> = (0..200).map(|_| driver.fixture.allocate(4096)).collect();
    let mut fields = vec![(cmd_in::OP_MOD, 1), (manage_pages_in::INPUT_NUM_ENTRIES, 200)];
    let entry = |index: usize| Field::new(manage_pages_in::PAS.bit + index * 64, 64);
    fields.extend(
        pages
            .iter()
            .enumerate()
            .map(|(index, page)| (entry(index), *page)),
    );
    driver.must(opcode::MANAGE_PAGES, manage_pages_in::PAS.byte() + 1600, &fields);
    let mut take = vec![0; 16];
    cmd_in::OPCODE.set(&mut take, u64::from(opcode::MANAGE_PAGES));
    cmd_in::OP_MOD.set(&mut take, 2);
    manage_pages_in::INPUT_NUM_ENTRIES.set(&mut take, 200);
    let output = driver.issue(3, &take, manage_pages_out::PAS.byte() + 1600);
    assert_eq!(manage_pages_out::OUTPUT_NUM_ENTRIES.get(&output), 200);
    let mut returned: Vec<u64> = (0..200)
        .map(|index| Field::new(manage_pages_out::PAS.bit + index * 64, 64).get(&output))
        .collect();
    returned.sort_unstable();
    assert_eq!(returned, pages);
    assert_eq!(driver.fixture.device.findings(), []);
}

#[test]
fn several_slots_can_be_rung_at_once() {
    let mut driver = Driver::new();
    let mut entry = [0; 64];
    Field::new(0x04 * 8, 32).set(&mut entry, 16);
    Field::new(0x38 * 8, 32).set(&mut entry, 16);
    Field::new(0x10 * 8, 16).set(&mut entry, u64::from(opcode::ALLOC_PD));
    for slot in [0, 31] {
        driver.fixture.write(driver.queue + slot * 64, &entry);
    }
    driver
        .fixture
        .device
        .write_registers(DOORBELL, &0x8000_0001_u32.to_be_bytes());
    let mut domain =
        |slot: u64| alloc_pd_out::PD.get(&driver.fixture.read(driver.queue + slot * 64 + 0x20, 16));
    assert_eq!((domain(0), domain(31)), (1, 2));
}

#[test]
fn an_unknown_command_is_a_finding() {
    let mut driver = Driver::new();
    let output = driver.run(0x9ff, 16, &[]);
    assert_eq!(cmd_out::STATUS.get(&output), Status::BadOperation as u64);
    assert_eq!(
        driver.fixture.device.findings(),
        [Finding::UnhandledCommand { opcode: 0x9ff }]
    );
}

#[test]
fn a_failure_that_the_test_asked_for_is_no_finding() {
    let mut driver = Driver::new();
    driver.fixture.device.failing.insert(opcode::ALLOC_PD, (0x8, 1));
    assert_eq!(cmd_out::STATUS.get(&driver.run(opcode::ALLOC_PD, 16, &[])), 0x8);
    driver.must(opcode::ALLOC_PD, 16, &[]);
    assert_eq!(driver.fixture.device.findings(), []);
}

#[test]
fn a_command_completes_with_an_event_once_there_is_a_queue_for_it() {
    let mut driver = Driver::new();
    let mask = Field::new(create_eq_in::EVENT_BITMASK.bit, 64);
    let eqn = driver.create_event_queue(&[(mask, 1 << 0x0a)]);
    assert_eq!(
        driver.fixture.device.counters.events, 0,
        "not for the command that creates it"
    );
    driver.must(opcode::ALLOC_PD, 16, &[]);
    assert_eq!(driver.fixture.device.counters.events, 1);
    driver.must(opcode::DESTROY_EQ, 16, &[(destroy_eq_in::EQ_NUMBER, eqn)]);
    assert_eq!(
        driver.fixture.device.counters.events, 1,
        "not for the command that destroys it"
    );
}

#[test]
fn objects_that_were_not_allocated_are_unknown() {
    let mut driver = Driver::new();
    let free = [(dealloc_pd_in::PD, 5)];
    assert_eq!(
        driver.refused(Status::BadResource, opcode::DEALLOC_PD, 16, &free),
        "no such protection domain"
    );
    let destroy = [(destroy_rq_in::RQN, 5)];
    assert_eq!(
        driver.refused(Status::BadResource, opcode::DESTROY_RQ, 16, &destroy),
        "no such receive queue"
    );
}

#[test]
fn a_queue_needs_aligned_pages_a_doorbell_page_and_a_vector() {
    let mut driver = Driver::new();
    let page = Field::new(create_eq_in::PAS.bit, 64);
    let context = create_eq_in::EQ_CONTEXT_ENTRY;
    for (field, value, status) in [
        (page, 0x1234, Status::BadParameter),
        (page, 0, Status::BadParameter),
        (eqc::INTR.inside(context), 32, Status::BadParameter),
        (eqc::LOG_EQ_SIZE.inside(context), 7, Status::BadParameter),
        (eqc::UAR_PAGE.inside(context), 99, Status::BadResource),
    ] {
        let fields = driver.event_queue(&[(field, value)]);
        driver.refused(status, opcode::CREATE_EQ, EQ, &fields);
    }
}

#[test]
fn an_event_queue_with_completion_queues_is_busy() {
    let mut driver = Driver::new();
    driver.create_completion_queue();
    let destroy = [(destroy_eq_in::EQ_NUMBER, 1)];
    assert_eq!(
        driver.refused(Status::Busy, opcode::DESTROY_EQ, 16, &destroy),
        "the event queue has completion queues"
    );
}

#[test]
fn states_of_a_receive_queue_follow_from_each_other() {
    let mut driver = Driver::new();
    let rqn = driver.create_receive_queue();
    for (from, to) in [(0, READY), (READY, READY), (READY, ERROR), (ERROR, 0), (0, READY)] {
        driver.must(
            opcode::MODIFY_RQ,
            MODIFY_RQ,
            &Driver::modify_receive_queue(rqn, from, to),
        );
    }
    driver.must(
        opcode::MODIFY_RQ,
        MODIFY_RQ,
        &Driver::modify_receive_queue(rqn, READY, ERROR),
    );
    for (from, to) in [(ERROR, READY), (0, READY)] {
        let modify = Driver::modify_receive_queue(rqn, from, to);
        driver.refused(Status::BadState, opcode::MODIFY_RQ, MODIFY_RQ, &modify);
    }
}

#[test]
fn a_send_queue_needs_what_its_context_names() {
    let mut driver = Driver::new();
    let pd = alloc_pd_out::PD.get(&driver.must(opcode::ALLOC_PD, 16, &[]));
    let context = create_sq_in::CTX;
    let length = create_sq_in::CTX.byte() + 240;
    let (lists, domain) = (
        sqc::TIS_LST_SZ.inside(context),
        wq::PD.inside(sqc::WQ.inside(context)),
    );
    let refused = |driver: &mut Driver, fields: &[(Field, u64)]| {
        driver.refused(Status::BadResource, opcode::CREATE_SQ, length, fields)
    };
    assert_eq!(refused(&mut driver, &[(lists, 1)]), "no such TIS");
    assert_eq!(refused(&mut driver, &[]), "no such protection domain");
    assert_eq!(refused(&mut driver, &[(domain, pd)]), "no such UAR page");
}

#[test]
fn pages_for_the_firmware_are_aligned_and_given_once() {
    let mut driver = Driver::new();
    let entry = Field::new(manage_pages_in::PAS.bit, 64);
    let length = manage_pages_in::PAS.byte() + 8;
    let give = |page| {
        [
            (cmd_in::OP_MOD, 1),
            (manage_pages_in::INPUT_NUM_ENTRIES, 1),
            (entry, page),
        ]
    };
    driver.must(opcode::MANAGE_PAGES, length, &give(0x4000_1000));
    for page in [0, 0x4000_2001, 0x4000_1000] {
        driver.refused(Status::BadParameter, opcode::MANAGE_PAGES, length, &give(page));
    }
}

#[test]
fn an_input_that_is_too_short_is_refused() {
    let mut driver = Driver::new();
    for opcode in [
        opcode::CREATE_EQ,
        opcode::CREATE_CQ,
        opcode::CREATE_MKEY,
        opcode::CREATE_SQ,
    ] {
        driver.refused(Status::BadInputLength, opcode, 16, &[]);
    }
}

#[test]
fn capabilities_are_those_of_the_profile() {
    use crate::card::layout::cmd_hca_cap as general;

    for (profile, striding, manager) in [
        (Profile::CONNECTX_4_LX, 0, 1),
        (Profile::CONNECTX_6_DX, 1, 1),
        (Profile::CONNECTX_6_DX.into_virtual_function(), 1, 0),
    ] {
        let mut driver = Driver::of(profile);
        let output = driver.must(opcode::QUERY_HCA_CAP, 16, &[]);
        let get = |field: Field| field.inside(query_hca_cap_out::CAPABILITY).get(&output);
        assert_eq!(get(general::EXT_STRIDE_NUM_RANGE), striding);
        assert_eq!(get(general::VPORT_GROUP_MANAGER), manager);
        assert_eq!(get(general::PORT_TYPE), 1);
    }
}

#[test]
fn a_command_queue_outside_guest_memory_is_a_finding() {
    let mut driver = Driver::new();
    driver.fixture.device.write_registers(QUEUE_HIGH, &[0, 0, 0, 1]);
    driver.fixture.device.write_registers(DOORBELL, &[0, 0, 0, 1]);
    let fault = Finding::DmaFault {
        address: 0x1_4000_0000,
        write: false,
    };
    assert_eq!(driver.fixture.device.findings(), [fault]);
}

#[test]
fn flow_tables_lead_only_to_higher_ones() {
    let mut driver = Driver::new();
    let context = create_flow_table_in::FLOW_TABLE_CONTEXT;
    let level = flow_table_context::LEVEL.inside(context);
    let misses = flow_table_context::TABLE_MISS_ACTION.inside(context);
    let miss = flow_table_context::TABLE_MISS_ID.inside(context);
    let output = driver.must(opcode::CREATE_FLOW_TABLE, TABLE, &[(level, 5)]);
    let table = create_flow_table_out::TABLE_ID.get(&output);
    driver.must(
        opcode::CREATE_FLOW_TABLE,
        TABLE,
        &[(level, 4), (misses, 1), (miss, table)],
    );
    for (own, next, status) in [
        (5, table, Status::BadParameter),
        (6, table, Status::BadParameter),
        (1, 99, Status::BadResource),
    ] {
        let fields = [(level, own), (misses, 1), (miss, next)];
        driver.refused(status, opcode::CREATE_FLOW_TABLE, TABLE, &fields);
    }
    let destroy = [(destroy_flow_table_in::TABLE_ID, table)];
    assert_eq!(
        driver.refused(Status::Busy, opcode::DESTROY_FLOW_TABLE, 64, &destroy),
        "another flow table refers to the table"
    );
}

#[test]
fn objects_that_are_left_at_the_end_are_findings() {
    let mut driver = Driver::new();
    driver.must(opcode::ALLOC_PD, 16, &[]);
    driver.must(opcode::TEARDOWN_HCA, 16, &[]);
    assert_eq!(
        driver.fixture.problems().first(),
        Some(&"a protection domain is left")
    );
}
