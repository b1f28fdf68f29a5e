//! Which connections a pod has opened, by what the kernel knows of those from before the pod's first policy.

mod listed;
mod noted;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

pub use listed::{ConntrackEntry, PodSocket, Tuple, has_notes};
pub use noted::NotedPods;
use xdp_core::tables::FlowKey;

use crate::compile::address;

/// The connections of a pod, as their packets arrive at NICs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodConnections {
    /// Those that the pod has opened.
    pub opened: BTreeSet<FlowKey>,
    /// Those that remote hosts have opened, as far as connection tracking knows them.
    pub accepted: BTreeSet<FlowKey>,
}

/// Returns the connections of a pod with these addresses.
///
/// Connection tracking knows who opened a connection, and how its addresses are translated. Without an entry
/// there, or where that has not seen the beginning, the pod's sockets decide: a connection is the pod's
/// unless another socket accepts connections on its port.
pub fn connections(
    pod: &BTreeSet<IpAddr>,
    entries: &[ConntrackEntry],
    sockets: &[PodSocket],
) -> PodConnections {
    let is_pods = |address: SocketAddr| pod.contains(&address.ip());
    let connected = connected(sockets);
    let mut found = PodConnections::default();
    for entry in entries {
        let Tuple { source, destination } = entry.original;
        if is_pods(source) {
            let is_own = entry.seen_opening || connected.contains(&(entry.protocol, source, destination));
            if is_own && is_pods(entry.reply.destination) {
                let key = flow_key(entry.protocol, entry.reply.source, entry.reply.destination);
                found.opened.extend(key);
            }
        } else if entry.seen_opening && is_pods(entry.reply.source) {
            let key = flow_key(entry.protocol, entry.reply.destination, entry.reply.source);
            found.accepted.extend(key);
        }
    }
    let own = connected.iter().filter(|(_, local, _)| is_pods(*local));
    let own = own.filter_map(|(protocol, local, remote)| flow_key(*protocol, *remote, *local));
    let own: Vec<FlowKey> = own.filter(|key| !found.accepted.contains(key)).collect();
    found.opened.extend(own);
    found
}

/// Returns protocol, local and remote address of the sockets that no other socket has accepted.
fn connected(sockets: &[PodSocket]) -> BTreeSet<(u8, SocketAddr, SocketAddr)> {
    let listens: BTreeSet<(u8, u16)> = sockets
        .iter()
        .filter(|socket| socket.remote.is_none())
        .map(|socket| (socket.protocol, socket.local.port()))
        .collect();
    sockets
        .iter()
        .filter(|socket| !listens.contains(&(socket.protocol, socket.local.port())))
        .filter_map(|socket| Some((socket.protocol, socket.local, socket.remote?)))
        .collect()
}

