//! Checks that can be made before the attach.

use super::{
    BASIC, NicFacts, REDIRECT,
    mlx5::{is_mlx5, linear_mtu_limit},
    problem::{
        foreign_program, mtu_too_large, no_native_xdp, queues_in_use, receive_merging, striding_queues,
        upper_has_program,
    },
};
use crate::report::Problem;

/// Everything that will make the attach fail, given the ids of programs that are our own. Empty is no
/// promise: the driver has the last word, see [`super::attach_problem`].
pub fn preflight(nic: &NicFacts, own_programs: &[u32], page_size: u32) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(id) = nic.link.xdp.program_id {
        if own_programs.contains(&id) {
            return problems;
        }
        problems.push(foreign_program(nic, Some(id)));
    }
    if let Some((upper, state)) = &nic.upper {
        problems.push(upper_has_program(nic, upper, state.program_id));
    }
    if merges(nic) {
        problems.push(receive_merging(nic));
    } else if nic
        .features
        .is_some_and(|features| features & (BASIC | REDIRECT) != BASIC | REDIRECT)
    {
        problems.push(no_native_xdp(nic));
    }
    if nic.data_split {
        problems.push(queues_in_use(nic));
    }
    if is_mlx5(nic) && nic.striding == Some(true) && nic.few_strides == Some(false) {
        problems.push(striding_queues(nic));
    }
    if let Some(limit) = linear_mtu_limit(nic, page_size).filter(|limit| nic.link.mtu > *limit) {
        problems.push(mtu_too_large(nic, Some(limit)));
    }
    problems
}

/// mlx5 refuses XDP programs while LRO or HW-GRO is on (`mlx5e_params_validate_xdp`), and shows no XDP
/// feature then (`mlx5e_set_xdp_feature`, Linux 6.3 and later). Other drivers switch HW-GRO off by
/// themselves, and vmxnet3 LRO, too.
pub(super) fn merges(nic: &NicFacts) -> bool {
    (nic.lro && nic.driver.name != "vmxnet3") || (is_mlx5(nic) && (nic.hw_gro || nic.features == Some(0)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Driver, HostLink, XdpMode, XdpState, reason},
        *,
    };

    fn mlx5() -> NicFacts {
        NicFacts {
            link: HostLink {
                name: "ens1f0".to_owned(),
                mtu: 1500,
                ..HostLink::default()
            },
            driver: Driver {
                name: "mlx5_core".to_owned(),
                bus: "0000:3b:00.0".to_owned(),
                ..Driver::default()
            },
            features: Some(0x2b),
            ..NicFacts::default()
        }
    }

    fn reasons(nic: &NicFacts) -> Vec<String> {
        let problems = preflight(nic, &[7], 4096);
        assert!(
            problems
                .iter()
                .all(|problem| problem.message.contains("ens1f0") && !problem.remedy.is_empty())
        );
        problems.into_iter().map(|problem| problem.reason).collect()
    }

    #[test]
    fn a_plain_mlx5_port_has_no_problem() {
        assert!(reasons(&mlx5()).is_empty());
        assert!(
            reasons(&NicFacts {
                features: None,
                ..mlx5()
            })
            .is_empty(),
            "kernels before 6.3 do not say"
        );
    }

    #[test]
    fn our_own_program_is_no_problem_and_any_other_is() {
        let with = |id| {
            let mut nic = mlx5();
            nic.link.xdp = XdpState {
                mode: XdpMode::Native,
                program_id: Some(id),
            };
            nic
        };
        assert!(reasons(&with(7)).is_empty());
        assert_eq!(reasons(&with(8)), [reason::FOREIGN_PROGRAM]);
        assert!(preflight(&with(8), &[], 4096)[0].message.contains("id 8"));
    }

    #[test]
    fn missing_features_mean_merging_on_mlx5_and_no_native_xdp_elsewhere() {
        let mut nic = NicFacts {
            features: Some(0),
            ..mlx5()
        };
        assert_eq!(reasons(&nic), [reason::HW_GRO_OR_LRO]);
        nic.driver.name = "bridge".to_owned();
        assert_eq!(reasons(&nic), [reason::NO_NATIVE_XDP]);
        nic.features = Some(BASIC);
        assert_eq!(
            reasons(&nic),
            [reason::NO_NATIVE_XDP],
            "it takes redirecting, too"
        );
    }

    #[test]
    fn the_mtu_limit_of_mlx5_is_that_of_one_page() {
        let with = |mtu| {
            let mut nic = mlx5();
            nic.link.mtu = mtu;
            nic
        };
        assert!(reasons(&with(3498)).is_empty());
        assert_eq!(reasons(&with(3499)), [reason::MTU_TOO_LARGE]);
        assert!(preflight(&with(9000), &[], 4096)[0].message.contains("3498"));
        assert!(preflight(&with(9000), &[], 65536).is_empty());
    }

    #[test]
    fn hardware_that_merges_or_splits_packets_is_predicted() {
        let on = |set: fn(&mut NicFacts)| {
            let mut nic = mlx5();
            set(&mut nic);
            nic
        };
        assert_eq!(reasons(&on(|nic| nic.hw_gro = true)), [reason::HW_GRO_OR_LRO]);
        assert_eq!(
            reasons(&on(|nic| nic.data_split = true)),
            [reason::RECEIVE_QUEUES_IN_USE]
        );
        let other = on(|nic| {
            nic.hw_gro = true;
            nic.driver.name = "bnxt_en".to_owned();
        });
        assert!(reasons(&other).is_empty());
    }

    #[test]
    fn striding_queues_have_a_limit_of_their_own_on_larger_pages() {
        let mut nic = mlx5();
        (nic.link.mtu, nic.striding) = (9000, Some(true));
        assert!(preflight(&nic, &[], 16384)[0].message.contains("7594"));
        nic.striding = Some(false);
        assert!(preflight(&nic, &[], 16384).is_empty());
    }

    #[test]
    fn firmware_without_few_strides_is_predicted_as_far_as_it_is_known() {
        let mut nic = mlx5();
        (nic.striding, nic.few_strides) = (Some(true), Some(false));
        assert_eq!(reasons(&nic), [reason::STRIDING_RECEIVE_QUEUES]);
        nic.striding = Some(false);
        assert!(reasons(&nic).is_empty());
        (nic.striding, nic.few_strides) = (Some(true), None);
        assert!(reasons(&nic).is_empty());
    }

    #[test]
    fn several_obstacles_are_all_reported() {
        let mut nic = NicFacts { lro: true, ..mlx5() };
        nic.link.mtu = 9000;
        nic.upper = Some((
            "bond0".to_owned(),
            XdpState {
                mode: XdpMode::Native,
                program_id: Some(3),
            },
        ));
        assert_eq!(
            reasons(&nic),
            [
                reason::UPPER_HAS_PROGRAM,
                reason::HW_GRO_OR_LRO,
                reason::MTU_TOO_LARGE
            ]
        );
    }
}
