//! Watches all kinds of objects for the store.

mod network_policies;

use futures::{Stream, StreamExt as _, TryStreamExt as _, future};
use k8s_openapi::api::{
    core::v1::{Namespace, Node},
    networking::v1::NetworkPolicy,
};
use kube::{Api, Client, core::PartialObjectMeta};
use tokio::sync::mpsc::Sender;
use tracing::{info, warn};
use xdp_client::{
    is_status,
    object::{Versioned, untyped},
    watch::{Event, WatchError, watch},
};
use xdp_crds::{XdpNodeState, XdpPeerSet, XdpPolicy, network_policy::NETWORK_POLICY};

use crate::store::{self, SlimPod, StoreEvent};

type Events<'a> = futures::stream::LocalBoxStream<'a, Result<StoreEvent, WatchError>>;

/// Watches all kinds. Address sets only in `namespace`, where the operator writes them. Returns only if the
/// receiver is dropped.
pub async fn all(client: Client, namespace: &str, changes: Sender<StoreEvent>) {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    // Whole nodes: their status says whether they are reachable. It changes once in minutes.
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<SlimPod> = Api::all(client.clone());
    let policies = untyped::<XdpPolicy>(&client, "");
    let states = untyped::<XdpNodeState>(&client, "");
    let sets = untyped::<XdpPeerSet>(&client, namespace);
    let network_policies: Api<NetworkPolicy> = Api::all(client.clone());
    let watches = [
        ("pods", events(watch(pods, None, store::pod), StoreEvent::Pod)),
        (
            "namespaces",
            events(
                watch(namespaces, None, |object| store::namespace(&object)),
                StoreEvent::Namespace,
            ),
        ),
        (
            "nodes",
            events(watch(nodes, None, |node| store::node(&node)), StoreEvent::Node),
        ),
        (
            "xdppolicies",
            events(
                watch(policies, None, |object| store::policy(&object)),
                StoreEvent::Policy,
            ),
        ),
        (
            "xdpnodestates",
            events(
                watch(states, None, |object| store::node_state(&object)),
                StoreEvent::NodeState,
            ),
        ),
        (
            "networkpolicies",
            events(
                watch(network_policies, None, |object| store::of_namespace(&object)),
                |event| StoreEvent::NetworkPolicy(NETWORK_POLICY, event),
            ),
        ),
        (
            "xdppeersets",
            events(
                watch(sets, None, |object| store::peer_set(&object)),
                StoreEvent::PeerSet,
            ),
        ),
    ];
    let follow = watches.map(|(kind, events)| follow(kind, events, &changes));
    future::join(
        future::join_all(follow),
        network_policies::of_cluster(&client, &changes),
    )
    .await;
}

fn events<'a, T: 'a>(
    stream: impl Stream<Item = Result<Event<Versioned<T>>, WatchError>> + 'a,
    change: impl FnMut(Event<Versioned<T>>) -> StoreEvent + 'a,
) -> Events<'a> {
    stream.map_ok(change).boxed_local()
}

/// Forwards the changes of one kind.
async fn follow(kind: &'static str, mut events: Events<'_>, changes: &Sender<StoreEvent>) {
    let mut fails = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(change) => {
                if !change.is_init() && std::mem::take(&mut fails) {
                    info!(kind, "watch recovered");
                }
                if changes.send(change).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    explain(kind, &error);
                }
            }
        }
    }
}

/// Logs the first error of an outage. The watch retries until it succeeds.
fn explain(kind: &str, error: &WatchError) {
    use WatchError::{InitialListFailed, WatchStartFailed};
    let (InitialListFailed(source) | WatchStartFailed(source)) = error else {
        return warn!(kind, %error, "watch failed; retrying");
    };
    if is_status(source, 404) {
        warn!(
            kind,
            "the API server does not serve this kind; waiting for its CRD"
        );
    } else if is_status(source, 403) {
        warn!(kind, error = %source, "not allowed to watch; retrying until the role exists");
    } else {
        warn!(kind, %error, "watch failed; retrying");
    }
}
