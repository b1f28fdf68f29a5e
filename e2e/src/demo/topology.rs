//! The picture, with the names and addresses that the kernel tells.

use xdp_lab::Pod;

use super::{
    page::Page,
    world::{BANNED, MONITOR, World},
};

/// Columns of client, node and pods; a wire between each.
const COLUMNS: [usize; 3] = [20, 30, 22];

pub(super) fn show(page: &Page, world: &World) -> anyhow::Result<()> {
    let nic = world.lab.node().interface(&world.nic.name)?;
    let wire = world.client.interface(&world.nic.wire)?;
    let [game, web] = [&world.game, &world.web].map(pod);
    let (banned, monitor) = (BANNED.to_string(), MONITOR.to_string());
    let host = |pod: &Pod, how: &str| format!("{how:>21} {}", pod.host_interface);
    page.line(&border('┌', '┐', ["client", "node", "pods"]));
    let rows: [[&str; 3]; 7] = [
        [
            &world.nic.client_v4.to_string(),
            &format!("{:<20}", world.nic.v4),
            &game[0],
        ],
        [
            &world.nic.client_v6.to_string(),
            &host(&world.game, "route"),
            &game[1],
        ],
        [&banned, &world.nic.v6.to_string(), &game[2]],
        [&monitor, "", ""],
        [&wire.name, &format!("{} ◀ XDP, native", nic.name), &web[0]],
        ["", &host(&world.web, "bridge br0"), &web[1]],
        ["", "", &web[2]],
    ];
    for (number, row) in rows.iter().enumerate() {
        page.line(&line(*row, [number == 4, number == 1 || number == 5]));
    }
    page.line(&border('└', '┘', ["", "", ""]));
    page.line(&format!(
        "{}: veth, MTU {}, {}: stands for an mlx5 NIC. All of it in {}.",
        nic.name,
        nic.mtu,
        mac(nic.mac),
        world.lab.dir().display()
    ));
    Ok(())
}

fn pod(pod: &Pod) -> [String; 3] {
    [
        format!("games/{}", pod.ns.name()),
        format!("eth0  {}", pod.v4()),
        format!("      {}", pod.v6()),
    ]
}

fn border(left: char, right: char, titles: [&str; 3]) -> String {
    let boxes: Vec<String> = titles
        .iter()
        .zip(COLUMNS)
        .map(|(title, width)| {
            let title = if title.is_empty() {
                String::new()
            } else {
                format!(" {title} ")
            };
            format!("{left}─{title:─<rest$}{right}", rest = width + 1)
        })
        .collect();
    boxes.join("     ")
}

fn line(cells: [&str; 3], wires: [bool; 2]) -> String {
    let [first, second] = wires;
    let ends = [(false, first), (first, second), (second, false)];
    let boxes = cells
        .iter()
        .zip(COLUMNS)
        .zip(ends)
        .map(|((cell, width), (left, right))| {
            let left = if left { '├' } else { '│' };
            let right = if right { "┤─────" } else { "│     " };
            format!("{left} {cell:<width$} {right}")
        });
    boxes.collect()
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
