//! `xdp-operator uninstall-agents`: nothing of ours stays in a kernel, and nothing that only we have written in the API.

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

use crate::{MANAGER, world};

/// How long the operator may take to see that no agent is left, and to say so in the policies.
const AFTERMATH: Duration = Duration::from_secs(15);
/// Deletions at the same time.
const AT_ONCE: usize = 8;

/// Lets all agents remove what is theirs, then deletes what operator and agents have written.
pub async fn uninstall(namespace: &str, name: &str, timeout: Duration) -> anyhow::Result<()> {
    let client = connect().await?;
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let set = sets.get_opt(name).await;
    if let Some(set) = set.with_context(|| format!("DaemonSet {namespace}/{name} could not be read"))? {
        agents(&client, &sets, &set, timeout).await?;
    } else {
        warn!(
            namespace,
            name, "there is no such DaemonSet, so there are no agents"
        );
    }
    delete_all::<XdpNodeState>(&client).await?;
    if time::timeout(AFTERMATH, seen_by_the_operator(&client))
        .await
        .is_err()
    {
        warn!("the statuses of policies still say what was; the operator seems not to run");
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
            "DaemonSet {namespace}/{name} has no container `{}`: is it the agents'?",
            plan::CONTAINER
        )
    })?;
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    sets.patch(&name, &params, &Patch::Strategic(patch))
        .await
        .with_context(|| format!("DaemonSet {namespace}/{name} could not be changed"))?;
    info!(namespace, name, "agents are told to remove what is theirs");
    let done = await_condition(sets.clone(), &name, |set: Option<&DaemonSet>| {
        set.is_none_or(plan::is_done)
    });
    if let Ok(result) = time::timeout(timeout, done).await {
        result.with_context(|| format!("DaemonSet {namespace}/{name} could not be watched"))?;
        info!(namespace, name, "every agent has");
        return Ok(());
    }
    let nodes = unfinished(client, sets, &namespace, &name).await;
    let nodes = nodes.unwrap_or_else(|error| format!("unknown ({error})"));
    bail!(
        "after {} s not every agent of DaemonSet {namespace}/{name} has removed what is its own; nodes that are left: \
         {nodes}. Look at the pods there, or, if these nodes are gone for good, delete them and try again",
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

/// Waits until no policy claims to be in force, and no slice is left.
async fn seen_by_the_operator(client: &Client) {
    let claims = |set: Option<&kube::api::DynamicObject>| {
        set.is_none_or(|object| {
            world::policy(object)
                .value
                .is_none_or(|policy| !plan::claims(&policy))
        })
    };
    let policies = match answered(untyped::<XdpPolicy>(client, "").list(&ListParams::default())).await {
        Ok(policies) => policies.items,
        Err(error) => return warn!(%error, "policies could not be listed"),
    };
    for policy in policies {
        let namespace = policy.namespace().unwrap_or_default();
        let api = untyped::<XdpPolicy>(client, &namespace);
        if let Err(error) = await_condition(api, &policy.name_any(), claims).await {
            return warn!(%error, "policies could not be watched");
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
        listed => listed.with_context(|| format!("objects of kind {kind} could not be listed"))?,
    };
    let deletions = listed.items.into_iter().map(|object| async move {
        let api = untyped::<K>(client, &object.namespace().unwrap_or_default());
        let name = object.name_any();
        match answered(api.delete(&name, &kube::api::DeleteParams::default())).await {
            Err(error) if error.is_status(404) => Ok(()),
            answer => answer
                .map(drop)
                .with_context(|| format!("{name} could not be deleted")),
        }
    });
    let mut results = stream::iter(deletions).buffer_unordered(AT_ONCE);
    let mut count = 0u32;
    while let Some(result) = results.next().await {
        result?;
        count += 1;
    }
    info!(kind, count, "deleted");
    Ok(())
}
