//! A machine that runs the acceptance, and its peer on this side of the wire.

use std::{
    env,
    io::{BufReader, Write as _},
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;
use xdp_connectx::machine::{Machine, MachineBuilder, MachineLimits};
use xdp_e2e::acceptance::{AcceptanceReport, CardControl, Peer};
use xdp_lab::Namespace;

/// A guest that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(200);
const LIMITS: MachineLimits = MachineLimits {
    silence: SILENCE,
    total: Duration::from_mins(10),
};

/// Sets the machine's command: the acceptance of the NIC with this MAC address.
pub(crate) fn acceptance(builder: MachineBuilder, mac: &str) -> MachineBuilder {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_acceptance"));
    let only = env::var("ONLY").unwrap_or_default();
    let mut arguments = vec![
        "run".to_owned(),
        format!("--nic-mac={mac}"),
        "--peer=serial:/dev/virtio-ports/peer".to_owned(),
        format!("--agent={}", own.with_file_name("xdp-agent").display()),
    ];
    arguments.extend(
        only.split(',')
            .filter(|only| !only.is_empty())
            .map(|only| format!("--only={only}")),
    );
    builder
        .command(own.display().to_string(), arguments)
        .env("RUST_BACKTRACE", "0")
}

/// Serves the acceptance until its report, or panics with what the machine has printed.
pub(crate) fn serve(
    stream: &std::os::unix::net::UnixStream,
    wire: &Namespace,
    tap: &str,
    card: Option<&mut dyn CardControl>,
    progress: impl Fn(),
) -> anyhow::Result<Option<AcceptanceReport>> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut to = stream.try_clone()?;
    let mut peer = Peer::new(wire, tap).on_check(|check| {
        progress();
        print_check(check);
    });
    if let Some(card) = card {
        peer = peer.card(card);
    }
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
