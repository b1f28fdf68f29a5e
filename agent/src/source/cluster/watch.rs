//! The watches of the agent: their events go to the cache.

mod keyed;
mod policies;

use std::{collections::BTreeSet, fmt::Debug, time::Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1 as k8s;
use kube::{
    Api, Client, Resource,
    core::{DynamicObject, PartialObjectMeta},
};
use serde::de::DeserializeOwned;
use tracing::debug;
use xdp_client::{
    Store,
    object::{Versioned, untyped},
    watch::{Event, WatchError, watch, watch_labelled},
};
use xdp_crds::{PEER_SET_LABEL, XdpNodeState, XdpPeerSet, XdpPolicy};

use self::keyed::{StoredKind, follow_keyed};
pub(super) use self::policies::KindWakes;
use crate::source::cluster::{
    Shared,
    cache::{Cache, SET_KIND, WatchId},
    objects,
    problems::RequestFailure,
};

/// The label of a namespace that is its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A kind of objects, and where they are stored.
struct Watched<V> {
    kind: &'static str,
    store: fn(&mut Cache) -> &mut Store<V>,
    /// Whether a change triggers a reconcile.
    wakes: bool,
}

/// Watches all kinds. Never returns.
pub(super) async fn all(client: &Client, shared: &Shared) {
    let own = format!("metadata.name={}", shared.node);
    let here = format!("spec.nodeName={}", shared.node);
    tokio::join!(
        xdp_policies(client, shared),
        peer_sets(client, shared),
        pods(client, shared, &here),
        nodes(client, shared, &own),
        states(client, shared, &own),
        namespaces(client, shared),
        policies::network_policies(client, shared),
    );
}

/// Watches the policies of each namespace that has pods here: what happens to those of other namespaces is
/// not sent to this node.
async fn xdp_policies(client: &Client, shared: &Shared) {
    let kind = StoredKind {
        kind: "XdpPolicies",
        store: |cache| &mut cache.policies,
        wanted: &shared.wanted.policies,
    };
    let marks = shared.marks;
    let convert = move |object: DynamicObject| {
        shared.metrics.api_object_received(kind.kind);
        Versioned::new(&object.metadata.clone(), Some(objects::policy(object, marks)))
    };
    let watch = |namespaces: &BTreeSet<String>| {
        // The shape of the store says: one key for each watch.
        let namespace = namespaces.first().map_or("", String::as_str);
        watch(
            untyped::<XdpPolicy>(client, namespace),
            None::<&'static str>,
            convert,
        )
        .boxed_local()
    };
    follow_keyed(kind, watch, shared).await;
}

/// Watches the sets that the policies of pods here need.
async fn peer_sets(client: &Client, shared: &Shared) {
    let kind = StoredKind {
        kind: SET_KIND,
        store: |cache| &mut cache.peer_sets,
        wanted: &shared.wanted.sets,
    };
    let convert = move |object: DynamicObject| {
        shared.metrics.api_object_received(kind.kind);
        Versioned::new(&object.metadata, objects::peer_slice(&object))
    };
    let watch = |sets: &BTreeSet<String>| {
        let api = untyped::<XdpPeerSet>(client, &shared.namespace);
        watch_labelled(api, &one_of(PEER_SET_LABEL, sets), convert).boxed_local()
    };
    follow_keyed(kind, watch, shared).await;
}

/// Watches the labels of the namespaces that have pods here.
async fn namespaces(client: &Client, shared: &Shared) {
    let kind = StoredKind {
        kind: "Namespaces",
        store: |cache| &mut cache.namespaces,
        wanted: &shared.wanted.namespaces,
    };
    let convert = move |object: PartialObjectMeta<k8s::Namespace>| {
        shared.metrics.api_object_received(kind.kind);
        let labels = object.metadata.labels.clone().unwrap_or_default();
        Versioned::new(&object.metadata, Some(labels))
    };
    let watch = |names: &BTreeSet<String>| {
        let api = Api::<PartialObjectMeta<k8s::Namespace>>::all(client.clone());
        watch_labelled(api, &one_of(NAME_LABEL, names), convert).boxed_local()
    };
    follow_keyed(kind, watch, shared).await;
}

/// Returns the label selector for one of these values.
fn one_of(label: &str, values: &BTreeSet<String>) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    format!("{label} in ({})", values.join(","))
}

async fn pods(client: &Client, shared: &Shared, here: &str) {
    let watched = Watched {
        kind: "Pods",
        store: |cache| &mut cache.pods,
        wakes: true,
    };
    let convert = |object: k8s::Pod| Versioned::new(&object.metadata, Some(objects::pod(&object)));
    let api = Api::<k8s::Pod>::all(client.clone());
    follow(api, here, convert, watched, shared).await;
}

async fn nodes(client: &Client, shared: &Shared, own: &str) {
    let watched = Watched {
        kind: "Nodes",
        store: |cache| &mut cache.nodes,
        wakes: true,
    };
    let convert = |object: PartialObjectMeta<k8s::Node>| {
        Versioned::new(&object.metadata.clone(), Some(objects::node(object)))
    };
    let api = Api::<PartialObjectMeta<k8s::Node>>::all(client.clone());
    follow(api, own, convert, watched, shared).await;
}

async fn states(client: &Client, shared: &Shared, own: &str) {
    let watched = Watched {
        kind: "XdpNodeStates",
        store: |cache| &mut cache.written,
        wakes: false,
    };
    let convert =
        |object: DynamicObject| Versioned::new(&object.metadata.clone(), Some(objects::written(object)));
    follow(untyped::<XdpNodeState>(client, ""), own, convert, watched, shared).await;
}

async fn follow<K, V: PartialEq>(
    api: Api<K>,
    fields: &str,
    convert: impl Fn(K) -> Versioned<V> + Copy,
    watched: Watched<V>,
    shared: &Shared,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let convert = |object| {
        shared.metrics.api_object_received(watched.kind);
        convert(object)
    };
    let events = watch(api, Some(fields), &convert);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => apply(&watched, event, shared),
            Err(error) => drop(failed((watched.kind, 0), &error, shared)),
        }
    }
}

fn apply<V: PartialEq>(watched: &Watched<V>, event: Event<Versioned<V>>, shared: &Shared) {
    let mut cache = shared.cache();
    let recovered = is_answer(&event) && cache.watch_works((watched.kind, 0));
    let changed = (watched.store)(&mut cache).apply(event);
    // Of all kinds, only pods decide which namespaces are wanted, and that costs next to nothing.
    let wanted = changed && cache.want_namespaces(Instant::now());
    if changed && watched.wakes {
        cache.mark_changed(Instant::now());
    }
    drop(cache);
    if wanted {
        shared.wanted.policies.notify_one();
        shared.wanted.namespaces.notify_one();
    }
    if recovered || changed && watched.wakes {
        (shared.wake)();
    }
    if changed {
        shared.writer.notify_one();
    }
}

/// Returns whether the API server has answered: the first event of an attempt to list comes before that.
const fn is_answer<T>(event: &Event<T>) -> bool {
    !matches!(event, Event::Init)
}

/// Records a failure. Returns whether the API server refuses the request.
fn failed(watch: WatchId, error: &WatchError, shared: &Shared) -> bool {
    debug!(kind = watch.0, %error, "watch failed; retrying");
    let Some(failure) = RequestFailure::of_watch(error) else {
        return false;
    };
    let refused = failure.is_refusal();
    if shared.cache().watch_failed(watch, failure, Instant::now()) {
        (shared.wake)();
    }
    refused
}
