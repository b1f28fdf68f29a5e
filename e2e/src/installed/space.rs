//! A namespace of a test's own, with its policies.

use anyhow::anyhow;
use serde_json::Value;
use xdp_lab::Finished;

use super::{API, Installed};

/// A namespace of a test's own. Dropping it deletes it, and waits for nothing.
#[derive(Debug)]
pub struct Space<'a> {
    /// Its name.
    pub name: String,
    pub(super) installed: &'a Installed,
}

impl<'a> Space<'a> {
    pub(super) fn new(installed: &'a Installed, name: &str) -> anyhow::Result<Self> {
        installed.kubectl(&["create", "namespace", name])?;
        // From here on an error deletes it.
        let space = Self {
            name: name.to_owned(),
            installed,
        };
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        installed.until("pods can be made", || installed.api(&account))?;
        Ok(space)
    }

    /// `kubectl apply` in it.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        xdp_kubernetes::checked("kubectl apply", self.try_apply(manifest)?)
    }

    /// `kubectl apply` in it, whatever comes of it.
    pub fn try_apply(&self, manifest: &str) -> anyhow::Result<Finished> {
        self.installed.try_apply_in(&self.name, manifest)
    }

    /// `kubectl` in it.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.installed
            .kubectl(&[&["-n", self.name.as_str()], arguments].concat())
    }

    /// Apply a policy for the pods with label `app: APP`; each rule is one line of YAML.
    pub fn policy(&self, name: &str, app: &str, rules: &[&str]) -> anyhow::Result<()> {
        self.policy_with(
            name,
            &format!("podSelector: {{matchLabels: {{app: {app}}}}}"),
            rules,
        )
    }

    /// The same with other fields of the spec, each on a line of its own.
    pub fn policy_with(&self, name: &str, spec: &str, rules: &[&str]) -> anyhow::Result<()> {
        self.apply(&policy(name, spec, rules))?;
        Ok(())
    }

    /// Where a policy of this namespace is.
    pub fn policy_path(&self, name: &str) -> String {
        format!("{API}/namespaces/{}/xdppolicies/{name}", self.name)
    }

    /// Look at a policy until it is as wanted.
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

    /// Wait until what was last written of a policy is in force for this many pods, everywhere.
    pub fn until_programmed(&self, name: &str, pods: u64) -> anyhow::Result<Value> {
        self.until_policy(name, &format!("is programmed for {pods} pods"), |policy| {
            condition(policy, "Programmed").is_some_and(|condition| {
                condition["status"] == "True"
                    && condition["observedGeneration"] == policy["metadata"]["generation"]
            }) && policy["status"]["pods"]["programmed"] == pods
        })
    }

    /// Wait until it is said of what was last written of a policy that it is not in force, for this reason.
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
        // It goes with the cluster at the latest.
        let _ = self
            .installed
            .try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

impl Installed {
    /// `kubectl apply` in a namespace, whatever comes of it.
    pub fn try_apply_in(&self, namespace: &str, manifest: &str) -> anyhow::Result<Finished> {
        self.run("kubectl", &["apply", "-n", namespace, "-f", "-"], Some(manifest))
    }

    /// All node states, for errors.
    fn states(&self) -> String {
        let states = self.list(&format!("{API}/xdpnodestates")).unwrap_or_default();
        let shown = states
            .iter()
            .map(|state| format!("{}: {:#}", state["metadata"]["name"], state["status"]));
        shown.collect::<Vec<_>>().join("\n")
    }
}

/// An object's condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// A policy's manifest; each rule is one line of YAML.
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
