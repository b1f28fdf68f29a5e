//! Objects that are written to the API server's storage, many with each request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use xdp_lab::{HttpRequest, HttpSession};

use super::{SimulatedCluster, TIMEOUT};

const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);
/// Objects of one transaction; etcd accepts 128.
const OBJECTS: usize = 100;

impl SimulatedCluster {
    /// Stores the objects that `of` returns for each number below `count`, with their keys.
    pub(super) fn store(&self, count: usize, of: impl Fn(usize) -> (String, Value) + Sync) -> Result<()> {
        let store = || -> Result<()> {
            let session = HttpSession::new(ETCD, TIMEOUT);
            for first in (0..count).step_by(OBJECTS) {
                let puts: Vec<Value> = (first..count.min(first + OBJECTS))
                    .map(|number| put(number, of(number)))
                    .collect();
                let body = json!({"success": puts}).to_string();
                let request = HttpRequest {
                    method: "POST",
                    path: "/v3/kv/txn",
                    body: Some(("application/json", &body)),
                };
                let reply = session.send(&request)?;
                ensure!(reply.status == 200, "etcd: {} {}", reply.status, reply.body);
            }
            Ok(())
        };
        self.cluster().control().run(store)?
    }
}

/// Completes an object as the API server does at its creation.
fn put(number: usize, (key, mut object): (String, Value)) -> Value {
    let kind = key
        .bytes()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    object["metadata"]["uid"] = json!(format!("{kind:08x}-0000-4000-8000-{number:012x}"));
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    json!({"requestPut": {
        "key": BASE64_STANDARD.encode(format!("/registry/{key}")),
        "value": BASE64_STANDARD.encode(object.to_string()),
    }})
}