/// Returns the key under which a connection is noted, if the data path notes its protocol.
pub fn flow_key(protocol: u8, remote: SocketAddr, pod: SocketAddr) -> Option<FlowKey> {
    has_notes(protocol).then(|| FlowKey {
        remote: address(remote.ip()),
        pod: address(pod.ip()),
        remote_port: remote.port(),
        pod_port: pod.port(),
        protocol: u32::from(protocol),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use xdp_core::parse::protocol;

    use super::*;

    const POD: &str = "10.0.0.5";
    const POD6: &str = "fd00::5";

    fn pod() -> BTreeSet<IpAddr> {
        [POD, POD6].map(|address| address.parse().unwrap()).into()
    }

    fn at(address: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), port)
    }

    fn tuple(source: SocketAddr, destination: SocketAddr) -> Tuple {
        Tuple { source, destination }
    }

    fn keys(keys: BTreeSet<FlowKey>) -> Vec<(u32, u16, u16)> {
        keys.into_iter()
            .map(|key| (key.protocol, key.remote_port, key.pod_port))
            .collect()
    }

    #[rstest]
    fn what_the_pod_opened_is_its_own_and_what_others_opened_is_not(
        #[values((POD, "192.0.2.1"), (POD6, "2001:db8::1"))] (pod_address, remote): (&str, &str),
        #[values(protocol::TCP, protocol::UDP, protocol::SCTP)] protocol: u8,
    ) {
        let (inside, outside) = (at(pod_address, 40000), at(remote, 5432));
        let entry = |original: Tuple| ConntrackEntry {
            protocol,
            original,
            reply: tuple(original.destination, original.source),
            seen_opening: true,
            seen_reply: true,
        };
        let key = [(u32::from(protocol), 5432, 40000)];
        let own = connections(&pod(), &[entry(tuple(inside, outside))], &[]);
        assert_eq!(
            (keys(own.opened).as_slice(), keys(own.accepted)),
            (&key[..], vec![])
        );
        let others = connections(&pod(), &[entry(tuple(outside, inside))], &[]);
        assert_eq!(
            (keys(others.opened), keys(others.accepted).as_slice()),
            (vec![], &key[..])
        );
    }

    #[test]
    fn a_connection_to_a_service_is_noted_with_the_backend_that_answers() {
        let entry = ConntrackEntry {
            protocol: protocol::TCP,
            original: tuple(at(POD, 40000), at("10.96.0.10", 80)),
            reply: tuple(at("192.0.2.7", 8080), at(POD, 40000)),
            seen_opening: true,
            seen_reply: true,
        };
        let sockets = [PodSocket {
            protocol: protocol::TCP,
            local: at(POD, 40000),
            remote: Some(at("10.96.0.10", 80)),
        }];
        let own = connections(&pod(), &[entry], &sockets);
        // The socket's remote address is the Service's.
        assert_eq!(keys(own.opened), [(6, 80, 40000), (6, 8080, 40000)]);
    }

    #[test]
    fn a_masqueraded_connection_is_answered_to_the_node_and_not_noted() {
        let entry = ConntrackEntry {
            protocol: protocol::UDP,
            original: tuple(at(POD, 40000), at("192.0.2.1", 53)),
            reply: tuple(at("192.0.2.1", 53), at("198.51.100.1", 40000)),
            seen_opening: true,
            seen_reply: true,
        };
        assert_eq!(keys(connections(&pod(), &[entry], &[]).opened), []);
    }

    #[test]
    fn without_connection_tracking_the_pods_sockets_decide() {
        let socket = |local: SocketAddr, remote| PodSocket {
            protocol: protocol::TCP,
            local,
            remote,
        };
        let outside = at("192.0.2.1", 5000);
        let sockets = [
            socket(at("0.0.0.0", 8080), None),
            socket(at(POD, 8080), Some(outside)),
            socket(at(POD, 40000), Some(outside)),
            socket(at("127.0.0.1", 40001), Some(at("127.0.0.1", 9000))),
        ];
        assert_eq!(
            keys(connections(&pod(), &[], &sockets).opened),
            [(6, 5000, 40000)]
        );
    }

    #[test]
    fn a_connection_that_a_closed_listener_accepted_is_not_the_pods() {
        let (inside, outside) = (at(POD, 8080), at("192.0.2.1", 5000));
        let entry = ConntrackEntry {
            protocol: protocol::TCP,
            original: tuple(outside, at("198.51.100.1", 30080)),
            reply: tuple(inside, outside),
            seen_opening: true,
            seen_reply: true,
        };
        let socket = PodSocket {
            protocol: protocol::TCP,
            local: inside,
            remote: Some(outside),
        };
        assert_eq!(keys(connections(&pod(), &[entry], &[socket]).opened), []);
    }

    /// Such an entry says only who sent first since it was made.
    #[test]
    fn of_a_connection_that_was_picked_up_the_sockets_tell_who_opened_it() {
        let socket = |local, remote| PodSocket {
            protocol: protocol::TCP,
            local,
            remote,
        };
        let picked_up = |original: Tuple, reply| ConntrackEntry {
            protocol: protocol::TCP,
            original,
            reply,
            seen_opening: false,
            seen_reply: true,
        };
        let (web, client) = (at(POD, 8080), at("192.0.2.1", 5000));
        let server = [socket(at("0.0.0.0", 8080), None), socket(web, Some(client))];
        let entry = picked_up(tuple(web, client), tuple(client, web));
        assert_eq!(keys(connections(&pod(), &[entry], &server).opened), []);

        let (inside, outside) = (at(POD, 40000), at("192.0.2.1", 5432));
        let own = [socket(inside, Some(outside))];
        for entry in [
            picked_up(tuple(inside, outside), tuple(outside, inside)),
            picked_up(tuple(outside, inside), tuple(inside, outside)),
        ] {
            let found = connections(&pod(), &[entry], &own);
            assert_eq!(
                (keys(found.opened), keys(found.accepted)),
                (vec![(6, 5432, 40000)], vec![])
            );
        }
    }

    #[test]
    fn other_protocols_are_not_noted() {
        let entry = ConntrackEntry {
            protocol: protocol::ICMP,
            original: tuple(at(POD, 0), at("192.0.2.1", 0)),
            reply: tuple(at("192.0.2.1", 0), at(POD, 0)),
            seen_opening: true,
            seen_reply: true,
        };
        assert_eq!(keys(connections(&pod(), &[entry], &[]).opened), []);
    }
}
