//! Makes a case that differs as ordinary as it can be while it still differs.

use super::{
    case::{Case, Step, Upper},
    host::Host,
};

/// Returns the cases that are one step more ordinary.
pub(super) fn reductions(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut reduced = case.clone();
        change(&mut reduced);
        if reduced != *case {
            all.push(reduced);
        }
    };
    if case.steps.len() > 1 {
        add(&|case| drop(case.steps.remove(0)));
        add(&|case| drop(case.steps.pop()));
    }
    for (index, step) in case.steps.iter().enumerate() {
        for oddity in 0..step.oddities.len() {
            add(&|case| {
                case.steps[index].oddities.remove(oddity);
            });
        }
        add(&|case| case.steps[index].from = step.at.host());
        add(&|case| case.steps[index].to = ordinary_target(step));
        add(&|case| case.steps[index].upper = Upper::Udp);
    }
    add(&|case| case.port = ORDINARY_PORT);
    all
}

const ORDINARY_PORT: u16 = 7000;

fn ordinary_target(step: &Step) -> Host {
    if step.at.is_pod() {
        Host::Client
    } else {
        Host::Server
    }
}

/// Whether the reason why `minimal` differs is in `case`, too.
pub(super) fn explains(minimal: &Case, case: &Case) -> bool {
    let in_step = |(minimal, step): (&Step, &Step)| {
        minimal.at == step.at
            && (minimal.from == step.from || minimal.from == step.at.host())
            && (minimal.to == step.to || minimal.to == ordinary_target(step))
            && (minimal.upper == step.upper || minimal.upper == Upper::Udp)
            && minimal
                .oddities
                .iter()
                .all(|oddity| step.oddities.contains(oddity))
    };
    let steps =
        |case: &[Step]| minimal.steps.len() == case.len() && minimal.steps.iter().zip(case).all(in_step);
    let shorter = || case.steps.windows(minimal.steps.len()).any(steps);
    minimal.v6 == case.v6
        && (minimal.port == case.port || minimal.port == ORDINARY_PORT)
        && minimal.steps.len() <= case.steps.len()
        && shorter()
}

/// Reduces a case while it differs.
pub(super) fn shrink<E>(case: &Case, mut differs: impl FnMut(&Case) -> Result<bool, E>) -> Result<Case, E> {
    let mut smallest = case.clone();
    'again: loop {
        for reduced in reductions(&smallest) {
            if differs(&reduced)? {
                smallest = reduced;
                continue 'again;
            }
        }
        return Ok(smallest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Random,
        stack::{
            case::{Mac, Oddity, Tags},
            generate,
            host::Place,
        },
    };

    fn has_tag(case: &Case) -> bool {
        let tag = Oddity::Tags(Tags::Unknown);
        case.steps.iter().any(|step| step.oddities.contains(&tag))
    }

    #[test]
    fn what_does_not_matter_is_gone() {
        let oddities = vec![
            Oddity::ToMac(Mac::Nic0),
            Oddity::Tags(Tags::Unknown),
            Oddity::TimeToLive(9),
        ];
        let odd = Step {
            at: Place::Wire0,
            from: Host::Loopback,
            to: Host::Bridged,
            upper: Upper::Echo,
            oddities,
        };
        let ordinary = Step {
            oddities: Vec::new(),
            ..odd.clone()
        };
        let case = Case {
            port: 53,
            v6: true,
            steps: vec![ordinary, odd],
        };
        let smallest = shrink(&case, |case| Ok::<_, ()>(has_tag(case))).unwrap();
        let step = Step {
            at: Place::Wire0,
            from: Host::Client,
            to: Host::Server,
            upper: Upper::Udp,
            oddities: vec![Oddity::Tags(Tags::Unknown)],
        };
        let steps = vec![step];
        assert_eq!(
            smallest,
            Case {
                port: 7000,
                v6: true,
                steps
            }
        );
        assert!(explains(&smallest, &case));
    }

    #[test]
    fn a_case_is_explained_by_all_its_reductions_and_by_no_other_family() {
        let mut random = Random::new(3, "shrink");
        for _ in 0..1000 {
            let case = generate::case(&mut random);
            assert!(explains(&case, &case));
            for reduced in reductions(&case) {
                assert!(explains(&reduced, &case), "{reduced:?} of {case:?}");
                let v6 = !case.v6;
                assert!(!explains(&Case { v6, ..reduced }, &case));
            }
        }
    }
}
