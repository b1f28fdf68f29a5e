//! Foreign XDP programs.

use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};
use xdp_e2e::Status;
use xdp_lab::NicSpec;

use super::{NATIVE, fixture, marks, nic_problem, start, xdp};
use crate::fixture::Fixture;

/// A foreign program, attached to the NIC while this value lives.
struct Foreign {
    _ebpf: Ebpf,
    id: u64,
}

impl Foreign {
    fn attach(fixture: &Fixture, name: &str, mode: XdpMode) -> Self {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-e2e-ebpf"));
        let mut ebpf = EbpfLoader::new().load(object).unwrap();
        let program: &mut Xdp = ebpf.program_mut("act").unwrap().try_into().unwrap();
        program.load().unwrap();
        let node = fixture.lab.node();
        node.run(|| program.attach(name, mode).unwrap()).unwrap();
        let id = program.info().unwrap().id().into();
        Self { _ebpf: ebpf, id }
    }
}

fn a_foreign_program_stays(mode: XdpMode) {
    let (fixture, pod) = fixture();
    let foreign = Foreign::attach(&fixture, "nic0", mode);
    let shown = xdp(&fixture, "nic0");
    assert_eq!(shown.map(|(_, id)| id), Some(foreign.id));
    let mut agent = start(&fixture, &["nic0"]);
    let status = nic_problem(
        &agent,
        "nic0",
        "ForeignProgram",
        &["nic0", &foreign.id.to_string()],
    );
    assert_eq!(status.nic_mode("nic0"), Some("Foreign"));
    assert_eq!(status.program_id("nic0"), Some(foreign.id));
    // A later reconcile, a restart and a stop do not change it.
    agent.stop().unwrap();
    agent.start().unwrap();
    agent.wait_for("the second one runs", Status::running);
    nic_problem(&agent, "nic0", "ForeignProgram", &[]);
    assert_eq!(xdp(&fixture, "nic0"), shown);

    drop(foreign);
    agent.wait_for("the agent's program is attached", |status| {
        status.nic_mode("nic0") == Some("Native") && status.problem("NIC nic0", "ForeignProgram").is_none()
    });
    marks(&fixture, &pod, 42);
}

#[test]
fn a_foreign_native_program_stays_and_the_agents_is_attached_when_it_is_detached() {
    a_foreign_program_stays(XdpMode::Driver);
}

#[test]
fn a_foreign_generic_program_stays_and_the_agents_is_attached_when_it_is_detached() {
    a_foreign_program_stays(XdpMode::Skb);
}

#[test]
fn uninstalling_keeps_a_foreign_program() {
    let (fixture, _pod) = fixture();
    let second = fixture.lab.namespace("second").unwrap();
    fixture.lab.nic(NicSpec::new("nic1", &second)).unwrap();
    let foreign = Foreign::attach(&fixture, "nic1", XdpMode::Driver);
    let mut agent = fixture.start(&["server"]);
    nic_problem(&agent, "nic1", "ForeignProgram", &[]);
    agent.stop().unwrap();
    agent.uninstall().unwrap();
    assert_eq!(xdp(&fixture, "nic1"), Some((NATIVE, foreign.id)));
    assert_eq!(xdp(&fixture, "nic0"), None);
}
