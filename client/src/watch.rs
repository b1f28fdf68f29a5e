//! Watches: a stream of events for one kind of objects, for as long as the process runs.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use futures::{Stream, TryStreamExt as _};
pub use kube::runtime::watcher::{Error as WatchError, Event};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, utils, watcher},
};
use serde::de::DeserializeOwned;

use crate::{
    backoff::{Backoff, jitter},
    object::Versioned,
};

/// A watch ends after this time and continues where it ended. A connection that was lost without a notice is
/// detected by then.
const TIMEOUT_SECONDS: u32 = 120;
/// The backoff starts again after this time without a failure.
const CALM: Duration = Duration::from_mins(1);

/// Watches the objects of `api` that match `fields`, a field selector. `convert` keeps what is needed of an
/// object, before anything is stored. After an error, the stream waits with backoff and continues.
pub fn watch<K, T>(
    api: Api<K>,
    fields: Option<&str>,
    convert: impl Fn(K) -> Versioned<T> + Copy,
) -> impl Stream<Item = Result<Event<Versioned<T>>, WatchError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config {
        field_selector: fields.map(str::to_owned),
        ..watcher::Config::default()
    };
    follow(api, config, convert)
}

/// Watches the objects of `api` that match `labels`, a label selector. Otherwise as [`watch`].
pub fn watch_labelled<K, T, F>(
    api: Api<K>,
    labels: &str,
    convert: F,
) -> impl Stream<Item = Result<Event<Versioned<T>>, WatchError>> + use<K, T, F>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    F: Fn(K) -> Versioned<T> + Copy,
{
    follow(api, watcher::Config::default().labels(labels), convert)
}

fn follow<K, T>(
    api: Api<K>,
    config: watcher::Config,
    convert: impl Fn(K) -> Versioned<T> + Copy,
) -> impl Stream<Item = Result<Event<Versioned<T>>, WatchError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config.timeout(TIMEOUT_SECONDS))
        .map_ok(move |event| converted(event, convert))
        .backoff(WatchBackoff::default())
}

fn converted<K, T>(event: Event<K>, convert: impl Fn(K) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// The backoff of one watch.
#[derive(Debug, Default)]
struct WatchBackoff {
    failures: u32,
    last: Option<Instant>,
}

impl WatchBackoff {
    fn delay(&mut self, now: Instant, jitter: f32) -> Duration {
        if self.last.is_some_and(|last| now > last + CALM) {
            self.failures = 0;
        }
        let delay = Backoff::API.delay(self.failures, jitter);
        (self.failures, self.last) = (self.failures.saturating_add(1), Some(now));
        delay
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.delay(Instant::now(), jitter()))
    }
}

impl utils::Backoff for WatchBackoff {
    /// Does nothing: kube resets at each event, also at the one that starts an attempt to list.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::{object::ObjectName, store::Store, testing::mock};

    fn value(object: ConfigMap) -> Versioned<String> {
        let value = object.data.and_then(|mut data| data.remove("key"));
        Versioned::new(&object.metadata, value)
    }

    #[test]
    fn delays_grow_while_attempts_fail_and_start_again_after_a_calm_minute() {
        let start = Instant::now();
        let mut backoff = WatchBackoff::default();
        utils::Backoff::reset(&mut backoff);
        let first = backoff.delay(start, 0.0);
        utils::Backoff::reset(&mut backoff);
        let second = backoff.delay(start + first, 0.0);
        assert_eq!(second, 2 * first);
        assert_eq!(backoff.delay(start + first + CALM * 2, 0.0), first);
    }

    #[tokio::test]
    async fn listed_and_watched_objects_reach_the_store() {
        let (client, mut server) = mock();
        let answers = tokio::spawn(async move {
            let list = json!({"apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": {"resourceVersion": "7"},
                "items": [{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"},
                    "data": {"key": "listed"}}]});
            let request = server.answer(200, &list).await;
            assert!(!request.uri.contains("watch="), "{}", request.uri);
            let changed = json!({"type": "MODIFIED", "object": {"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": "n", "resourceVersion": "8"},
                "data": {"key": "watched"}}});
            let request = server.answer(200, &changed).await;
            assert!(request.uri.contains("resourceVersion=7"), "{}", request.uri);
            assert!(request.uri.contains("timeoutSeconds=120"), "{}", request.uri);
            server
        });
        let mut store = Store::default();
        let events = watch(Api::<ConfigMap>::all(client), None, value);
        let mut events = std::pin::pin!(events);
        let name = ObjectName::new("n", "a");
        while store.get(&name).map(String::as_str) != Some("watched") {
            let event = events.next().await.unwrap().unwrap();
            store.apply(event);
        }
        assert!(store.is_complete());
        drop(answers.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_continues_after_an_error() {
        let (client, mut server) = mock();
        let answers = tokio::spawn(async move {
            let refused = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "no"});
            server.answer(403, &refused).await;
            let empty = json!({"apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": {"resourceVersion": "7"}, "items": []});
            server.answer(200, &empty).await;
            server
        });
        let events = watch(Api::<ConfigMap>::all(client), None, value);
        let mut events = std::pin::pin!(events);
        let mut failures = 0;
        loop {
            match events.next().await.unwrap() {
                Err(_) => failures += 1,
                Ok(Event::InitDone) => break,
                Ok(_) => {}
            }
        }
        assert_eq!(failures, 1);
        drop(answers.await.unwrap());
    }
}
