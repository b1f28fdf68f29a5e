//! The administrator's choice of NICs.

use std::collections::BTreeSet;

use super::{NicFacts, problem};
use crate::report::Problem;

/// The administrator's selection of NICs. An interface is selected when any entry matches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicSelector {
    /// Names, alternative ones included, with `*` and `?`.
    pub globs: Vec<String>,
    /// Driver names, `mlx5_core`.
    pub drivers: Vec<String>,
    /// Bus addresses, `0000:3b:00.0`.
    pub pci: Vec<String>,
    /// Whether `drivers` select virtual functions (SR-IOV), too. They are often moved into pods, and what is
    /// selected by driver should not depend on that.
    pub virtual_functions: bool,
    /// Whether NICs whose driver has no XDP get the program in generic mode.
    pub allow_generic: bool,
}

/// The NICs that were chosen, and the entries that chose none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order of the interfaces given.
    pub nics: Vec<NicFacts>,
    /// One `NoSuchNic` for each entry without an interface.
    pub problems: Vec<Problem>,
}

/// Choose. The loopback interface is never one.
pub fn select(interfaces: &[NicFacts], selector: &NicSelector) -> Selection {
    let mut chosen = BTreeSet::new();
    let mut problems = Vec::new();
    let mut choose = |what: &str, entry: &str, fits: &dyn Fn(&NicFacts) -> bool| {
        let fitting: Vec<u32> = interfaces
            .iter()
            .filter(|nic| !nic.link.loopback && fits(nic))
            .map(|nic| nic.link.ifindex)
            .collect();
        if fitting.is_empty() {
            problems.push(problem::no_such_nic(what, entry));
        }
        chosen.extend(fitting);
    };
    for glob in &selector.globs {
        choose("named", glob, &|nic| {
            let mut names = nic.link.altnames.iter().chain([&nic.link.name]);
            names.any(|name| matches(glob.as_bytes(), name.as_bytes()))
        });
    }
    for driver in &selector.drivers {
        choose("with driver", driver, &|nic| {
            nic.driver.name == *driver && (selector.virtual_functions || !nic.virtual_function)
        });
    }
    for pci in &selector.pci {
        choose("at bus address", pci, &|nic| {
            nic.driver.bus.eq_ignore_ascii_case(pci)
        });
    }
    let nics = interfaces
        .iter()
        .filter(|nic| chosen.contains(&nic.link.ifindex))
        .cloned()
        .collect();
    Selection { nics, problems }
}

/// `*` stands for any characters, `?` for one.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    match (glob, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([first, rest @ ..], [byte, name @ ..]) if first == byte => matches(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Driver, HostLink, reason},
        *,
    };

    fn nic(ifindex: u32, name: &str, driver: &str, bus: &str) -> NicFacts {
        NicFacts {
            link: HostLink {
                ifindex,
                name: name.to_owned(),
                loopback: name == "lo",
                ..HostLink::default()
            },
            driver: Driver {
                name: driver.to_owned(),
                bus: bus.to_owned(),
                ..Driver::default()
            },
            ..NicFacts::default()
        }
    }

    fn chosen(selector: &NicSelector) -> Vec<String> {
        let interfaces = [
            nic(1, "lo", "", ""),
            nic(2, "ens1f0", "mlx5_core", "0000:3B:00.0"),
            nic(3, "ens1f1", "mlx5_core", "0000:3b:00.1"),
            nic(4, "veth9", "veth", ""),
        ];
        let selection = select(&interfaces, selector);
        assert!(
            selection
                .problems
                .iter()
                .all(|problem| problem.reason == reason::NO_SUCH_NIC)
        );
        let names = selection.nics.into_iter().map(|nic| nic.link.name);
        names
            .chain(selection.problems.into_iter().map(|problem| problem.message))
            .collect()
    }

    fn globs(globs: &[&str]) -> NicSelector {
        NicSelector {
            globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
            ..NicSelector::default()
        }
    }

    #[test]
    fn globs_choose_by_name() {
        assert_eq!(chosen(&globs(&["ens1f0"])), ["ens1f0"]);
        assert_eq!(
            chosen(&globs(&["ens?f*", "veth9"])),
            ["ens1f0", "ens1f1", "veth9"]
        );
        assert_eq!(chosen(&globs(&["*1"])), ["ens1f1"]);
    }

    #[test]
    fn everything_does_not_include_the_loopback() {
        assert_eq!(chosen(&globs(&["*"])), ["ens1f0", "ens1f1", "veth9"]);
    }

    #[test]
    fn drivers_and_bus_addresses_choose_too_and_no_interface_is_chosen_twice() {
        let selector = NicSelector {
            globs: vec!["ens1f0".to_owned()],
            drivers: vec!["mlx5_core".to_owned()],
            pci: vec!["0000:3b:00.0".to_owned()],
            ..NicSelector::default()
        };
        assert_eq!(chosen(&selector), ["ens1f0", "ens1f1"]);
    }

    #[test]
    fn alternative_names_are_names() {
        let mut interface = nic(2, "eth0", "mlx5_core", "0000:3b:00.0");
        interface.link.altnames = vec!["enp59s0f0np0".to_owned(), "uplink".to_owned()];
        for glob in ["uplink", "enp59s0f?np*", "eth0"] {
            let selection = select(&[interface.clone()], &globs(&[glob]));
            assert_eq!((selection.nics.len(), selection.problems.len()), (1, 0), "{glob}");
        }
    }

    #[test]
    fn drivers_choose_virtual_functions_only_if_asked_for() {
        let interfaces = [
            nic(2, "ens1f0", "mlx5_core", "0000:3b:00.0"),
            NicFacts {
                virtual_function: true,
                ..nic(3, "ens1f0v0", "mlx5_core", "0000:3b:00.2")
            },
        ];
        let chosen = |selector: &NicSelector| -> Vec<u32> {
            let nics = select(&interfaces, selector).nics.into_iter();
            nics.map(|nic| nic.link.ifindex).collect()
        };
        let mut selector = NicSelector {
            drivers: vec!["mlx5_core".to_owned()],
            ..NicSelector::default()
        };
        assert_eq!(chosen(&selector), [2]);
        selector.virtual_functions = true;
        assert_eq!(chosen(&selector), [2, 3]);
        assert_eq!(
            chosen(&globs(&["ens1f0v0"])),
            [3],
            "by name without being asked for"
        );
        let by_address = NicSelector {
            pci: vec!["0000:3b:00.2".to_owned()],
            ..NicSelector::default()
        };
        assert_eq!(chosen(&by_address), [3]);
    }

    #[test]
    fn an_entry_that_chooses_nothing_is_a_problem() {
        assert_eq!(
            chosen(&globs(&["ens1f0", "eth7"])),
            ["ens1f0", "no interface named `eth7`"]
        );
        assert_eq!(chosen(&globs(&["lo"])), ["no interface named `lo`"]);
    }

    #[test]
    fn an_empty_selector_chooses_nothing() {
        assert!(chosen(&NicSelector::default()).is_empty());
    }
}
