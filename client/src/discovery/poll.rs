//! One poll.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIGroupList, APIResourceList};
use kube::{Client, api::ApiResource};
use tokio::time::timeout;

use super::{KindOfInterest, ServedKind};

/// A request without an answer fails after this time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The kinds of interest that a group serves.
pub(super) type GroupAnswer = Vec<ServedKind>;

/// Asks for the groups, and the groups of interest for their resources. Returns the answer of each group that
/// could be asked, and the last failure.
pub(super) async fn poll(
    client: &Client,
    interests: &[KindOfInterest],
) -> (BTreeMap<&'static str, GroupAnswer>, Option<kube::Error>) {
    let served = match answer_in_time(client.list_api_groups()).await {
        Ok(served) => served,
        Err(error) => return (BTreeMap::new(), Some(error)),
    };
    let (mut answers, mut failure) = (BTreeMap::new(), None);
    let groups: BTreeSet<&'static str> = interests.iter().map(|interest| interest.group).collect();
    for name in groups {
        let interests: Vec<_> = interests
            .iter()
            .copied()
            .filter(|interest| interest.group == name)
            .collect();
        match ask(client, versions(&served, name, &interests), &interests).await {
            Ok(answer) => drop(answers.insert(name, answer)),
            Err(error) => failure = Some(error),
        }
    }
    (answers, failure)
}

/// Asks the versions of one group, until the best version of each kind is known.
async fn ask(
    client: &Client,
    versions: Vec<String>,
    interests: &[KindOfInterest],
) -> Result<GroupAnswer, kube::Error> {
    let mut lists = Vec::new();
    for version in versions {
        lists.push(answer_in_time(client.list_api_group_resources(&version)).await?);
        if interests.iter().all(|interest| is_final(&lists, interest)) {
            break;
        }
    }
    let kinds = interests.iter().filter_map(|interest| find(&lists, interest));
    Ok(kinds.collect())
}

async fn answer_in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = |_| kube::Error::Service("no answer within 10 seconds".into());
    timeout(TIMEOUT, request).await.map_err(late)?
}

/// Returns the versions of a group as `group/version`: those that kinds of interest name first, then by the
/// API server's preference. Empty: the group is not served.
pub(super) fn versions(served: &APIGroupList, name: &str, interests: &[KindOfInterest]) -> Vec<String> {
    let Some(group) = served.groups.iter().find(|group| group.name == name) else {
        return Vec::new();
    };
    let APIGroup {
        preferred_version,
        versions,
        ..
    } = group;
    let named = interests.iter().flat_map(|interest| interest.versions);
    let named = named.filter_map(|name| versions.iter().find(|version| version.version == *name));
    let mut ordered: Vec<String> = Vec::new();
    for version in named.chain(preferred_version).chain(versions) {
        if !ordered.contains(&version.group_version) {
            ordered.push(version.group_version.clone());
        }
    }
    ordered
}

/// Returns whether a later list cannot have a better version of the kind.
fn is_final(lists: &[APIResourceList], interest: &KindOfInterest) -> bool {
    let found = find(lists, interest);
    found.is_some_and(|found| {
        let versions = interest.versions;
        versions.is_empty() || versions.contains(&found.resource.version.as_str())
    })
}

/// Returns a kind in the best version that serves it. The lists are in the order of [`versions`].
pub(super) fn find(lists: &[APIResourceList], interest: &KindOfInterest) -> Option<ServedKind> {
    let served = |list: &APIResourceList| {
        let resources = list.resources.iter();
        // `policies/status` has the kind of its parent.
        let resource = resources
            .filter(|resource| !resource.name.contains('/'))
            .find(|resource| resource.kind == interest.kind)?;
        let version = list.group_version.rsplit('/').next().unwrap_or_default();
        Some(ServedKind {
            resource: ApiResource {
                group: interest.group.to_owned(),
                version: version.to_owned(),
                api_version: list.group_version.clone(),
                kind: interest.kind.to_owned(),
                plural: resource.name.clone(),
            },
            namespaced: resource.namespaced,
        })
    };
    let served: Vec<ServedKind> = lists.iter().filter_map(served).collect();
    let best = |name: &&str| served.iter().find(|served| served.resource.version == *name);
    interest
        .versions
        .iter()
        .find_map(best)
        .or(served.first())
        .cloned()
}
