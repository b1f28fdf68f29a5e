//! Workloads that Kubernetes makes: Deployments.

use std::thread;

use anyhow::{anyhow, ensure};
use serde_json::json;

use super::{
    Pod, Space,
    pods::{pod, pod_spec},
};

impl<'a> Space<'a> {
    /// A Deployment of pods that count, with label `app: NAME`; on a node (counted from 1), or wherever there is room.
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

    /// Look until an app has exactly so many pods, all of which serve.
    pub fn pods_of(&self, app: &str, count: usize) -> anyhow::Result<Vec<Pod<'a>>> {
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

/// Asks all at once: those that do not answer yet share the time that it takes to find out.
fn all_serve(pods: &[Pod<'_>]) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let asked: Vec<_> = pods.iter().map(|pod| scope.spawn(|| pod.counts())).collect();
        for answer in asked {
            answer.join().map_err(|_| anyhow!("asking a pod panicked"))??;
        }
        Ok(())
    })
}
