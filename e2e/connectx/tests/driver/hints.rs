//! What XDP programs learn about a frame: `bpf_xdp_metadata_rx_timestamp`, `_hash` and `_vlan_tag`.

mod program;

use std::{env, thread, time::Duration};

use program::Hints;

use super::guest::{Frame, Guest};

/// `XDP_RSS_TYPE_L4_IPV4_UDP`.
const IPV4_UDP: u32 = 1 | 1 << 3 | 1 << 5;
const NO_DATA: i64 = -61;

/// The guest's part of the test: attaches a program, and writes the hints of each frame to its output.
#[test]
#[ignore = "runs in the guest"]
fn in_the_guest() {
    let interface = env::var("NIC").expect("the name of the interface");
    let program = program::attach(&interface);
    println!("\nready");
    let mut seen = 0;
    while seen < 2 {
        let hints = program.hints();
        if hints.frames == seen {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        seen = hints.frames;
        println!("{}", serde_json::to_string(&hints).unwrap());
    }
}

/// Sends an untagged and a tagged frame, and checks their hints.
pub(crate) fn timestamp_hash_and_tag(guest: &mut Guest) {
    let program = env::current_exe().unwrap();
    let program = program.display();
    guest.run("ethtool -K $NIC rx-vlan-filter off");
    let test = "hints::in_the_guest --exact --ignored --nocapture";
    guest.run(&format!("{program} {test} >/run/hints 2>&1 &"));
    guest.wait_for("cat /run/hints", |output| output.contains("ready"));
    guest.wait_for_carrier();
    let hints = [None, Some(0x123)].map(|vlan| {
        let frame = Frame {
            vlan,
            port: 7001,
            ..Frame::default()
        };
        guest.card.send(frame.build());
        let number = if vlan.is_none() { 1 } else { 2 };
        let output = guest.wait_for("cat /run/hints", |output| {
            output.matches("frames").count() == number
        });
        let line = output
            .lines()
            .filter(|line| line.starts_with('{'))
            .nth(number - 1)
            .unwrap();
        serde_json::from_str::<Hints>(line).unwrap()
    });
    guest.run("wait");
    let [untagged, tagged] = hints;
    assert_eq!((untagged.timestamp.0, untagged.hash.0), (0, 0), "{untagged:?}");
    assert_eq!((untagged.hash_type, untagged.hash.1), (IPV4_UDP, tagged.hash.1));
    assert_ne!(untagged.hash.1, 0);
    assert_eq!(untagged.tag.0, NO_DATA);
    assert_eq!(tagged.tag, (0, 0x8100, 0x123));
    // The clock of the card is set to the guest's when the driver loads.
    let age = tagged.now.abs_diff(tagged.timestamp.1);
    assert!(
        age < 60_000_000_000 && untagged.timestamp.1 < tagged.timestamp.1,
        "{tagged:?}"
    );
}
