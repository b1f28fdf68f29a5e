//! Which requests the agent makes, and what they bring.

use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use kube::{Client, client::Body};
use tokio::sync::Notify;
use tower_test::mock::{Handle, pair};
use xdp_plan::policy::RedirectNamespaces;

use super::*;
use crate::{
    report::metrics::AgentMetrics,
    source::cluster::{Shared, Wanted, watch},
};

/// An API server that lists what it has, and then never says anything more.
struct ApiServer {
    handle: Handle<Request<Body>, Response<Body>>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lists: Mutex<BTreeSet<String>>,
    grown: Notify,
}

impl ApiServer {
    /// Answers for as long as the test runs.
    async fn run(mut self) {
        let mut watches = Vec::new();
        while let Some((request, response)) = self.handle.next_request().await {
            let uri = request.uri().to_string();
            if uri.contains("watch=") {
                watches.push(response);
                continue;
            }
            let answer = discovery(&uri)
                .unwrap_or_else(|| json!({"metadata": {"resourceVersion": "7"}, "items": items(&uri)}));
            let body = Body::from(answer.to_string().into_bytes());
            response.send_response(Response::new(body));
            self.log.lists.lock().unwrap().insert(plain(&uri));
            self.log.grown.notify_one();
        }
    }
}

/// Of the kinds of interest, one is served.
fn discovery(uri: &str) -> Option<Value> {
    let version = json!({"groupVersion": "policy.networking.k8s.io/v1alpha2", "version": "v1alpha2"});
    match uri.split('?').next()? {
        "/apis" => Some(
            json!({"groups": [{"name": "policy.networking.k8s.io", "versions": [version],
            "preferredVersion": version}]}),
        ),
        "/apis/policy.networking.k8s.io/v1alpha2" => {
            let resource = json!({"name": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy",
                "namespaced": false, "singularName": "", "verbs": ["list"]});
            Some(json!({"groupVersion": "policy.networking.k8s.io/v1alpha2", "resources": [resource]}))
        }
        _ => None,
    }
}

/// Two pods in `games`, one in `web`, and one in the host's network; a policy in each namespace.
fn items(uri: &str) -> Vec<Value> {
    let pod = |namespace: &str, name: &str, host: bool| {
        let spec = json!({"hostNetwork": host, "containers": []});
        json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
    };
    let path = uri.split('?').next().unwrap_or_default();
    match path.rsplit('/').next() {
        Some("pods") => vec![
            pod("games", "a", false),
            pod("games", "b", false),
            pod("web", "c", false),
            pod("kube-system", "d", true),
        ],
        Some("nodes") => vec![json!({"metadata": {"name": "n", "uid": "u"}})],
        Some("xdppolicies") => vec![serde_json::to_value(policy("p", &json!({"podSelector": {}}))).unwrap()],
        _ => vec![],
    }
}

/// Returns a request without the size of its pages.
fn plain(uri: &str) -> String {
    let text = uri.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
    let text = text.replace("%28", "(").replace("%29", ")").replace('+', " ");
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    let parts = query.split('&').filter(|part| part.contains("Selector"));
    format!("{path}?{}", parts.collect::<Vec<_>>().join("&"))
}

fn shared(redirects: RedirectNamespaces) -> Shared {
    let cache = Cache::new(!redirects.are_all(), &[]);
    Shared {
        node: "n".to_owned(),
        namespace: "xdp".to_owned(),
        marks: MASK,
        wanted: Wanted::new(cache.network.kinds()),
        cache: Mutex::new(cache),
        redirects,
        writer: Notify::new(),
        wake: Box::new(|| ()),
        metrics: Arc::new(AgentMetrics::default()),
    }
}

/// Runs the watches until the API server has answered this number of different lists. Then `then` may want
/// more, until there are `all`.
async fn lists_of(shared: &Shared, first: usize, then: impl FnOnce(&Shared), all: usize) -> BTreeSet<String> {
    let (service, handle) = pair();
    let client = Client::new(service, "default");
    let log = Arc::<Log>::default();
    let server = ApiServer {
        handle,
        log: Arc::clone(&log),
    };
    let test = async {
        let reach = async |number| {
            while log.lists.lock().unwrap().len() < number {
                log.grown.notified().await;
            }
        };
        // Answers are stored, and whatever else could be asked for is asked for.
        let rest = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        reach(first).await;
        rest().await;
        then(shared);
        reach(all).await;
        rest().await;
    };
    tokio::select! {
        () = watch::all(&client, shared) => unreachable!("watches never end"),
        () = server.run() => unreachable!("the client is there"),
        () = test => {}
    }
    log.lists.lock().unwrap().clone()
}

#[tokio::test]
async fn the_agent_asks_for_the_policies_of_namespaces_with_pods_and_for_the_sets_and_kinds_that_it_needs() {
    let shared = shared(RedirectNamespaces::default());
    let set = |digit: &str| SetId::parse(&digit.repeat(SetId::LENGTH)).unwrap();
    let (a, b) = (set("a"), set("b"));
    let want = |shared: &Shared| {
        want_sets(&mut shared.cache(), &[&a, &b]);
        shared.wanted.sets.notify_one();
        assert!(shared.cache().want_network_policies(Instant::now()));
        for wakes in shared.wanted.network.values() {
            wakes.wanted.notify_one();
        }
    };
    let lists = lists_of(&shared, 8, want, 11).await;
    let sets = format!(
        "/apis/xdp-operator.io/v1alpha1/namespaces/xdp/xdppeersets?labelSelector=xdp-operator.io/peer-set in ({a},{b})"
    );
    let expected = [
        "/api/v1/namespaces?labelSelector=kubernetes.io/metadata.name in (games,web)",
        "/api/v1/nodes?fieldSelector=metadata.name=n",
        "/api/v1/pods?fieldSelector=spec.nodeName=n",
        "/apis/networking.k8s.io/v1/namespaces/games/networkpolicies?",
        "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies?",
        "/apis/policy.networking.k8s.io/v1alpha2?",
        "/apis/xdp-operator.io/v1alpha1/namespaces/games/xdppolicies?",
        "/apis/xdp-operator.io/v1alpha1/namespaces/web/xdppolicies?",
        &sets,
        "/apis/xdp-operator.io/v1alpha1/xdpnodestates?fieldSelector=metadata.name=n",
        "/apis?",
    ];
    assert_eq!(lists.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
