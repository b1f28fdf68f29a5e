//! Watches: what the API server says becomes [`Change`]s.

use std::time::Duration;

use futures::{Stream, TryStreamExt, future, pin_mut};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{
            Config, Event, watcher, {self},
        },
    },
};
use tokio::sync::mpsc::Sender;
use tracing::{info, warn};

use crate::{
    api::{
        is_status, {self},
    },
    pace,
    world::{
        Change, Item, {self},
    },
};

/// A connection that has died silently is noticed after this long.
const TIMEOUT_SECONDS: u32 = 60;

/// Watches everything for ever. Ends only with the receiver.
pub async fn all(client: Client, changes: Sender<Change>) {
    let pods: Api<Pod> = Api::all(client.clone());
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    // Not their metadata alone: whether anybody hears from them is in their status, which changes once in minutes.
    let nodes: Api<Node> = Api::all(client.clone());
    let objects = |api| watcher(api, config());
    Box::pin(future::join(
        future::join3(
            follow("pods", watcher(pods, config()), world::pod, Change::Pod, &changes),
            follow(
                "namespaces",
                watcher(namespaces, config()),
                world::namespace,
                Change::Namespace,
                &changes,
            ),
            follow(
                "nodes",
                watcher(nodes, config()),
                world::node,
                Change::Node,
                &changes,
            ),
        ),
        future::join3(
            follow(
                "xdppolicies",
                objects(api::policies(&client)),
                world::policy,
                Change::Policy,
                &changes,
            ),
            follow(
                "xdpnodestates",
                objects(api::node_states(&client)),
                world::node_state,
                Change::NodeState,
                &changes,
            ),
            follow(
                "xdppeersets",
                objects(api::peer_sets(&client)),
                world::peer_set,
                Change::PeerSet,
                &changes,
            ),
        ),
    ))
    .await;
}

fn config() -> Config {
    Config::default().timeout(TIMEOUT_SECONDS)
}

/// Follows one kind. `convert` drops all that does not matter, before anything is kept.
async fn follow<K, T>(
    kind: &'static str,
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    convert: fn(&K) -> Item<T>,
    wrap: fn(Event<Item<T>>) -> Change,
    changes: &Sender<Change>,
) {
    let stream = stream.backoff(Jittered::default());
    pin_mut!(stream);
    let mut fails = false;
    loop {
        let event = match stream.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    explain(kind, &error);
                }
                continue;
            }
        };
        if !matches!(event, Event::Init) && std::mem::take(&mut fails) {
            info!(kind, "watch recovered");
        }
        if changes.send(wrap(converted(&event, convert))).await.is_err() {
            return;
        }
    }
}

fn converted<K, T>(event: &Event<K>, convert: fn(&K) -> Item<T>) -> Event<Item<T>> {
    match event {
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// Once per outage: it is tried again until it succeeds, and that is said too.
fn explain(kind: &str, error: &watcher::Error) {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(source) | WatchStartFailed(source) if is_status(source, 404) => {
            warn!(
                kind,
                "the API server does not know this kind yet; waiting for its CRD to be applied"
            );
        }
        InitialListFailed(source) | WatchStartFailed(source) if is_status(source, 403) => {
            warn!(kind, error = %source, "not allowed to watch; trying again until the role is there");
        }
        InitialListFailed(_) | WatchStartFailed(_) | WatchError(_) | WatchFailed(_) | NoResourceVersion => {
            warn!(kind, %error, "watch failed; trying again");
        }
    }
}

/// Longer waits with every failure, different for every process.
#[derive(Debug, Default)]
struct Jittered {
    failures: u32,
}

impl Iterator for Jittered {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = pace::backoff(self.failures, fastrand::f32());
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Jittered {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
