use crate::card::{
    bits::Field,
    commands::driver::Driver,
    fixture::Content,
    layout::{
        access_register_in, access_register_out, cmd_in, eth_802_3_cntrs_grp_data_layout as ieee_802_3,
        opcode, paos_reg, phys_layer_cntrs, pmtu_reg, ppcnt_reg,
    },
};

const PMTU: u64 = 0x5003;
const PAOS: u64 = 0x5006;
const PPCNT: u64 = 0x5008;
/// More than the longest register.
const LENGTH: usize = 256;

impl Driver {
    /// Accesses a register; returns its content.
    fn register(&mut self, number: u64, write: bool, fields: &[(Field, u64)]) -> Vec<u8> {
        let mut all = vec![
            (access_register_in::REGISTER_ID, number),
            (cmd_in::OP_MOD, u64::from(!write)),
        ];
        let start = Field::new(access_register_in::REGISTER_DATA.bit, 0);
        all.extend(fields.iter().map(|(field, value)| (field.inside(start), *value)));
        let output = self.must(opcode::ACCESS_REG, start.byte() + LENGTH, &all);
        output[access_register_out::REGISTER_DATA.byte()..].to_vec()
    }
}

#[test]
fn the_port_has_the_mtu_that_the_driver_sets() {
    let mut driver = Driver::new();
    driver.register(PMTU, true, &[(pmtu_reg::ADMIN_MTU, 3000)]);
    let register = driver.register(PMTU, false, &[]);
    let mtu = [pmtu_reg::MAX_MTU, pmtu_reg::ADMIN_MTU, pmtu_reg::OPER_MTU].map(|field| field.get(&register));
    assert_eq!(mtu, [10_000, 3000, 3000]);
}

#[test]
fn the_port_is_up_when_the_driver_and_the_cable_want_it() {
    let mut driver = Driver::new();
    let mut state = |admin: u64, cable| {
        driver.register(PAOS, true, &[(paos_reg::ADMIN_STATUS, admin)]);
        driver.fixture.device.set_link(cable);
        let register = driver.register(PAOS, false, &[]);
        (
            paos_reg::ADMIN_STATUS.get(&register),
            paos_reg::OPER_STATUS.get(&register),
        )
    };
    assert_eq!(state(1, true), (1, 1));
    assert_eq!(state(1, false), (1, 2));
    assert_eq!(state(2, true), (2, 2));
}

#[test]
fn port_counters_are_those_of_the_wire() {
    let mut driver = Driver::new();
    let frame = Content::default().frame();
    driver.fixture.device.receive(&frame);
    driver.fixture.device.receive(&frame);
    let register = driver.register(PPCNT, false, &[(ppcnt_reg::GRP, 0)]);
    let get = |field: Field| {
        Field::new(field.bit, 64)
            .inside(ppcnt_reg::COUNTER_SET)
            .get(&register)
    };
    assert_eq!(get(ieee_802_3::A_FRAMES_RECEIVED_OK_HIGH), 2);
    let bytes = 2 * (frame.len() as u64 + 4);
    assert_eq!(get(ieee_802_3::A_OCTETS_RECEIVED_OK_HIGH), bytes);
    assert_eq!(get(ieee_802_3::A_FRAMES_TRANSMITTED_OK_HIGH), 0);
}

#[test]
fn a_link_that_goes_down_is_counted() {
    let mut driver = Driver::new();
    driver.fixture.device.set_link(false);
    driver.fixture.device.set_link(true);
    let register = driver.register(PPCNT, false, &[(ppcnt_reg::GRP, 0x12)]);
    assert_eq!(
        phys_layer_cntrs::LINK_DOWN_EVENTS
            .inside(ppcnt_reg::COUNTER_SET)
            .get(&register),
        1
    );
}

#[test]
fn an_unknown_register_is_a_finding() {
    let mut driver = Driver::new();
    driver.register(0x1234, false, &[]);
    let finding = crate::card::findings::Finding::UnhandledRegister { register: 0x1234 };
    assert_eq!(driver.fixture.device.findings(), [finding]);
}
