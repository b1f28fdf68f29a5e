//! Deployments of workloads.

use std::thread;

use anyhow::{anyhow, ensure};
use serde_json::json;

use super::{
    ClusterPod, Space,
    pods::{pod, pod_spec},
};

impl<'a> Space<'a> {
    /// Creates a Deployment of counting pods with label `app: NAME`, on a node (counted from 1) or on any.
    pub fn deployment(&self, name: &str, node: Option<usize>, replicas: u32) -> anyhow::Result<()> {
        let labels = json!({"app": name});
        let mut spec = pod_spec(None, &[]);
        if let Some(node) = node {
            spec["nodeSelector"] = json!({"kubernetes.io/hostname": format!("node{node}")});
        }
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        });
        self.apply(&deployment.to_string())?;
        Ok(())
    }

    /// Waits until an app has exactly `count` pods and all of them serve.
    pub fn pods_of(&self, app: &str, count: usize) -> anyhow::Result<Vec<ClusterPod<'a>>> {
        let path = format!("/api/v1/namespaces/{}/pods?labelSelector=app%3D{app}", self.name);
        self.installed
            .until(format!("{app} has {count} pods that serve"), || {
                let objects = self.installed.list(&path)?;
                ensure!(objects.len() == count, "there are {}", objects.len());
                let pods = objects.iter().map(|object| pod(self.installed, object));
                let pods = pods.collect::<anyhow::Result<Vec<_>>>()?;
                all_serve(&pods)?;
                Ok(pods)
            })
    }
}

/// Queries all pods in parallel, so that the timeouts of pods that do not answer yet overlap.
fn all_serve(pods: &[ClusterPod<'_>]) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let queries: Vec<_> = pods.iter().map(|pod| scope.spawn(|| pod.counts())).collect();
        for query in queries {
            query
                .join()
                .map_err(|_| anyhow!("the query of a pod panicked"))??;
        }
        Ok(())
    })
}
