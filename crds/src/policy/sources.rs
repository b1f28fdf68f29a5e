//! Converts the entries of a rule's `from`.

use super::{
    PodSource, Source,
    fault::{Fault, FieldFault},
    prefix, selector,
};

pub(super) fn convert(path: &str, peer: &crate::Peer) -> Result<Source, FieldFault> {
    let selects = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
    match &peer.ip_block {
        Some(_) if selects => Err(FieldFault::new(path, &"ipBlock and selectors", Fault::MixedPeer)),
        Some(block) => prefix::convert_block(&format!("{path}.ipBlock"), block).map(Source::Block),
        None if selects => convert_pods(path, peer).map(Source::Pods),
        None => Err(FieldFault::new(path, &"{}", Fault::EmptyPeer)),
    }
}

fn convert_pods(path: &str, peer: &crate::Peer) -> Result<PodSource, FieldFault> {
    let convert = |field: &str, written: &Option<crate::LabelSelector>| {
        let path = format!("{path}.{field}");
        written
            .as_ref()
            .map(|written| selector::convert(&path, written))
            .transpose()
    };
    Ok(PodSource {
        namespaces: convert("namespaceSelector", &peer.namespace_selector)?,
        pods: convert("podSelector", &peer.pod_selector)?.unwrap_or_default(),
    })
}
