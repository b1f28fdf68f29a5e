//! The watches, each from its first list to the end of the process.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use backon::ExponentialBuilder;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1 as k8s;
use kube::{
    Api, Client, Resource,
    api::ApiResource,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        utils::ResetTimerBackoff,
        watcher::{
            Config, Event, ExponentialBackoff, watcher, {self},
        },
    },
};
use serde::de::DeserializeOwned;
use tracing::debug;
use xdp_crds::{XdpNodeState, XdpPeerSet, XdpPolicy};

use crate::source::cluster::{
    Shared,
    cache::Cache,
    listed::{Key, Listed},
    objects,
    problems::Trouble,
};

/// First and longest pause before a watch that failed begins again; up to as much again is added at random, so that
/// thousands of agents do not come back to an API server at once.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Pauses begin anew after so long without failure: every attempt to list is announced as if it were a success.
const CALM: Duration = Duration::from_mins(1);
/// A watch ends and goes on where it stood, so that a connection that died in silence is noticed, in seconds.
const LONGEST_WATCH: u32 = 120;

/// What is watched, and where it is kept.
struct Watched<V> {
    name: &'static str,
    list: fn(&mut Cache) -> &mut Listed<V>,
    /// Whether the loop has to know.
    wakes: bool,
}

/// Follows all kinds of objects.
pub(super) async fn everything(client: &Client, shared: &Shared) {
    let own = format!("metadata.name={}", shared.node);
    let here = format!("spec.nodeName={}", shared.node);
    tokio::join!(
        policies(client, shared),
        peer_sets(client, shared),
        pods(client, shared, &here),
        node(client, shared, &own),
        state(client, shared, &own),
    );
}

fn policies<'a>(client: &Client, shared: &'a Shared) -> impl Future<Output = ()> + use<'a> {
    let watched = Watched {
        name: "XdpPolicies",
        list: |cache| &mut cache.policies,
        wakes: true,
    };
    let convert = |object: DynamicObject| (objects::key(&object.metadata), objects::policy(object));
    follow(any::<XdpPolicy>(client), config(), convert, watched, shared)
}

fn peer_sets<'a>(client: &Client, shared: &'a Shared) -> impl Future<Output = ()> + use<'a> {
    let watched = Watched {
        name: "XdpPeerSets",
        list: |cache| &mut cache.peer_sets,
        wakes: true,
    };
    let convert = |object: DynamicObject| (objects::key(&object.metadata), objects::peer_slice(&object));
    follow(any::<XdpPeerSet>(client), config(), convert, watched, shared)
}

fn pods<'a>(client: &Client, shared: &'a Shared, here: &str) -> impl Future<Output = ()> + use<'a> {
    let watched = Watched {
        name: "Pods",
        list: |cache| &mut cache.pods,
        wakes: true,
    };
    let convert = |object: k8s::Pod| (objects::key(&object.metadata), objects::pod(&object));
    let api = Api::<k8s::Pod>::all(client.clone());
    follow(api, config().fields(here), convert, watched, shared)
}

fn node<'a>(client: &Client, shared: &'a Shared, own: &str) -> impl Future<Output = ()> + use<'a> {
    let watched = Watched {
        name: "Nodes",
        list: |cache| &mut cache.nodes,
        wakes: true,
    };
    let convert =
        |object: PartialObjectMeta<k8s::Node>| (objects::key(&object.metadata), objects::node(object));
    let api = Api::<PartialObjectMeta<k8s::Node>>::all(client.clone());
    follow(api, config().fields(own), convert, watched, shared)
}

fn state<'a>(client: &Client, shared: &'a Shared, own: &str) -> impl Future<Output = ()> + use<'a> {
    let watched = Watched {
        name: "XdpNodeStates",
        list: |cache| &mut cache.written,
        wakes: false,
    };
    let convert = |object: DynamicObject| (objects::key(&object.metadata), objects::written(object));
    let config = config().fields(own);
    follow(any::<XdpNodeState>(client), config, convert, watched, shared)
}

/// Objects of a kind, in all namespaces, whatever they look like.
pub(super) fn any<K: Resource<DynamicType = ()>>(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}

fn config() -> Config {
    Config::default().timeout(LONGEST_WATCH)
}

async fn follow<K, V>(
    api: Api<K>,
    config: Config,
    convert: impl Fn(K) -> (Key, V) + Copy,
    watched: Watched<V>,
    shared: &Shared,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    V: PartialEq,
{
    let pauses = ExponentialBuilder::new()
        .with_min_delay(PAUSE.0)
        .with_max_delay(PAUSE.1)
        .with_jitter()
        .without_max_times();
    let pauses = ResetTimerBackoff::new(ExponentialBackoff::from(pauses), CALM);
    let events = watcher(api, config)
        .map_ok(|event| each(event, convert))
        .backoff(pauses);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => heard(&watched, event, shared),
            Err(error) => failed(&watched, &error, shared),
        }
    }
}

fn each<K, W>(event: Event<K>, convert: impl Fn(K) -> W) -> Event<W> {
    match event {
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::InitDone => Event::InitDone,
    }
}

fn heard<V: PartialEq>(watched: &Watched<V>, event: Event<(Key, V)>, shared: &Shared) {
    let answered = !matches!(event, Event::Init);
    let mut cache = shared.cache();
    let works = answered && cache.works(watched.name);
    let changed = (watched.list)(&mut cache).apply(event);
    if changed && watched.wakes {
        cache.mark_changed(Instant::now());
    }
    drop(cache);
    if works || changed && watched.wakes {
        (shared.wake)();
    }
    if changed {
        shared.poke.notify_one();
    }
}

fn failed<V>(watched: &Watched<V>, error: &watcher::Error, shared: &Shared) {
    debug!(watched = watched.name, %error, "watch failed, begins again");
    let Some(trouble) = Trouble::of_watch(error) else {
        return;
    };
    if shared.cache().failed(watched.name, trouble, Instant::now()) {
        (shared.wake)();
    }
}
