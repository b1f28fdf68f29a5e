//! A Kubernetes namespace for one test, with its policies.

use anyhow::anyhow;
use serde_json::Value;
use xdp_lab::Finished;

use super::{API, Installation};

/// A Kubernetes namespace for one test. Drop deletes it without waiting.
#[derive(Debug)]
pub struct Space<'a> {
    /// Its name.
    pub name: String,
    pub(super) installed: &'a Installation,
}

impl<'a> Space<'a> {
    pub(super) fn new(installed: &'a Installation, name: &str) -> anyhow::Result<Self> {
        installed.kubectl(&["create", "namespace", name])?;
        // From here on an error drops, and so deletes, the namespace.
        let space = Self {
            name: name.to_owned(),
            installed,
        };
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        installed.until("pods can be created", || installed.api(&account))?;
        Ok(space)
    }

    /// Runs `kubectl apply` in the namespace.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        xdp_kubernetes::checked("kubectl apply", self.try_apply(manifest)?)
    }

    /// Runs `kubectl apply` in the namespace, and returns its result whatever its exit status.
    pub fn try_apply(&self, manifest: &str) -> anyhow::Result<Finished> {
        self.installed.try_apply_in(&self.name, manifest)
    }

    /// Runs `kubectl` in the namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.installed
            .kubectl(&[&["-n", self.name.as_str()], arguments].concat())
    }

    /// Applies a policy for the pods with label `app: APP`; each rule is one line of YAML.
    pub fn policy(&self, name: &str, app: &str, rules: &[&str]) -> anyhow::Result<()> {
        self.policy_with(
            name,
            &format!("podSelector: {{matchLabels: {{app: {app}}}}}"),
            rules,
        )
    }

    /// Applies a policy with other fields of the spec, each on a line of its own.
    pub fn policy_with(&self, name: &str, spec: &str, rules: &[&str]) -> anyhow::Result<()> {
        self.apply(&policy(name, spec, rules))?;
        Ok(())
    }

    /// Returns the API path of a policy of this namespace.
    pub fn policy_path(&self, name: &str) -> String {
        format!("{API}/namespaces/{}/xdppolicies/{name}", self.name)
    }

    /// Reads a policy until it is as wanted.
    pub fn until_policy(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let path = self.policy_path(name);
        let what = format!("the policy {}/{name}: {what}", self.name);
        self.installed
            .until_object(what, &path, wanted)
            .map_err(|error| anyhow!("{error:#}\n{}", self.installed.states()))
    }

    /// Waits until the latest generation of a policy is programmed for this many pods.
    pub fn until_programmed(&self, name: &str, pods: u64) -> anyhow::Result<Value> {
        self.until_policy(name, &format!("is programmed for {pods} pods"), |policy| {
            condition(policy, "Programmed").is_some_and(|condition| {
                condition["status"] == "True"
                    && condition["observedGeneration"] == policy["metadata"]["generation"]
            }) && policy["status"]["pods"]["programmed"] == pods
        })
    }

    /// Waits until the latest generation of a policy has the condition `Programmed` false for this reason.
    pub fn until_not_programmed(&self, name: &str, reason: &str) -> anyhow::Result<Value> {
        self.until_policy(name, &format!("is not programmed: {reason}"), |policy| {
            condition(policy, "Programmed").is_some_and(|condition| {
                condition["status"] == "False"
                    && condition["reason"] == reason
                    && condition["observedGeneration"] == policy["metadata"]["generation"]
            })
        })
    }
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        // The cluster's removal deletes it too.
        let _ = self
            .installed
            .try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

impl Installation {
    /// Runs `kubectl apply` in a namespace, and returns its result whatever its exit status.
    pub fn try_apply_in(&self, namespace: &str, manifest: &str) -> anyhow::Result<Finished> {
        self.run("kubectl", &["apply", "-n", namespace, "-f", "-"], Some(manifest))
    }

    /// Lists all node states, for errors.
    fn states(&self) -> String {
        let states = self.list(&format!("{API}/xdpnodestates")).unwrap_or_default();
        let shown = states
            .iter()
            .map(|state| format!("{}: {:#}", state["metadata"]["name"], state["status"]));
        shown.collect::<Vec<_>>().join("\n")
    }
}

/// Returns an object's condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Returns a policy's manifest. Each rule is one line of YAML.
pub fn policy(name: &str, spec: &str, rules: &[&str]) -> String {
    let spec = spec.replace('\n', "\n  ");
    let rules = [&[""], rules].concat().join("\n  - ");
    format!(
        "apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {{name: {name}}}
spec:
  {spec}
  ingress:{rules}
"
    )
}
