//! Frames that must arrive: when they have, those that were sent before them have arrived or never will.

use super::{
    case::{Case, Step, Upper},
    host::{Host, Place},
    oddity::frames,
    upper::MAGIC,
};

/// The numbers of sentinels begin here, far beyond those of cases.
const FIRST: u32 = 0xf000_0000;
/// The pods' port with a socket, so that pods answer nothing, and a client's port that no case uses.
const PORTS: (u16, u16) = (7000, 9999);

/// A segment that no rule redirects: it opens no flow. No stack answers it.
const RESET: Upper = Upper::Tcp(4);

/// A frame, where it is sent, and where it arrives.
pub(super) struct Sentinel {
    pub(super) at: Place,
    pub(super) frame: Vec<u8>,
    pub(super) arrives: (Place, u32),
}

/// Returns sentinels for all paths: past the stack and through it, to pods, and from pods to the wires.
pub(super) fn sentinels(forwarding: bool, counter: &mut u32) -> Vec<Sentinel> {
    let mut all = Vec::new();
    let mut add = |at: Place, to: Host, upper, arrives| {
        *counter += 1;
        let id = FIRST + *counter;
        let step = Step {
            at,
            from: at.host(),
            to,
            upper,
            oddities: Vec::new(),
        };
        let case = Case {
            port: PORTS.0,
            v6: false,
            steps: vec![step],
        };
        let frame = frames(&case, PORTS.1, id).remove(0);
        all.push(Sentinel {
            at,
            frame,
            arrives: (arrives, id),
        });
    };
    add(Place::Wire0, Host::NodeNic, Upper::Echo, Place::Wire0);
    if forwarding {
        for pod in Place::PODS {
            add(Place::Wire0, pod.host(), Upper::Udp, pod);
            add(Place::Wire0, pod.host(), RESET, pod);
            add(Place::Wire0, pod.host(), Upper::Echo, Place::Wire0);
        }
        add(Place::Server, Host::Client1, Upper::Udp, Place::Wire1);
    }
    all
}

/// Returns the number of a sentinel, or of an answer to one.
pub(super) fn number(frame: &[u8]) -> Option<u32> {
    let at = frame.windows(MAGIC.len()).position(|window| window == MAGIC)? + MAGIC.len();
    let number = frame.get(at..at + 4)?;
    let number = u32::from_be_bytes(number.try_into().ok()?);
    (number >= FIRST).then_some(number)
}
