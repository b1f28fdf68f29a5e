//! The demo: a policy, real clients, real pods, and what each of them counted.
//!
//! Nothing that it prints is known beforehand: numbers come from the clients, from the kernel (by `xdp-agent status`)
//! and from the pods, and what should be equal is compared.

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

/// As users write it; the demo's agent reads these very words.
const POLICIES: &str = include_str!("demo/policies.yaml");

/// All of it; `keep` leaves everything running until Ctrl-C. Fails when counts disagree.
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
    page.heading("The agent starts");
    page.lines(&setup.ready(&agent));

    let servers = clients::Servers::start(&setup)?;
    page.heading("What the clients do");
    let mut ledger = Ledger::default();
    traffic::run(&page, &setup, &agent, &servers, &mut ledger)?;
    page.heading("The same packets, counted on all sides");
    page.text(&ledger.table());
    page.lines(ledger::NOTES);

    page.heading("kill -9 in mid-traffic");
    let undisturbed = restart::show(&page, &setup, &mut agent, &servers.players[0])?;
    page.heading("xdp-agent status");
    page.text(agent.status_table()?.trim_end());
    let agree = ledger.agrees() && undisturbed;
    if keep {
        page.verdict(agree, "All counts agree, nothing was lost.");
        page.heading("Everything stays up");
        end::explore(&page, &setup, &agent);
    }
    page.heading("xdp-agent uninstall");
    let clean = end::uninstall(&page, &setup, &mut agent, &servers)?;
    page.verdict(
        agree && clean,
        "All counts agree, nothing was lost, nothing is left.",
    );
    Ok(if agree && clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
