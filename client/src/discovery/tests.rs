use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList;
use serde_json::{Value, json};

use super::{
    poll::{poll, versions},
    *,
};
use crate::testing::mock;

const CLUSTER_POLICY: KindOfInterest = KindOfInterest {
    group: "policy.example",
    kind: "ClusterPolicy",
    versions: &["v1alpha2"],
};
const ADMIN_POLICY: KindOfInterest = KindOfInterest {
    group: "policy.example",
    kind: "AdminPolicy",
    versions: &["v1alpha1"],
};
const FOREIGN: KindOfInterest = KindOfInterest {
    group: "engine.example",
    kind: "Policy",
    versions: &[],
};

fn served(interest: KindOfInterest, version: &str) -> ServedKind {
    let group = interest.group;
    ServedKind {
        resource: ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: interest.kind.to_owned(),
            plural: "policies".to_owned(),
        },
        namespaced: false,
    }
}

fn answers<const N: usize>(groups: [(&'static str, GroupAnswer); N]) -> BTreeMap<&'static str, GroupAnswer> {
    BTreeMap::from(groups)
}

/// Returns the answer to `GET /apis`.
fn groups(groups: &[(&str, &[&str])]) -> Value {
    let group = |(name, versions): &(&str, &[&str])| {
        let version =
            |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": versions.iter().map(version).collect::<Vec<_>>(),
            "preferredVersion": version(&versions[0])})
    };
    let groups: Vec<Value> = groups.iter().map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(group_version: &str, kinds: &[(&str, &str, bool)]) -> Value {
    let resource = |(name, kind, namespaced): &(&str, &str, bool)| {
        let verbs = ["list"];
        json!({"name": name, "kind": kind, "namespaced": namespaced, "singularName": "", "verbs": verbs})
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": kinds.iter().map(resource).collect::<Vec<_>>()})
}

#[test]
fn the_first_answer_is_reported_even_if_no_kind_is_served() {
    let mut discovery = Discovery::new(vec![FOREIGN]);
    let known = discovery.record(answers([("engine.example", vec![])])).unwrap();
    assert_eq!(known, ServedKinds::default());
}

#[test]
fn a_kind_that_comes_or_changes_its_version_is_reported_once() {
    let mut discovery = Discovery::new(vec![FOREIGN]);
    discovery.record(answers([("engine.example", vec![])]));
    for version in ["v1", "v2"] {
        let now = || answers([("engine.example", vec![served(FOREIGN, version)])]);
        let known = discovery.record(now()).unwrap();
        assert_eq!(known.kinds, [served(FOREIGN, version)]);
        assert!(discovery.record(now()).is_none());
    }
}

#[test]
fn a_kind_is_absent_only_after_two_polls_without_it() {
    let mut discovery = Discovery::new(vec![FOREIGN]);
    let present = || answers([("engine.example", vec![served(FOREIGN, "v1")])]);
    let absent = || answers([("engine.example", vec![])]);
    discovery.record(present());
    assert!(discovery.record(absent()).is_none(), "once may be a mistake");
    assert!(discovery.record(present()).is_none());
    assert!(discovery.record(absent()).is_none(), "not twice in a row");
    assert_eq!(discovery.record(absent()).unwrap().kinds, []);
}

#[test]
fn a_failed_poll_changes_nothing() {
    let mut discovery = Discovery::new(vec![FOREIGN]);
    discovery.record(answers([("engine.example", vec![served(FOREIGN, "v1")])]));
    for _ in 0..5 {
        assert!(discovery.record(BTreeMap::new()).is_none());
    }
    assert_eq!(discovery.served().kinds, [served(FOREIGN, "v1")]);
}

#[test]
fn a_group_that_never_answered_is_unknown_and_others_are_known() {
    let mut discovery = Discovery::new(vec![CLUSTER_POLICY, FOREIGN]);
    assert_eq!(discovery.record(BTreeMap::new()).unwrap().unknown.len(), 2);
    let known = discovery.record(answers([("engine.example", vec![])])).unwrap();
    assert_eq!(known.unknown, BTreeSet::from(["policy.example"]));
    let known = discovery.record(answers([("policy.example", vec![])])).unwrap();
    assert_eq!(known.unknown, BTreeSet::new());
}

#[test]
fn versions_are_those_of_interest_and_then_those_that_the_api_server_prefers() {
    let served = groups(&[("policy.example", &["v1beta1", "v1alpha1", "v1alpha2"])]);
    let served: APIGroupList = serde_json::from_value(served).unwrap();
    let ordered = versions(&served, "policy.example", &[CLUSTER_POLICY, ADMIN_POLICY]);
    let expected = ["v1alpha2", "v1alpha1", "v1beta1"].map(|version| format!("policy.example/{version}"));
    assert_eq!(ordered, expected);
    assert_eq!(versions(&served, "engine.example", &[FOREIGN]), [] as [String; 0]);
}

#[tokio::test]
async fn a_poll_asks_served_groups_of_interest_until_their_kinds_are_found() {
    let (client, mut server) = mock();
    let server = tokio::spawn(async move {
        let list = groups(&[
            ("apps", &["v1"]),
            ("policy.example", &["v1beta1", "v1alpha1", "v1alpha2"]),
        ]);
        let mut asked = vec![server.answer(200, &list).await.uri];
        let kinds = [
            ("clusterpolicies/status", "ClusterPolicy", true),
            ("clusterpolicies", "ClusterPolicy", false),
        ];
        asked.push(
            server
                .answer(200, &resources("policy.example/v1alpha2", &kinds))
                .await
                .uri,
        );
        let kinds = [("adminpolicies", "AdminPolicy", false)];
        asked.push(
            server
                .answer(200, &resources("policy.example/v1alpha1", &kinds))
                .await
                .uri,
        );
        asked
    });
    let (answers, failure) = poll(&client, &[CLUSTER_POLICY, ADMIN_POLICY, FOREIGN]).await;
    assert!(failure.is_none(), "{failure:?}");
    let kinds: Vec<_> = answers["policy.example"]
        .iter()
        .map(|kind| kind.resource.plural.as_str())
        .collect();
    assert_eq!(kinds, ["clusterpolicies", "adminpolicies"]);
    assert_eq!(answers["engine.example"], []);
    assert_eq!(
        server.await.unwrap(),
        [
            "/apis",
            "/apis/policy.example/v1alpha2",
            "/apis/policy.example/v1alpha1"
        ]
    );
}

#[tokio::test]
async fn a_kind_in_no_version_of_interest_is_found_in_another() {
    let (client, mut server) = mock();
    let server = tokio::spawn(async move {
        server.answer(200, &groups(&[("policy.example", &["v1"])])).await;
        let kinds = [("clusterpolicies", "ClusterPolicy", false)];
        server.answer(200, &resources("policy.example/v1", &kinds)).await;
    });
    let (answers, _) = poll(&client, &[CLUSTER_POLICY]).await;
    assert_eq!(answers["policy.example"][0].resource.version, "v1");
    server.await.unwrap();
}

#[tokio::test]
async fn a_group_whose_resources_cannot_be_read_has_no_answer_and_others_have_one() {
    let (client, mut server) = mock();
    let server = tokio::spawn(async move {
        server
            .answer(
                200,
                &groups(&[("engine.example", &["v3"]), ("policy.example", &["v1"])]),
            )
            .await;
        let unavailable = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503,
            "reason": "ServiceUnavailable", "message": "no"});
        server.answer(503, &unavailable).await;
        server.answer(200, &resources("policy.example/v1", &[])).await;
    });
    let (answers, failure) = poll(&client, &[CLUSTER_POLICY, FOREIGN]).await;
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), ["policy.example"]);
    assert!(failure.is_some());
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn polls_go_on_after_a_failure_and_report_changes_only() {
    let (client, mut server) = mock();
    tokio::spawn(async move {
        let unavailable = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503,
            "reason": "ServiceUnavailable", "message": "no"});
        server.answer(503, &unavailable).await;
        for _ in 0..3 {
            server.answer(200, &groups(&[])).await;
        }
        server.answer(200, &groups(&[("engine.example", &["v1"])])).await;
        let kinds = [("policies", "Policy", true)];
        server.answer(200, &resources("engine.example/v1", &kinds)).await;
        std::future::pending::<()>().await;
    });
    let mut events = Vec::new();
    let polls = follow_kinds(&client, vec![FOREIGN], |event| {
        events.push(match event {
            DiscoveryEvent::Changed(known) => format!("{} of {:?}", known.kinds.len(), known.unknown),
            DiscoveryEvent::Failed(_) => "failed".to_owned(),
            DiscoveryEvent::Recovered => "recovered".to_owned(),
        });
    });
    let _ = tokio::time::timeout(Duration::from_secs(70), polls).await;
    let expected = [
        r#"0 of {"engine.example"}"#,
        "failed",
        "0 of {}",
        "recovered",
        "1 of {}",
    ];
    assert_eq!(events[..5], expected);
}
