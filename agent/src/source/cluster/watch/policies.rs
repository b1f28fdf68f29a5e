//! The watches of `NetworkPolicies` and the like: a kind is watched while the API server serves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Instant,
};

use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Api, Client, core::DynamicObject};
use tokio::sync::Notify;
use tracing::{debug, info};
use xdp_client::{
    discovery::{DiscoveryEvent, ServedKind, follow_kinds},
    object::Versioned,
    watch::{Event, watch},
};
use xdp_crds::network_policy::{NETWORK_POLICY, PolicyKind};
use xdp_plan::network_policy::{KnownPolicy, all_kinds};

use super::keyed::{Events, KeyedKind, follow_keyed};
use crate::source::cluster::{Shared, cache::Cache, keyed::KeyedStore, objects, problems::RequestFailure};

/// The discovery of kinds, in problems.
const DISCOVERY: &str = "API groups";

/// The kinds as text that lives as long as the process.
static NAMES: LazyLock<BTreeMap<PolicyKind, String>> =
    LazyLock::new(|| all_kinds().map(|kind| (kind, kind.to_string())).collect());

/// Wakes the watches of one kind.
#[derive(Default)]
pub(in crate::source::cluster) struct KindWakes {
    /// Other namespaces are wanted.
    pub(in crate::source::cluster) wanted: Notify,
    /// The kind is served otherwise than before.
    served: Notify,
}

/// Follows all kinds. Never returns.
pub(super) async fn network_policies(client: &Client, shared: &Shared) {
    let kinds = shared.cache().network.kinds().clone();
    let kinds = kinds.into_iter().map(|kind| follow_kind(client, shared, kind));
    tokio::join!(discover(client, shared), join_all(kinds));
}

async fn discover(client: &Client, shared: &Shared) {
    let interests = shared.cache().network.interests();
    follow_kinds(client, interests, |event| match event {
        DiscoveryEvent::Changed(served) => {
            for kind in &served.kinds {
                let resource = &kind.resource;
                debug!(
                    kind = resource.kind,
                    version = resource.api_version,
                    "kind is served"
                );
            }
            let changed = shared.cache().network.set_served(&served, Instant::now());
            for kind in changed {
                info!(%kind, "policies of this kind came, went or changed their version");
                shared.wanted.network[&kind].served.notify_one();
            }
            changed_now(shared);
        }
        DiscoveryEvent::Failed(error) => {
            let failure = RequestFailure::from(&error);
            debug!(%error, "discovery failed; retrying");
            if shared
                .cache()
                .watch_failed((DISCOVERY, 0), failure, Instant::now())
            {
                (shared.wake)();
            }
        }
        DiscoveryEvent::Recovered => {
            if shared.cache().watch_works((DISCOVERY, 0)) {
                (shared.wake)();
            }
        }
    })
    .await;
}

fn changed_now(shared: &Shared) {
    shared.cache().mark_changed(Instant::now());
    (shared.wake)();
}

async fn follow_kind(client: &Client, shared: &Shared, kind: PolicyKind) {
    let wakes = &shared.wanted.network[&kind];
    loop {
        let served = shared.cache().network.served(kind);
        if let Some(served) = served {
            tokio::select! {
                () = watches(client, shared, kind, &served) => {}
                () = wakes.served.notified() => {}
            }
            shared.cache().watches_ended(&NAMES[&kind]);
        } else {
            wakes.served.notified().await;
        }
    }
}

async fn watches(client: &Client, shared: &Shared, kind: PolicyKind, served: &ServedKind) {
    let watched = PolicyWatches {
        kind,
        wanted: &shared.wanted.network[&kind].wanted,
    };
    let received = || shared.metrics.api_object_received(&NAMES[&kind]);
    let of_kubernetes = move |object: NetworkPolicy| {
        received();
        Versioned::new(&object.metadata, objects::network_policy(&object))
    };
    let other = move |object: DynamicObject| {
        received();
        Versioned::new(&object.metadata.clone(), objects::other_policy(kind, object))
    };
    let watch = |keys: &BTreeSet<String>| -> Events<'_, KnownPolicy> {
        // The shape of the store says: one key for each watch.
        let namespace = keys.first().map_or("", String::as_str);
        if kind == NETWORK_POLICY {
            let api = Api::<NetworkPolicy>::namespaced(client.clone(), namespace);
            return watch(api, None::<&'static str>, of_kubernetes).boxed_local();
        }
        let api = if served.namespaced {
            Api::namespaced_with(client.clone(), namespace, &served.resource)
        } else {
            Api::all_with(client.clone(), &served.resource)
        };
        watch(api, None::<&'static str>, other).boxed_local()
    };
    follow_keyed(watched, watch, shared).await;
}

/// The watches of one kind.
struct PolicyWatches<'a> {
    kind: PolicyKind,
    wanted: &'a Notify,
}

impl KeyedKind for PolicyWatches<'_> {
    type Value = KnownPolicy;

    fn kind(&self) -> &'static str {
        &NAMES[&self.kind]
    }

    fn wanted(&self) -> &Notify {
        self.wanted
    }

    fn store<'c>(&self, cache: &'c mut Cache) -> Option<&'c mut KeyedStore<KnownPolicy>> {
        cache.network.store(self.kind)
    }

    fn apply(&self, cache: &mut Cache, id: u64, event: Event<Versioned<KnownPolicy>>, now: Instant) -> bool {
        cache.apply_network_policy((self.kind, id), event, now)
    }
}
