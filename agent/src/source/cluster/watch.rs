//! The watches of the agent: their events go to the cache.

use std::{fmt::Debug, time::Instant};

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
    watch::{Event, WatchError, watch},
};
use xdp_crds::{XdpNodeState, XdpPeerSet, XdpPolicy};

use crate::source::cluster::{Shared, cache::Cache, objects, problems::RequestFailure};

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
        policies(client, shared),
        peer_sets(client, shared),
        pods(client, shared, &here),
        nodes(client, shared, &own),
        states(client, shared, &own),
        namespaces(client, shared),
    );
}

async fn policies(client: &Client, shared: &Shared) {
    let watched = Watched {
        kind: "XdpPolicies",
        store: |cache| &mut cache.policies,
        wakes: true,
    };
    let marks = shared.marks;
    let convert = move |object: DynamicObject| {
        Versioned::new(&object.metadata.clone(), Some(objects::policy(object, marks)))
    };
    follow(untyped::<XdpPolicy>(client, ""), None, convert, watched, shared).await;
}

async fn peer_sets(client: &Client, shared: &Shared) {
    let watched = Watched {
        kind: "XdpPeerSets",
        store: |cache| &mut cache.peer_sets,
        wakes: true,
    };
    let convert =
        |object: DynamicObject| Versioned::new(&object.metadata, Some(objects::peer_slice(&object)));
    follow(untyped::<XdpPeerSet>(client, ""), None, convert, watched, shared).await;
}

async fn pods(client: &Client, shared: &Shared, here: &str) {
    let watched = Watched {
        kind: "Pods",
        store: |cache| &mut cache.pods,
        wakes: true,
    };
    let convert = |object: k8s::Pod| Versioned::new(&object.metadata, Some(objects::pod(&object)));
    let api = Api::<k8s::Pod>::all(client.clone());
    follow(api, Some(here), convert, watched, shared).await;
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
    follow(api, Some(own), convert, watched, shared).await;
}

/// Watches the labels of namespaces, unless rules may redirect in all of them.
async fn namespaces(client: &Client, shared: &Shared) {
    if shared.redirects.are_all() {
        return;
    }
    let watched = Watched {
        kind: "Namespaces",
        store: |cache| &mut cache.namespaces,
        wakes: true,
    };
    let convert = |object: PartialObjectMeta<k8s::Namespace>| {
        let labels = object.metadata.labels.clone().unwrap_or_default();
        Versioned::new(&object.metadata, Some(labels))
    };
    let api = Api::<PartialObjectMeta<k8s::Namespace>>::all(client.clone());
    follow(api, None, convert, watched, shared).await;
}

async fn states(client: &Client, shared: &Shared, own: &str) {
    let watched = Watched {
        kind: "XdpNodeStates",
        store: |cache| &mut cache.written,
        wakes: false,
    };
    let convert =
        |object: DynamicObject| Versioned::new(&object.metadata.clone(), Some(objects::written(object)));
    follow(
        untyped::<XdpNodeState>(client, ""),
        Some(own),
        convert,
        watched,
        shared,
    )
    .await;
}

async fn follow<K, V: PartialEq>(
    api: Api<K>,
    fields: Option<&str>,
    convert: impl Fn(K) -> Versioned<V> + Copy,
    watched: Watched<V>,
    shared: &Shared,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watch(api, fields, convert);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => apply(&watched, event, shared),
            Err(error) => failed(&watched, &error, shared),
        }
    }
}

fn apply<V: PartialEq>(watched: &Watched<V>, event: Event<Versioned<V>>, shared: &Shared) {
    // The first event of an attempt to list comes before the API server answers.
    let answered = !matches!(event, Event::Init);
    let mut cache = shared.cache();
    let recovered = answered && cache.watch_works(watched.kind);
    let changed = (watched.store)(&mut cache).apply(event);
    if changed && watched.wakes {
        cache.mark_changed(Instant::now());
    }
    drop(cache);
    if recovered || changed && watched.wakes {
        (shared.wake)();
    }
    if changed {
        shared.writer.notify_one();
    }
}

fn failed<V>(watched: &Watched<V>, error: &WatchError, shared: &Shared) {
    debug!(kind = watched.kind, %error, "watch failed; retrying");
    let Some(failure) = RequestFailure::of_watch(error) else {
        return;
    };
    if shared.cache().watch_failed(watched.kind, failure, Instant::now()) {
        (shared.wake)();
    }
}
