//! The types of mlx5's receive queues: striding and cyclic.

use anyhow::ensure;

use super::{
    super::{
        host::{command, key_values},
        site::Site,
    },
    Run,
    life::ethtool,
    traffic::arrive_marked,
};

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

pub(super) fn is_striding(site: &Site<'_>) -> bool {
    let flags = command(
        site.lab.node(),
        &format!("ethtool --show-priv-flags {}", site.nic),
    );
    let flags = key_values(&flags.unwrap_or_default());
    flags.get("rx_striding_rq").is_some_and(|flag| flag == "on")
}

/// A check of cyclic queues fails where the change to them has failed.
pub(super) fn are_as_named(site: &Site<'_>, check: &str) -> anyhow::Result<()> {
    let changes = CYCLIC.iter().any(|(name, _)| check.starts_with(name));
    ensure!(changes || !is_striding(site), "the receive queues are striding");
    Ok(())
}
