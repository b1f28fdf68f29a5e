//! Calls of kubectl and helm as the administrator.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use xdp_lab::Finished;

use super::{Cluster, checked};

/// Time limit of a command, longer than any timeout of the command itself.
const LONGEST: Duration = Duration::from_mins(10);

impl Cluster {
    /// Runs kubectl, which must succeed, and returns its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&call("kubectl", arguments), self.try_kubectl(arguments)?)
    }

    /// Runs kubectl, with any exit status.
    pub fn try_kubectl(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        self.run("kubectl", arguments, None)
    }

    /// Runs `kubectl get … -o json`, and returns the object.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        let text = self.kubectl(&arguments)?;
        serde_json::from_str(&text).with_context(|| call("kubectl", &arguments))
    }

    /// Runs `kubectl apply` with this YAML or JSON.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        checked("kubectl apply", self.try_apply(manifest)?)
    }

    /// Runs `kubectl apply` with this YAML or JSON, with any exit status.
    pub fn try_apply(&self, manifest: &str) -> anyhow::Result<Finished> {
        self.run("kubectl", &["apply", "-f", "-"], Some(manifest))
    }

    /// Runs helm, which must succeed, and returns its standard output.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&call("helm", arguments), self.try_helm(arguments)?)
    }

    /// Runs helm, with any exit status.
    pub fn try_helm(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        self.run("helm", arguments, None)
    }

    /// Runs curl at the client outside, and returns the response.
    pub fn curl(&self, url: &str) -> anyhow::Result<String> {
        let mut command = Command::new("curl");
        command
            .args([
                "--globoff",
                "--fail",
                "--silent",
                "--show-error",
                "--max-time",
                "5",
                url,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let finished = self.client().spawn(command)?.finish(LONGEST)?;
        checked(&format!("curl {url}"), finished)
    }

    /// Returns a command that runs a program with the administrator's KUBECONFIG in the namespace of the
    /// control plane, for programs that run in the background of a test, such as `kubectl port-forward`.
    pub fn admin(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env("KUBECONFIG", self.kubeconfig())
            // Caches, and helm's own files.
            .env("HOME", self.state.join("home"));
        for unwanted in [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "http_proxy",
            "https_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
        ] {
            command.env_remove(unwanted);
        }
        command
    }

    /// Runs `kubectl` or `helm` with this standard input, with any exit status.
    pub fn run(&self, program: &str, arguments: &[&str], input: Option<&str>) -> anyhow::Result<Finished> {
        let mut command = self.admin(program);
        command
            .args(arguments)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = self.control().spawn(command)?;
        if let (Some(input), Some(mut stdin)) = (input, process.stdin.take()) {
            // If the program does not read, its exit status says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(process.finish(LONGEST)?)
    }
}

fn call(program: &str, arguments: &[&str]) -> String {
    format!("{program} {}", arguments.join(" "))
}
