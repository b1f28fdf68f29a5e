//! The kernel's text when it refuses an XDP program.

use xdp_lab::{Lab, bpf};

const XDP_PASS: u32 = 2;

#[test]
fn a_refused_program_comes_with_the_drivers_text() {
    let lab = Lab::new().unwrap();
    let wire = lab.namespace("wire").unwrap();
    let node = lab.node();
    node.wire("nic0", &wire, "wire0").unwrap();
    let program = bpf::load_xdp(XDP_PASS, false).unwrap();
    for (namespace, name) in [(node, "nic0"), (&wire, "wire0")] {
        namespace.set_mtu(name, 9000).unwrap();
    }
    let refusal = node.attach_xdp("nic0", &program).unwrap().unwrap_err();
    assert_eq!(refusal.source.raw_os_error(), Some(libc::ERANGE));
    assert!(refusal.text.contains("MTU"), "{refusal}");

    for (namespace, name) in [(node, "nic0"), (&wire, "wire0")] {
        namespace.set_mtu(name, 1500).unwrap();
    }
    node.attach_xdp("nic0", &program).unwrap().unwrap();
    node.detach_xdp("nic0").unwrap().unwrap();
}
