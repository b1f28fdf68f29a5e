//! Requests to the API server through one `kubectl proxy`, instead of one `kubectl` process each.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::PoisonError,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xdp_kubernetes::Node;

use super::{API, Installation, http_get, http_post};

/// A free port in the control plane's network namespace.
const PORT: u16 = 8001;
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

impl Installation {
    pub(super) fn start_proxy(&self) -> anyhow::Result<()> {
        let mut command = self.admin("kubectl");
        command
            .args(["proxy", "--port", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = self.control().spawn(command)?;
        *self.proxy.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        self.until("kubectl proxy answers", || self.api("/api"))?;
        Ok(())
    }

    /// Reads an object from the API server, as the administrator.
    pub fn api(&self, path: &str) -> anyhow::Result<Value> {
        let found = self.find(path)?;
        found.with_context(|| format!("{path}: not found"))
    }

    /// Reads an object that may not exist.
    pub fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let reply = http_get(self.control(), SERVER, path)?;
        if reply.status == 404 {
            return Ok(None);
        }
        ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
        let value = serde_json::from_str(&reply.body).with_context(|| path.to_owned())?;
        Ok(Some(value))
    }

    /// Posts an object to the API server, as the administrator. Returns the status code and the answer.
    pub fn post(&self, path: &str, object: &Value) -> anyhow::Result<(u16, Value)> {
        let reply = http_post(self.control(), SERVER, path, &object.to_string())?;
        Ok((reply.status, serde_json::from_str(&reply.body)?))
    }

    /// Reads the items of a list.
    pub fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.api(path)?;
        let Value::Array(items) = list["items"].take() else {
            anyhow::bail!("{path} is not a list: {list}");
        };
        Ok(items)
    }

    /// Reads a node's `XdpNodeState`.
    pub fn node_state(&self, node: &Node) -> anyhow::Result<Value> {
        self.api(&node_state_path(node))
    }

    /// Reads a node's `XdpNodeState` until it is as wanted.
    pub fn until_node_state(
        &self,
        what: &str,
        node: &Node,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let path = node_state_path(node);
        self.until_object(format!("{}: {what}", node.name), &path, wanted)
    }

    /// Lists the events of an object by its name. Events of cluster-scoped objects are in the namespace
    /// `default`.
    pub fn events(&self, namespace: &str, about: &str) -> anyhow::Result<Vec<Value>> {
        let mut events = self.list(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"))?;
        events.retain(|event| event["regarding"]["name"] == about);
        Ok(events)
    }

    /// Waits for an event of an object.
    pub fn until_event(&self, namespace: &str, about: &str, reason: &str) -> anyhow::Result<Value> {
        self.until(format!("an event {reason} of {about}"), || {
            let events = self.events(namespace, about)?;
            let found = events.iter().find(|event| event["reason"] == reason).cloned();
            let shown: Vec<String> = events
                .iter()
                .map(|event| format!("{}: {}", event["reason"], event["note"]))
                .collect();
            found.with_context(|| format!("its events are {shown:#?}"))
        })
    }
}

/// The API path of a node's state.
fn node_state_path(node: &Node) -> String {
    format!("{API}/xdpnodestates/{}", node.name)
}
