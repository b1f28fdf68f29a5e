//! `xdp-operator uninstall-agents`: removes everything from the kernels, and the objects that operator and
//! agents have written from the API.

mod plan;

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use tokio::time;
use tracing::{info, warn};
use xdp_client::{apply::answered, connect, object::untyped};
use xdp_crds::{XdpNodeState, XdpPeerSet, XdpPolicy};

use crate::{MANAGER, store};

/// How long to wait until the running operator has updated the policies.
const STATUS_TIMEOUT: Duration = Duration::from_secs(15);
/// Concurrent deletions.
const CONCURRENT_DELETIONS: usize = 8;

/// Requests all agents to uninstall, then deletes what operator and agents have written. Does nothing if the
/// `DaemonSet` lacks the annotation `required`.
pub async fn uninstall(
    namespace: &str,
    name: &str,
    required: Option<&str>,
    timeout: Duration,
) -> anyhow::Result<()> {
    let client = connect().await?;
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let set = sets.get_opt(name).await;
    if let Some(set) = set.with_context(|| format!("cannot read DaemonSet {namespace}/{name}"))? {
        if let Some(annotation) = required.filter(|required| !plan::is_annotated(&set, required)) {
            bail!(
                "DaemonSet {namespace}/{name} has no annotation `{annotation}`, so the tool that runs this job as a hook has \
                 not installed it; nothing was changed. If the chart was rendered and applied, set the chart's value `hooks` \
                 to None. To uninstall, see docs/operations/uninstall.md"
            );
        }
        agents(&client, &sets, &set, timeout).await?;
    } else {
        warn!(
            namespace,
            name, "the DaemonSet does not exist, so there are no agents"
        );
    }
    delete_all::<XdpNodeState>(&client).await?;
    if time::timeout(STATUS_TIMEOUT, statuses_updated(&client))
        .await
        .is_err()
    {
        warn!("the statuses of policies are stale; the operator does not seem to run");
    }
    delete_all::<XdpPeerSet>(&client).await?;
    info!("agents uninstalled");
    Ok(())
}

async fn agents(
    client: &Client,
    sets: &Api<DaemonSet>,
    set: &DaemonSet,
    timeout: Duration,
) -> anyhow::Result<()> {
    let (name, namespace) = (set.name_any(), set.namespace().unwrap_or_default());
    let patch = plan::patch(set).with_context(|| {
        format!(
            "DaemonSet {namespace}/{name} has no container `{}`; check that it is the DaemonSet of the agents",
            plan::CONTAINER
        )
    })?;
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    sets.patch(&name, &params, &Patch::Strategic(patch))
        .await
        .with_context(|| format!("cannot change DaemonSet {namespace}/{name}"))?;
    info!(namespace, name, "requested agents to uninstall");
    let done = await_condition(sets.clone(), &name, |set: Option<&DaemonSet>| {
        set.is_none_or(plan::is_done)
    });
    if let Ok(result) = time::timeout(timeout, done).await {
        result.with_context(|| format!("cannot watch DaemonSet {namespace}/{name}"))?;
        info!(namespace, name, "all agents have uninstalled");
        return Ok(());
    }
    let nodes = unfinished(client, sets, &namespace, &name).await;
    let nodes = nodes.unwrap_or_else(|error| format!("unknown ({error})"));
    bail!(
        "after {} s, not all agents of DaemonSet {namespace}/{name} have uninstalled; remaining nodes: {nodes}. Check the \
         pods on these nodes. If a node no longer exists, delete its Node object and retry",
        timeout.as_secs()
    )
}

async fn unfinished(
    client: &Client,
    sets: &Api<DaemonSet>,
    namespace: &str,
    name: &str,
) -> Result<String, kube::Error> {
    let set = sets.get(name).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = plan::selector(&set);
    let pods = pods.list(&ListParams::default().labels(&selector)).await?;
    Ok(plan::unfinished(&set, &pods.items))
}

/// Waits until no policy claims to be programmed.
async fn statuses_updated(client: &Client) {
    let claims = |set: Option<&kube::api::DynamicObject>| {
        set.is_none_or(|object| {
            store::policy(object)
                .value
                .is_none_or(|policy| !plan::claims(&policy))
        })
    };
    let policies = match answered(untyped::<XdpPolicy>(client, "").list(&ListParams::default())).await {
        Ok(policies) => policies.items,
        Err(error) => return warn!(%error, "cannot list policies"),
    };
    for policy in policies {
        let namespace = policy.namespace().unwrap_or_default();
        let api = untyped::<XdpPolicy>(client, &namespace);
        if let Err(error) = await_condition(api, &policy.name_any(), claims).await {
            return warn!(%error, "cannot watch policies");
        }
    }
}

async fn delete_all<K>(client: &Client) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = ()>,
{
    let kind = K::kind(&()).into_owned();
    let listed = match answered(untyped::<K>(client, "").list(&ListParams::default())).await {
        Err(error) if error.is_status(404) => return Ok(()),
        listed => listed.with_context(|| format!("cannot list objects of kind {kind}"))?,
    };
    let deletions = listed.items.into_iter().map(|object| async move {
        let api = untyped::<K>(client, &object.namespace().unwrap_or_default());
        let name = object.name_any();
        match answered(api.delete(&name, &kube::api::DeleteParams::default())).await {
            Err(error) if error.is_status(404) => Ok(()),
            answer => answer.map(drop).with_context(|| format!("cannot delete {name}")),
        }
    });
    let mut results = stream::iter(deletions).buffer_unordered(CONCURRENT_DELETIONS);
    let mut count = 0u32;
    while let Some(result) = results.next().await {
        result?;
        count += 1;
    }
    info!(kind, count, "deleted objects");
    Ok(())
}
