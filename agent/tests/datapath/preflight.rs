//! `xdp-agent preflight` on real interfaces: it attaches nothing, and says by its exit code what to expect.

use std::process::{Command, Output};

use serde_json::Value;
use xdp_agent::{datapath::Datapath, testing::HostAndPod};
use xdp_plan::nics::{XdpMode, reason};

use crate::{
    attach::{host0, xdp},
    bpffs::Bpffs,
};

fn preflight(fixture: &HostAndPod, bpffs: &Bpffs, nic: &str) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-agent"));
    command.args(["preflight", "-o", "json", "--nic", nic]);
    command.arg("--pin-dir").arg(bpffs.pin_dir());
    let output = fixture.host.run(|| command.output().unwrap());
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output, report)
}

#[test]
fn a_nic_that_would_take_the_program_passes_and_nothing_is_attached() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let (output, report) = preflight(&fixture, &bpffs, "host0");
    assert!(output.status.success(), "{report:#}");
    let nic = &report["nics"][0];
    assert_eq!((&nic["name"], &nic["driver"]), (&"host0".into(), &"veth".into()));
    assert_eq!(nic["rules"]["redirect"], "Native");
    assert_eq!(report["machine"]["problems"], Value::Array(Vec::new()));
    assert_eq!(xdp(&fixture).mode, XdpMode::None);
    assert!(!bpffs.pin_dir().exists());
}

#[test]
fn a_refusal_is_predicted_by_the_exit_code_and_the_reason() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    fixture.host.ip("link add br0 type bridge");
    fixture.host.ip("link set host0 master br0");
    let (output, report) = preflight(&fixture, &bpffs, "*0");
    assert_eq!(output.status.code(), Some(1));
    let nics = report["nics"].as_array().unwrap();
    let of = |name: &str| nics.iter().find(|nic| nic["name"] == name).unwrap();
    assert_eq!(of("br0")["problems"][0]["reason"], reason::NO_NATIVE_XDP);
    assert_eq!(of("br0")["rules"]["filter"], "Generic");
    assert_eq!(of("host0")["master"]["kind"], "bridge");
    assert_eq!(of("host0")["problems"], Value::Array(Vec::new()));
}

#[test]
fn the_agents_own_program_passes_and_that_of_another_directory_does_not() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let nic = host0(&fixture);
    let own = Datapath::open(&bpffs.pin_dir()).unwrap();
    fixture.host.run(|| own.attach_nic(nic)).unwrap();
    let (output, report) = preflight(&fixture, &bpffs, "host0");
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["nics"][0]["program"]["mode"], "Native");
    let other = Bpffs::new();
    let (output, report) = preflight(&fixture, &other, "host0");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        report["nics"][0]["problems"][0]["reason"],
        reason::FOREIGN_PROGRAM
    );
}
