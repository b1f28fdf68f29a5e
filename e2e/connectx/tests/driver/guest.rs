//! A machine with a card, whose shell obeys the test.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice, VlanId};
use xdp_connectx::{
    Card, CardCounters, Profile,
    machine::{Architecture, KernelSeries, Machine, MachineFiles, MachineLimits},
};

pub(crate) const MAC: [u8; 6] = [0x02, 0x15, 0xb3, 0, 0, 1];
pub(crate) const PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 2];

const LIMITS: MachineLimits = MachineLimits {
    silence: Duration::from_mins(2),
    total: Duration::from_mins(5),
};
/// How long anything that the guest does may take, on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the lines of the port as commands, and answers with their output and exit status.
const SHELL: &str = r#"
for device in /sys/class/net/*; do
    [ "$(cat "$device/address" 2>/dev/null)" = 02:15:b3:00:00:01 ] && export NIC=${device##*/}
done
exec 3<>/dev/virtio-ports/peer
while read -r line <&3; do
    [ "$line" != exit ] || exit 0
    { eval "$line"; echo "status $?"; } >&3 2>&1
done
"#;

pub(crate) struct Guest {
    machine: Machine,
    pub(crate) card: Card,
    port: BufReader<UnixStream>,
}

impl Guest {
    pub(crate) fn boot() -> Self {
        let files = MachineFiles::of_project();
        let kernel = files.kernel(KernelSeries::Newest, Architecture::Amd64).unwrap();
        let mut builder = Machine::builder(&files, &kernel).unwrap();
        let card = Card::insert(&builder.card("nic0"), Profile::CONNECTX_6_DX).unwrap();
        let machine = builder.command("/bin/bash", ["-c", SHELL]).start().unwrap();
        let port = BufReader::new(machine.peer().unwrap());
        let mut guest = Self { machine, card, port };
        // No frames but those of the test.
        guest.run("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
        guest.run("ip address add 10.9.0.1/24 dev $NIC && ip link set $NIC up");
        guest.run("ip neighbour replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev $NIC");
        guest.wait_for_carrier();
        guest
    }

    /// Runs a command. Returns its output.
    pub(crate) fn run(&mut self, command: &str) -> String {
        writeln!(self.port.get_mut(), "{command}").unwrap();
        let mut output = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.port.read_line(&mut line).unwrap(),
                0,
                "the guest ended: {:?}",
                self.machine.output()
            );
            match line.trim_end().strip_prefix("status ") {
                Some("0") => return output,
                Some(status) => panic!("{command}: exit status {status}: {output}"),
                None => output += &line,
            }
        }
    }

    /// Repeats a command until its output is as wanted.
    pub(crate) fn wait_for(&mut self, command: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(command);
            if wanted(&output) {
                return output;
            }
            assert!(Instant::now() < deadline, "{command}: {output}");
        }
    }

    pub(crate) fn wait_for_carrier(&mut self) {
        self.wait_for("cat /sys/class/net/$NIC/carrier", |carrier| carrier.trim() == "1");
    }

    /// Returns a counter of `ethtool -S`.
    pub(crate) fn statistic(&mut self, name: &str) -> u64 {
        let output = self.run("ethtool -S $NIC");
        let value = output
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        value
            .unwrap_or_else(|| panic!("no {name} in {output}"))
            .parse()
            .unwrap()
    }

    /// Sends frames, of which the driver must receive `expected`. The card must find no way for the others.
    pub(crate) fn send(&mut self, what: &str, frames: &[Vec<u8>], expected: u64) {
        let before = (self.card.counters(), self.statistic("rx_packets"));
        let count = frames.len() as u64;
        for frame in frames {
            self.card.send(frame.clone());
        }
        let counters = self.card.counters();
        let lost = |counters: &CardCounters| counters.unmatched + counters.dropped_by_rule;
        assert_eq!(counters.received - before.0.received, count, "{what}");
        assert_eq!(lost(&counters) - lost(&before.0), count - expected, "{what}");
        assert_eq!(counters.out_of_buffer, before.0.out_of_buffer, "{what}");
        let received = before.1 + expected;
        self.wait_for("ethtool -S $NIC | grep ' rx_packets:'", |output| {
            output.trim() == format!("rx_packets: {received}")
        });
    }

    /// Returns the next frame to UDP port 7000 that the card sends.
    pub(crate) fn next_sent(&self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.card.receive(left).expect("the card sends a frame");
            if is_to_port(&frame) {
                return frame;
            }
        }
    }

    /// Ends the machine, which must not have complained, nor the card.
    pub(crate) fn shut_down(mut self) {
        writeln!(self.port.get_mut(), "exit").unwrap();
        self.machine
            .wait_for_success(LIMITS)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.card.findings(), []);
    }
}

fn is_to_port(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    matches!(packet.transport, Some(TransportSlice::Udp(udp)) if udp.destination_port() == 7000)
}

/// A UDP frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) destination: [u8; 6],
    pub(crate) vlan: Option<u16>,
    /// Last byte of the source address 10.9.0.0/24, and source port.
    pub(crate) source: (u8, u16),
    pub(crate) port: u16,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            destination: MAC,
            vlan: None,
            source: (2, 1000),
            port: 7000,
        }
    }
}

impl Frame {
    pub(crate) fn build(self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(PEER, self.destination);
        let (source, destination) = ([10, 9, 0, self.source.0], [10, 9, 0, 1]);
        let ip = match self.vlan {
            Some(vlan) => ethernet
                .single_vlan(VlanId::try_new(vlan).unwrap())
                .ipv4(source, destination, 64),
            None => ethernet.ipv4(source, destination, 64),
        };
        let mut frame = Vec::new();
        ip.udp(self.source.1, self.port)
            .write(&mut frame, &[7; 40])
            .unwrap();
        frame
    }

    /// Returns frames of different connections.
    pub(crate) fn connections(self, count: u16) -> Vec<Vec<u8>> {
        (0..count)
            .map(|index| {
                Self {
                    source: (2, 1000 + index),
                    ..self
                }
                .build()
            })
            .collect()
    }
}
