//! The CustomResourceDefinitions: prints or applies them.

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

/// The field manager of the CRDs. Helm 4 applies CRDs as `helm` when it installs a chart, and fails on fields
/// that differ and that another manager owns. With another name, it would fail on the CRDs of an earlier
/// installation.
const MANAGER: &str = "helm";

/// Returns all CRDs as YAML documents.
pub fn yaml() -> String {
    let documents = xdp_crds::crds();
    documents.iter().fold(String::new(), |all, definition| {
        all + "---\n" + &xdp_crds::to_yaml(definition)
    })
}

/// Applies all CRDs, and waits until the API server serves them.
pub async fn apply(timeout: Duration) -> anyhow::Result<()> {
    let client = connect().await?;
    let api: Api<CustomResourceDefinition> = Api::all(client);
    // With force: a user may have applied the CRDs by hand.
    let params = PatchParams::apply(MANAGER).force();
    let all = async {
        for definition in xdp_crds::crds() {
            let name = definition.name_any();
            api.patch(&name, &params, &Patch::Apply(&definition))
                .await
                .with_context(|| format!("cannot apply CustomResourceDefinition `{name}`"))?;
            await_condition(api.clone(), &name, conditions::is_crd_established())
                .await
                .with_context(|| format!("cannot watch CustomResourceDefinition `{name}`"))?;
            info!(name, "applied a CRD");
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
