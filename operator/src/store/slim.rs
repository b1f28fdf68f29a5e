//! Pods as the API server sends them, without the parts that the operator does not need. Most of a pod's text
//! is environment variables, volumes and managed fields, and there are ten thousands of pods: they are
//! skipped while they are parsed.

use std::borrow::Cow;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1 as k8s,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// A pod with few of its fields.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SlimPod {
    #[serde(default, deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimSpec {
    node_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<k8s::PodIP>>,
}

/// All of the metadata but the managed fields and the annotations.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<std::collections::BTreeMap<String, String>>,
    deletion_timestamp: Option<Time>,
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let slim = SlimMetadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        labels: slim.labels,
        deletion_timestamp: slim.deletion_timestamp,
        ..ObjectMeta::default()
    })
}

impl SlimPod {
    /// Returns the pod in the form that is validated. What was skipped is absent.
    pub fn into_pod(self) -> k8s::Pod {
        k8s::Pod {
            metadata: self.metadata,
            spec: Some(k8s::PodSpec {
                node_name: self.spec.node_name,
                host_network: self.spec.host_network,
                ..k8s::PodSpec::default()
            }),
            status: Some(k8s::PodStatus {
                phase: self.status.phase,
                pod_ip: self.status.pod_ip,
                pod_ips: self.status.pod_ips,
                ..k8s::PodStatus::default()
            }),
        }
    }
}

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        k8s::Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        k8s::Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        k8s::Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        k8s::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slim_pod_has_what_the_operator_needs_of_the_whole_one() {
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "labels": {"app": "x"},
                "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:x": {}}}]},
            "spec": {"nodeName": "node-1", "hostNetwork": false, "containers": [{"name": "c", "env": []}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}});
        let whole: k8s::Pod = serde_json::from_value(object.clone()).unwrap();
        let slim: SlimPod = serde_json::from_value(object).unwrap();
        assert_eq!(slim.meta().resource_version.as_deref(), Some("7"));
        let read = |pod: &k8s::Pod| xdp_crds::pod::Pod::try_from(pod).unwrap();
        assert_eq!(read(&slim.into_pod()), read(&whole));
    }

    #[test]
    fn a_pod_without_spec_and_status_is_a_pod() {
        let slim: SlimPod =
            serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "n"}})).unwrap();
        assert!(
            xdp_crds::pod::Pod::try_from(&slim.into_pod())
                .unwrap()
                .addresses
                .is_empty()
        );
    }
}
