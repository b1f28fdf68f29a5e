//! The definitions of the kinds: printed, or applied.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};
use tokio::time;
use tracing::info;
use xdp_client::connect;

/// Whose fields the definitions are. Helm 4 applies them as `helm` when it installs a chart, and fails where others own
/// what differs: on definitions that an earlier installation has left, if this were another name.
const MANAGER: &str = "helm";

/// All definitions as YAML documents.
pub fn yaml() -> String {
    let documents = xdp_crds::crds();
    documents.iter().fold(String::new(), |all, definition| {
        all + "---\n" + &xdp_crds::to_yaml(definition)
    })
}

/// Applies all definitions, and waits until the API server serves them.
pub async fn apply(timeout: Duration) -> anyhow::Result<()> {
    let client = connect().await?;
    let api: Api<CustomResourceDefinition> = Api::all(client);
    // By force: somebody may have applied them by hand.
    let params = PatchParams::apply(MANAGER).force();
    let all = async {
        for definition in xdp_crds::crds() {
            let name = definition.name_any();
            api.patch(&name, &params, &Patch::Apply(&definition))
                .await
                .with_context(|| format!("CustomResourceDefinition `{name}` could not be applied"))?;
            await_condition(api.clone(), &name, conditions::is_crd_established())
                .await
                .with_context(|| format!("CustomResourceDefinition `{name}` could not be watched"))?;
            info!(name, "definition applied");
        }
        Ok(())
    };
    time::timeout(timeout, all).await.with_context(|| {
        format!(
            "the API server does not serve all kinds after {} s",
            timeout.as_secs()
        )
    })?
}
