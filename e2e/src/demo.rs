//! The demo: policies, clients and pods in a lab, and the packets that each of them counted.
//!
//! All printed numbers are measured: by the clients, by the kernel (read by `xdp-agent status`) and by the
//! pods. The demo compares those that have to be equal.

mod clients;
mod end;
mod ledger;
mod page;
mod restart;
mod segments;
mod setup;
mod topology;
mod traffic;

use std::process::ExitCode;

use self::{ledger::Ledger, page::Page, setup::Setup};
use crate::Agent;

/// The manifests that the demo prints and its agent reads.
const POLICIES: &str = include_str!("demo/policies.yaml");

/// Runs the demo. With `keep` everything stays until Ctrl-C. Fails if counts disagree.
pub fn run(keep: bool) -> anyhow::Result<ExitCode> {
    let page = Page::new();
    let setup = Setup::new()?;
    page.heading("Topology");
    topology::show(&page, &setup)?;
    page.heading("Policies");
    page.yaml(POLICIES);
    let mut agent = Agent::new(&setup.lab, &setup.manifests);
    setup.apply(POLICIES)?;
    agent.start()?;
    page.heading("The agent is running");
    page.lines(&setup.ready(&agent));

    let servers = clients::Servers::start(&setup)?;
    page.heading("Traffic");
    let mut ledger = Ledger::default();
    traffic::run(&page, &setup, &agent, &servers, &mut ledger)?;
    page.heading("Packets, counted at each hop");
    page.text(&ledger.table());
    page.lines(ledger::NOTES);

    page.heading("kill -9 during traffic");
    let undisturbed = restart::show(&page, &setup, &mut agent, &servers.players[0])?;
    page.heading("xdp-agent status");
    page.text(agent.status_table()?.trim_end());
    let agree = ledger.agrees() && undisturbed;
    if keep {
        page.verdict(agree, "All counts agree. No packet was lost.");
        page.heading("Explore");
        end::explore(&page, &setup, &agent);
    }
    page.heading("xdp-agent uninstall");
    let clean = end::uninstall(&page, &setup, &mut agent, &servers)?;
    page.verdict(
        agree && clean,
        "All counts agree. No packet was lost. The uninstall left nothing behind.",
    );
    Ok(if agree && clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
