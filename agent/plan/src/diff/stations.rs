//! Compares the stations of NICs.

use xdp_core::tables::NicEntry;

use crate::{change::Change, nics::Stations};

/// Puts the changes of stations around those of the tables: the rules apply to no frame that the stack does
/// not take, and a NIC is known before the program is attached to it.
pub(super) fn around(tables: Vec<Change>, desired: Option<&Stations>, installed: &Stations) -> Vec<Change> {
    let Some(desired) = desired else {
        return tables;
    };
    let mut changes = added(desired, installed);
    changes.extend(tables);
    changes.extend(removed(desired, installed));
    changes
}

/// Stations first: the element of a NIC only saves their look-up.
fn added(desired: &Stations, installed: &Stations) -> Vec<Change> {
    let stations = desired.stations.iter();
    let stations = stations
        .filter(|(station, receiver)| installed.stations.get(station) != Some(receiver))
        .map(|(station, receiver)| Change::SetStation {
            station: *station,
            receiver: *receiver,
        });
    let nics = desired.nics.iter();
    let nics = nics
        .filter(|(position, nic)| installed.nics.get(position) != Some(nic))
        .map(|(position, nic)| Change::SetNic {
            position: *position,
            nic: *nic,
        });
    stations.chain(nics).collect()
}

fn removed(desired: &Stations, installed: &Stations) -> Vec<Change> {
    let nics = installed.nics.keys();
    let nics = nics
        .filter(|position| !desired.nics.contains_key(position))
        .map(|position| Change::SetNic {
            position: *position,
            nic: NicEntry::default(),
        });
    let stations = installed.stations.keys();
    let stations = stations
        .filter(|station| !desired.stations.contains_key(station))
        .map(|station| Change::ClearStation { station: *station });
    nics.chain(stations).collect()
}
