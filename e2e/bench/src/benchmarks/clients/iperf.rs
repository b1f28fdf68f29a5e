//! Throughput with iperf3.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xdp_lab::{LabPod, Namespace, Process, wait_until};

use crate::command;

const PORT: u16 = 5201;
/// Bytes of one trial: half a second at 2 Gbit/s.
const BYTES: &str = "128M";

/// Starts a server in the pod. It runs until it is dropped.
pub(super) fn serve(pod: &LabPod) -> Result<Server> {
    ensure!(command::is_there("iperf3"), "iperf3 is not installed");
    let mut server = Command::new("iperf3");
    server
        .args(["-s", "-p", &PORT.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = pod.ns.spawn(server)?;
    wait_until("iperf3 listens", Duration::from_secs(5), || {
        let to = std::net::SocketAddr::new(pod.v4(), PORT);
        pod.ns
            .run(|| std::net::TcpStream::connect(to).is_ok())
            .unwrap_or(false)
    })?;
    Ok(Server(process))
}

/// A server that is killed when it is dropped.
pub(super) struct Server(Process);

impl Drop for Server {
    fn drop(&mut self) {
        // If this fails, the lab kills it.
        let _ = self.0.kill();
    }
}

/// Returns the throughput that the receiver counted, in Gbit/s.
pub(super) fn gigabits(from: &Namespace, pod: &LabPod) -> Result<f64> {
    let mut result = Err(anyhow::anyhow!("iperf3 was never run"));
    // A server that has just ended a test is busy for a moment.
    for _ in 0..20 {
        result = once(from, pod);
        if result.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    result
}

fn once(from: &Namespace, pod: &LabPod) -> Result<f64> {
    let line = format!("iperf3 -c {} -p {PORT} -n {BYTES} -J", pod.v4());
    let json: Value = serde_json::from_str(&command::run(from, &line)?)?;
    let bits = json["end"]["sum_received"]["bits_per_second"].as_f64();
    let why = || format!("iperf3 reports no throughput: {}", json["error"]);
    Ok(bits.with_context(why)? / 1e9)
}
