//! Draws the topology, with names and addresses read from the kernel.

use xdp_lab::LabPod;

use super::{
    page::Page,
    setup::{BANNED, MONITOR, Setup},
};

/// The widths of client, node and pods. Wires connect them.
const COLUMNS: [usize; 3] = [15, 34, 19];

/// A row, and whether a wire connects the node on its left and on its right.
type Row = ([String; 3], [bool; 2]);

pub(super) fn show(page: &Page, setup: &Setup) -> anyhow::Result<()> {
    let nic = setup.lab.node().interface(&setup.nic.name)?;
    let wire = setup.client.interface(&setup.nic.wire)?;
    page.line(&border('┌', '┐', ["client", "node", "pods"]));
    for row in rows(setup) {
        page.line(&line(&row));
    }
    page.line(&border('└', '┘', ["", "", ""]));
    page.line(&format!(
        "{} is a veth with MTU {} and MAC {}, connected to {}.",
        nic.name,
        nic.mtu,
        mac(nic.mac),
        wire.name
    ));
    page.line("It takes the place of an mlx5 NIC.");
    Ok(())
}

fn rows(setup: &Setup) -> [Row; 9] {
    let Setup { nic, game, web, .. } = setup;
    let v4 = |pod: &LabPod| format!("      {}", pod.v4());
    let v6 = |pod: &LabPod| format!("      {}", pod.v6());
    let row = |client: &dyn ToString, node: &str, pod: String| {
        ([client.to_string(), node.to_owned(), pod], [false; 2])
    };
    let host =
        |how: &str, pod: &LabPod| format!("{:<15}{:>19}", how, format!("route ▶ {}", pod.host_interface));
    let first = [
        nic.wire.clone(),
        host(&format!("{} ◀ XDP", nic.name), game),
        eth0(game),
    ];
    let bridge = format!("{:>34}", format!("bridge br0 ▶ {}", web.host_interface));
    [
        (first, [true, true]),
        row(&nic.client_v4, &nic.v4.to_string(), v4(game)),
        row(&nic.client_v6, &nic.v6.to_string(), v6(game)),
        row(&BANNED, "", "      app=game".to_owned()),
        row(&MONITOR, "", String::new()),
        ([String::new(), bridge, eth0(web)], [false, true]),
        row(&"", "", v4(web)),
        row(&"", "", v6(web)),
        row(&"", "", "      app=web".to_owned()),
    ]
}

fn eth0(pod: &LabPod) -> String {
    format!("eth0  games/{}", pod.ns.name())
}

fn border(left: char, right: char, titles: [&str; 3]) -> String {
    let boxes: Vec<String> = titles
        .iter()
        .zip(COLUMNS)
        .map(|(title, width)| {
            let title = match *title {
                "" => String::new(),
                title => format!(" {title} "),
            };
            format!("{left}─{title:─<rest$}{right}", rest = width + 1)
        })
        .collect();
    boxes.join("     ")
}

fn line((cells, [first, second]): &Row) -> String {
    let ends = [(false, *first), (*first, *second), (*second, false)];
    let boxes = cells
        .iter()
        .zip(COLUMNS)
        .zip(ends)
        .map(|((cell, width), (left, right))| {
            let left = if left { '┤' } else { '│' };
            let right = if right { "├─────" } else { "│     " };
            format!("{left} {cell:<width$} {right}")
        });
    boxes.collect()
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
