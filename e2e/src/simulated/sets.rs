//! The address sets that the operator has written, and those that it has to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::Result;
use serde_json::Value;

use super::{API, CrowdSize, CrowdSource, RELEASE_NAMESPACE, SimulatedCluster};

/// The addresses of each selection, by its text.
pub type SetAddresses = BTreeMap<String, BTreeSet<IpAddr>>;

/// Returns the text of a selection, as `XdpPeerSet` has it.
pub fn selection_text(source: CrowdSource) -> Option<String> {
    match source {
        CrowdSource::All => Some("pods {} of namespaces {}".to_owned()),
        CrowdSource::Group(group) => Some(format!("pods {{group in (g{group})}} of namespaces {{}}")),
        CrowdSource::Network => None,
    }
}

impl SimulatedCluster {
    /// Lists all objects of the sets.
    pub fn peer_sets(&self) -> Result<Vec<Value>> {
        self.list(&format!("{API}/namespaces/{RELEASE_NAMESPACE}/xdppeersets"))
    }

    /// Returns the addresses of all sets whose slices are all there.
    pub fn set_addresses(&self) -> Result<SetAddresses> {
        Ok(complete(&self.peer_sets()?))
    }

    /// Returns the number of slices, wherever they are.
    pub fn slices(&self) -> Result<usize> {
        Ok(self.list(&format!("{API}/xdppeersets"))?.len())
    }
}

fn complete(objects: &[Value]) -> SetAddresses {
    let (mut slices, mut addresses) = (BTreeMap::new(), SetAddresses::new());
    for object in objects {
        let spec = &object["spec"];
        let selection = spec["selection"].as_str().unwrap_or_default().to_owned();
        if spec["slice"] == 0 {
            slices.insert(selection.clone(), spec["slices"].as_u64().unwrap_or(0));
        }
        let own = spec["addresses"].as_array().into_iter().flatten();
        let own = own.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
        addresses.entry(selection).or_default().extend(own);
    }
    addresses.retain(|selection, _| {
        let found = objects
            .iter()
            .filter(|object| object["spec"]["selection"] == **selection);
        slices.get(selection) == Some(&(found.count() as u64))
    });
    addresses
}

impl CrowdSize {
    /// Returns the addresses that the sets have to have, by asking each pod.
    pub fn expected_sets(self) -> SetAddresses {
        let texts = (0..self.policies).filter_map(|policy| selection_text(self.source(policy)));
        let mut expected: SetAddresses = texts.map(|text| (text, BTreeSet::new())).collect();
        for pod in (0..self.pods()).map(|number| self.pod(number)) {
            for source in [CrowdSource::All, CrowdSource::Group(pod.group())] {
                if let Some(set) = selection_text(source).and_then(|text| expected.get_mut(&text)) {
                    set.insert(pod.address.into());
                }
            }
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(slice: u64, slices: u64, address: &str) -> Value {
        json!({"spec": {"selection": "s", "slice": slice, "slices": slices, "addresses": [address]}})
    }

    #[test]
    fn a_set_counts_when_all_its_slices_are_there() {
        let (first, second) = (slice(0, 2, "10.0.0.1"), slice(1, 2, "10.0.0.2"));
        assert!(complete(std::slice::from_ref(&first)).is_empty());
        assert!(complete(std::slice::from_ref(&second)).is_empty());
        assert_eq!(complete(&[second, first])["s"].len(), 2);
    }
}
