//! Creates the parts of a node.

use std::{
    fs,
    net::IpAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{bail, ensure};
use ipnet::{Ipv4Net, Ipv6Net};
use xdp_lab::{Lab, LabPod, LabPodSpec, Namespace, Nic, NicSpec, Style};

use super::super::{
    host::Place,
    macs::{eth0, nic},
    setting::{self, StackSetting},
};

/// The limit for a command.
const PATIENCE: Duration = Duration::from_mins(1);

/// Creates both NICs, each wired to a client.
pub(super) fn nics(lab: &Lab) -> anyhow::Result<[Nic; 2]> {
    let clients = [lab.namespace("client0")?, lab.namespace("client1")?];
    let nics = [
        lab.nic(NicSpec::new("nic0", &clients[0]))?,
        lab.nic(NicSpec::new("nic1", &clients[1]))?,
    ];
    let macs = [nics[0].mac, nics[1].mac];
    ensure!(macs == [nic(0), nic(1)], "the lab's MACs are others: {macs:?}");
    for nic in &nics {
        // As on real NICs.
        lab.node().set_gro(&nic.name, true)?;
    }
    Ok(nics)
}

/// Creates all pods.
pub(super) fn pods(lab: &Lab) -> anyhow::Result<Vec<(Place, LabPod)>> {
    let mut pods = Vec::new();
    for place in Place::PODS {
        let pod = pod(lab, place)?;
        setting::set(&pod.ns, &setting::sysctls())?;
        ensure!(pod.mac == eth0(place), "the lab's MACs are others: {pod:?}");
        pods.push((place, pod));
    }
    Ok(pods)
}

fn pod(lab: &Lab, place: Place) -> anyhow::Result<LabPod> {
    let name = format!("{place:?}").to_lowercase();
    let (style, prefixes) = if place == Place::Bridged {
        (Style::Bridge, (24, 64))
    } else {
        (Style::Ptp, (32, 128))
    };
    let addresses = (place.host().address(false), place.host().address(true));
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = addresses else {
        bail!("{addresses:?} are not of both families");
    };
    let spec = LabPodSpec::new(&name, style)
        .v4(Ipv4Net::new(v4, prefixes.0)?)
        .v6(Ipv6Net::new(v6, prefixes.1)?);
    let pod = lab.pod(&spec)?;
    pod.set_gro(true)?;
    Ok(pod)
}

/// Makes all parts answer as little as possible, and the same every time: static neighbours, and clients
/// without addresses, whose stack answers nothing.
pub(super) fn quiet(
    lab: &Lab,
    setting: StackSetting,
    nics: &[Nic; 2],
    pods: &[(Place, LabPod)],
) -> anyhow::Result<()> {
    let node = lab.node();
    let host_interface = |place: Place| {
        let pod = pods.iter().find(|(pod, _)| *pod == place);
        match (place, pod) {
            (Place::Bridged, _) | (_, None) => "br0".to_owned(),
            (_, Some((_, pod))) => pod.host_interface.clone(),
        }
    };
    ip(lab, node, &setting.node(host_interface))?;
    for nic in nics {
        nic.client.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        ip(lab, &nic.client, &[format!("addr flush dev {}", nic.wire)])?;
    }
    if let Some((_, pod)) = pods.iter().find(|(place, _)| *place == Place::Bridged) {
        let neighbour =
            |ip: &str| format!("neigh replace {ip} lladdr 02:00:00:02:00:01 dev eth0 nud permanent");
        ip(lab, &pod.ns, &["10.3.0.1", "fd03::1"].map(neighbour))?;
    }
    setting::set(node, &setting.node_sysctls())?;
    if setting.separate_pods {
        let rules = lab.dir().join("separate.nft");
        fs::write(&rules, SEPARATE)?;
        run(node, Command::new("nft").arg("-f").arg(&rules))?;
    }
    Ok(())
}

/// A stand-in for what a network policy makes of "no packets from pod to pod".
const SEPARATE: &str = r#"
table inet separate {
  chain forward {
    type filter hook forward priority 0;
    iifname "veth*" oifname "veth*" drop
    iifname "veth*" oifname "br0" drop
    iifname "br0" oifname "veth*" drop
  }
}
"#;

/// Runs lines of `ip` in a namespace.
pub(super) fn ip(lab: &Lab, namespace: &Namespace, lines: &[String]) -> anyhow::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let batch = lab.dir().join("ip.batch");
    fs::write(&batch, lines.join("\n") + "\n")?;
    run(namespace, Command::new("ip").arg("-batch").arg(&batch))
}

fn run(namespace: &Namespace, command: &mut Command) -> anyhow::Result<()> {
    let mut owned = Command::new(command.get_program());
    owned.args(command.get_args()).stdin(Stdio::null());
    owned.stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = namespace.spawn(owned)?.finish(PATIENCE)?;
    ensure!(
        finished.status.success(),
        "{command:?}: {}",
        finished.stderr.trim()
    );
    Ok(())
}
