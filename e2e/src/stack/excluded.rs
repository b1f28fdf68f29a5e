//! Differences that may stay, each with its reason.

use super::case::{Case, Mac, Oddity, Step};

/// A kind of difference: the reason why it may stay, and how a case becomes one without it.
struct Excluded {
    reason: &'static str,
    /// Changes a step; the steps before it are given, too.
    remove: fn(&mut Step, &[Step]),
}

const ALL: [Excluded; 2] = [
    Excluded {
        reason: "a pod's own reply to a MAC address that is not its router's leaves by the reply path, which \
                 does not know the router's address; the pod may send the same packet to the right one",
        remove: |step, _| {
            if step.at.is_pod() && step.from == step.at.host() {
                step.oddities.retain(|oddity| !addresses_another_router(*oddity));
            }
        },
    },
    Excluded {
        reason: "a later packet of a flow that arrives at another NIC is redirected: the reverse path is \
                 checked at the flow's first packet",
        remove: |step, earlier| {
            let same = |first: &&Step| !first.at.is_pod() && (first.from, first.to) == (step.from, step.to);
            if let (false, Some(first)) = (step.at.is_pod(), earlier.iter().find(same)) {
                step.at = first.at;
            }
        },
    },
];

/// Returns the reasons of all kinds.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|excluded| excluded.reason)
}

/// Returns the case without what may make a difference.
pub(super) fn without_excluded(case: &Case) -> Case {
    let mut case = case.clone();
    for index in 0..case.steps.len() {
        let (earlier, rest) = case.steps.split_at_mut(index);
        for excluded in &ALL {
            (excluded.remove)(&mut rest[0], earlier);
        }
    }
    case
}

fn addresses_another_router(oddity: Oddity) -> bool {
    matches!(oddity, Oddity::ToMac(mac) if !matches!(mac, Mac::Broadcast | Mac::Multicast))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{
        case::{Tags, Upper},
        host::{Host, Place},
    };

    fn step(at: Place, from: Host, oddities: &[Oddity]) -> Step {
        Step {
            at,
            from,
            to: Host::Client,
            upper: Upper::Udp,
            oddities: oddities.to_vec(),
        }
    }

    fn without(steps: &[Step]) -> Vec<Step> {
        let case = Case {
            port: 7000,
            v6: false,
            steps: steps.to_vec(),
        };
        without_excluded(&case).steps
    }

    #[test]
    fn only_packets_of_the_pod_itself_may_go_to_another_unicast_address() {
        let other = Oddity::ToMac(Mac::OtherStation);
        let tag = Oddity::Tags(Tags::Unknown);
        let own = without(&[step(Place::Server, Host::Server, &[other, tag])]);
        assert_eq!(own, [step(Place::Server, Host::Server, &[tag])]);
        let kept = [
            step(Place::Wire0, Host::Client, &[other]),
            step(Place::Server, Host::Server, &[Oddity::ToMac(Mac::Broadcast)]),
        ];
        for step in kept {
            assert_eq!(without(std::slice::from_ref(&step)), [step]);
        }
    }

    #[test]
    fn later_packets_of_a_flow_arrive_at_the_nic_of_the_first() {
        let [first, second] = [Place::Wire0, Place::Wire1].map(|at| step(at, Host::Routed0, &[]));
        assert_eq!(without(&[first.clone(), second.clone()]), [first.clone(), first]);
        let alone = std::slice::from_ref(&second);
        assert_eq!(without(alone), alone);
        let other = step(Place::Wire0, Host::Routed1, &[]);
        assert_eq!(without(&[other.clone(), second.clone()]), [other, second]);
    }
}
