//! Watches the kinds of `NetworkPolicy` that have tiers, while the API server serves them.

use futures::{FutureExt as _, future};
use kube::{Api, Client, api::ApiResource, core::DynamicObject};
use tokio::sync::{
    mpsc::Sender,
    watch::{Receiver, channel},
};
use tracing::{info, warn};
use xdp_client::{
    discovery::{DiscoveryEvent, KindOfInterest, ServedKinds, follow_kinds},
    error_chain,
    watch::watch,
};
use xdp_crds::network_policy::{
    ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, PolicyKind,
};

use super::{events, follow};
use crate::store::{self, StoreEvent};

/// The kinds, and the version of each that is read.
const KINDS: [(PolicyKind, &str); 3] = [
    (CLUSTER_NETWORK_POLICY, "v1alpha2"),
    (ADMIN_NETWORK_POLICY, "v1alpha1"),
    (BASELINE_ADMIN_NETWORK_POLICY, "v1alpha1"),
];

/// Watches all of them. Returns only if the receiver is dropped.
pub(super) async fn of_cluster(client: &Client, changes: &Sender<StoreEvent>) {
    let interests = KINDS.map(|(kind, _)| KindOfInterest {
        group: kind.group,
        kind: kind.kind,
        versions: &["v1alpha2", "v1alpha1"],
    });
    let (sender, served) = channel(None);
    let report = |event| match event {
        DiscoveryEvent::Changed(kinds) => {
            sender.send_replace(Some(kinds));
        }
        DiscoveryEvent::Failed(error) => {
            warn!(error = %error_chain(&error), "cannot discover kinds of network policies; retrying");
        }
        DiscoveryEvent::Recovered => info!("discovery of kinds of network policies recovered"),
    };
    let watches = KINDS.map(|kind| while_served(kind, served.clone(), client, changes));
    future::join(
        follow_kinds(client, interests.to_vec(), report),
        future::join_all(watches),
    )
    .await;
}

/// What is known about a kind: whether it is served, and how. `None`: nothing.
type Known = Option<Option<ApiResource>>;

/// Watches a kind while it is served, and reports when it is not.
async fn while_served(
    kind: (PolicyKind, &str),
    mut served: Receiver<Option<ServedKinds>>,
    client: &Client,
    changes: &Sender<StoreEvent>,
) {
    loop {
        let known = resource(kind, served.borrow_and_update().as_ref());
        let watched = match &known {
            None => future::pending().boxed_local(),
            Some(None) => {
                if changes.send(StoreEvent::NoNetworkPolicies(kind.0)).await.is_err() {
                    return;
                }
                future::pending().boxed_local()
            }
            Some(Some(resource)) => objects(kind.0, resource, client, changes).boxed_local(),
        };
        tokio::select! {
            () = watched => return,
            other = served.wait_for(|kinds| resource(kind, kinds.as_ref()) != known) => if other.is_err() {
                return;
            },
        }
    }
}

/// Returns what is known about a kind. Served in another version than the one that is read, it counts as not
/// served: agents read no version but this one, too, and nothing is certain then.
fn resource((kind, version): (PolicyKind, &str), kinds: Option<&ServedKinds>) -> Known {
    let kinds = kinds.filter(|kinds| !kinds.unknown.contains(kind.group))?;
    let served = kinds.get(kind.group, kind.kind);
    let read = served.filter(|served| served.resource.version == version);
    Some(read.map(|served| served.resource.clone()))
}

async fn objects(kind: PolicyKind, resource: &ApiResource, client: &Client, changes: &Sender<StoreEvent>) {
    let api = Api::<DynamicObject>::all_with(client.clone(), resource);
    let convert = |object: DynamicObject| store::of_cluster(kind, &object);
    let objects = watch(api, None, convert);
    let change = move |event| StoreEvent::NetworkPolicy(kind, event);
    follow(kind.kind, events(objects, change), changes).await;
}
