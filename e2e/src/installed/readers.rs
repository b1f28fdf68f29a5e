//! Accounts that read metrics, by HTTPS.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::PoisonError,
    time::Duration,
};

use anyhow::Context as _;
use xdp_kubernetes::checked;
use xdp_lab::HttpReply;

use super::Installation;

/// The account of the tests, which may read.
const READER: &str = "e2e-prometheus";
/// The limit for curl, which has a shorter one of its own.
const PATIENCE: Duration = Duration::from_secs(30);

impl Installation {
    /// Requests `/metrics` from the control plane's namespace, with a bearer token. The certificate is not
    /// verified.
    pub fn get_metrics(&self, server: SocketAddr, token: Option<&str>) -> anyhow::Result<HttpReply> {
        let mut command = Command::new("curl");
        command
            .args([
                "--insecure",
                "--silent",
                "--show-error",
                "--globoff",
                "--max-time",
                "10",
            ])
            .args(["--noproxy", "*", "--write-out", "\n%{http_code}"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(token) = token {
            command
                .arg("--header")
                .arg(format!("Authorization: Bearer {token}"));
        }
        let url = format!("https://{server}/metrics");
        command.arg(&url);
        let output = checked(&url, self.control().spawn(command)?.finish(PATIENCE)?)?;
        let (body, status) = output.rsplit_once('\n').context("curl printed no status")?;
        Ok(HttpReply {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// Returns a token of a service account in the namespace `default`, which is created if it is absent.
    pub fn token(&self, account: &str) -> anyhow::Result<String> {
        self.apply(&format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: default}}}}"
        ))?;
        let token = ["create", "token", "-n", "default", account, "--duration=8h"];
        Ok(self.kubectl(&token)?.trim().to_owned())
    }

    /// Returns the token of an account that may read the metrics.
    pub fn reader_token(&self) -> anyhow::Result<String> {
        let mut token = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*token {
            return Ok(token.clone());
        }
        let new = self.token(READER)?;
        let group = "rbac.authorization.k8s.io";
        self.apply(&format!(
            "apiVersion: {group}/v1
kind: ClusterRoleBinding
metadata: {{name: {READER}}}
roleRef: {{apiGroup: {group}, kind: ClusterRole, name: xdp-operator-metrics-reader}}
subjects: [{{kind: ServiceAccount, name: {READER}, namespace: default}}]"
        ))?;
        *token = Some(new.clone());
        Ok(new)
    }
}
