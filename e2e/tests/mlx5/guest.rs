//! A machine that runs the acceptance, and its peer on this side of the wire.

use std::{
    env,
    io::{BufReader, Write as _},
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;
use xdp_connectx::machine::{Architecture, Machine, MachineBuilder, MachineLimits};
use xdp_e2e::acceptance::{AcceptanceReport, CardControl, PeerServer};
use xdp_lab::Namespace;

/// A guest that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(200);
const LIMITS: MachineLimits = MachineLimits {
    silence: SILENCE,
    total: Duration::from_mins(25),
};

/// Sets the machine's command: the acceptance of each NIC, by its MAC address and its checks.
pub(crate) fn command<'a>(
    builder: MachineBuilder,
    runs: impl Iterator<Item = (&'a str, &'a [&'a str])>,
) -> MachineBuilder {
    let own = program(builder.kernel().architecture);
    let agent = own.with_file_name("xdp-agent");
    let chosen = env::var("ONLY").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split(',').filter(|only| !only.is_empty()).collect();
    let line = |(mac, only): (&str, &[&str])| {
        let only = if chosen.is_empty() {
            only
        } else {
            chosen.as_slice()
        };
        let only: Vec<String> = only.iter().map(|only| format!("--only='{only}'")).collect();
        let only = only.join(" ");
        format!(
            "{} run --nic-mac={mac} --peer=serial:/dev/virtio-ports/peer --agent={} {only} || failed=1",
            own.display(),
            agent.display()
        )
    };
    let lines: Vec<String> = runs.map(line).collect();
    let script = format!("failed=0\n{}\nexit $failed", lines.join("\n"));
    builder
        .command("/bin/sh", ["-c".to_owned(), script])
        .env("RUST_BACKTRACE", "0")
}

/// Returns the acceptance as built for an architecture. The agent is in the same folder.
fn program(architecture: Architecture) -> PathBuf {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_acceptance"));
    match architecture {
        Architecture::Amd64 => own,
        Architecture::Arm64 => {
            let target = own.ancestors().nth(2).unwrap();
            target.join("aarch64-unknown-linux-gnu/debug/acceptance")
        }
    }
}

/// Serves the acceptance until its report, or panics with what the machine has printed.
pub(crate) fn serve(
    stream: &std::os::unix::net::UnixStream,
    wire: &Namespace,
    tap: &str,
    card: &mut dyn CardControl,
    progress: impl Fn(),
) -> anyhow::Result<Option<AcceptanceReport>> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut to = stream.try_clone()?;
    let peer = PeerServer::new(wire, tap).card(card).on_check(|check| {
        progress();
        print_check(check);
    });
    let report = peer.serve(&mut BufReader::new(stream), &mut to)?;
    Ok(report.map(serde_json::from_value).transpose()?)
}

fn print_check(check: &Value) {
    let line = serde_json::from_value::<xdp_e2e::acceptance::Check>(check.clone());
    if let Ok(check) = line {
        println!("{check}");
        let _ = std::io::stdout().flush();
    }
}

/// Waits until the machine is off. A warning of its kernel is a failure.
pub(crate) fn ends(machine: &mut Machine) -> Result<(), String> {
    let result = machine.wait(LIMITS).map_err(|error| error.to_string())?;
    if result.warnings.is_empty() {
        Ok(())
    } else {
        Err(format!("the kernel warned: {:#?}", result.warnings))
    }
}
