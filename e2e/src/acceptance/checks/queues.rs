//! The types of mlx5's receive queues: striding and cyclic.

use anyhow::ensure;

use super::{super::site::Site, Run, life::ethtool, traffic::arrive_marked};

pub(super) const CYCLIC: &[(&str, Run)] = &[("the program stays when the queues change their type", cyclic)];
pub(super) const STRIDING: &[(&str, Run)] = &[("the program stays when the queues change back", striding)];

fn change(site: &Site<'_>, striding: &str) -> anyhow::Result<()> {
    let before = site.ready()?.program_id(&site.nic);
    ethtool(
        site,
        &format!("--set-priv-flags {} rx_striding_rq {striding}", site.nic),
    )?;
    site.has_carrier()?;
    let status = site.ready()?;
    ensure!(
        status.program_id(&site.nic) == before,
        "the program is another one"
    );
    arrive_marked(site)
}

fn cyclic(site: &Site<'_>) -> anyhow::Result<()> {
    change(site, "off")
}

fn striding(site: &Site<'_>) -> anyhow::Result<()> {
    change(site, "on")
}
