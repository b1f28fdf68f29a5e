//! Refusals: predicted before the attach, explained by the agent, made by the driver, and remedied.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use xdp_lab::bpf;

use super::{
    super::{host::command, site::Site},
    traffic::arrive_marked,
};

/// The return value of the smallest program.
pub(super) const XDP_PASS: u32 = 2;

/// A condition under which a program is refused.
pub(super) struct Refusal<'a> {
    /// For the facts.
    pub(super) name: &'a str,
    /// The reasons that the agent may give.
    pub(super) reasons: &'a [&'a str],
    /// Makes it so.
    pub(super) condition: &'a dyn Fn() -> anyhow::Result<()>,
    /// Ends it.
    pub(super) remedy: &'a dyn Fn() -> anyhow::Result<()>,
}

impl Refusal<'_> {
    /// Detaches the program, and tries the refusal.
    pub(super) fn check(&self, site: &Site<'_>) -> anyhow::Result<()> {
        site.detach()?;
        self.check_detached(site)
    }

    /// The agent must say why, before and after its attempt, and attach by itself once it is remedied.
    pub(super) fn check_detached(&self, site: &Site<'_>) -> anyhow::Result<()> {
        let seen = (self.condition)().and_then(|()| self.refused(site));
        let remedied = (self.remedy)();
        let (predicted, driver, message) = seen?;
        remedied?;
        site.fact(
            &format!("refused, {}", self.name),
            json!({ "predicted": predicted, "agent": message, "driver": driver }),
        );
        // Not restarted: the agent must notice by itself.
        site.honest_until("the NIC is attached by itself", |status| site.is_ready(status))?;
        arrive_marked(site)
    }

    fn refused(&self, site: &Site<'_>) -> anyhow::Result<(Value, Value, Value)> {
        let driver = driver_says(site)?;
        let nic = site.preflight_of_nic()?;
        site.agent_mut().start()?;
        let object = format!("NIC {}", site.nic);
        let status = site.wait_for(
            &format!("the agent reports one of {:?}", self.reasons),
            |status| {
                status.running()
                    && self
                        .reasons
                        .iter()
                        .any(|reason| status.problem(&object, reason).is_some())
            },
        )?;
        ensure!(
            status.nic_mode(&site.nic) != Some("Native"),
            "the status says Native"
        );
        let problem = self
            .reasons
            .iter()
            .find_map(|reason| status.problem(&object, reason));
        let problem = problem.context("there is no problem")?;
        ensure!(
            problem["remedy"].as_str().is_some_and(|text| !text.is_empty()),
            "no remedy: {problem}"
        );
        let predicted = nic.map_or(Value::Null, |nic| nic["problems"].clone());
        let all = predicted.as_array().into_iter().flatten();
        let same = all.into_iter().any(|other| other["reason"] == problem["reason"]);
        // The arithmetic of other drivers is not known before the attempt.
        ensure!(
            same || !site.is_mlx5(),
            "preflight does not predict {problem}: {predicted}"
        );
        Ok((predicted, driver, problem["message"].clone()))
    }
}

/// Asks the driver itself for the smallest program. Where it has no text, it may have logged one.
fn driver_says(site: &Site<'_>) -> anyhow::Result<Value> {
    let node = site.lab.node();
    let program = bpf::load_xdp(XDP_PASS, false)?;
    let before = kernel_log(site).len();
    let Err(refusal) = node.attach_xdp(&site.nic, &program)? else {
        // It refuses only programs that redirect, or none.
        let _ = node.detach_xdp(&site.nic)?;
        return Ok(Value::Null);
    };
    let refusal = refusal.to_string();
    let said = [refusal.trim_end_matches([':', ' ']).to_owned()].into_iter();
    let said: Vec<String> = said.chain(kernel_log(site).into_iter().skip(before)).collect();
    Ok(said.join("; ").into())
}

/// Returns the messages of the kernel so far, without their times.
fn kernel_log(site: &Site<'_>) -> Vec<String> {
    let text = command(site.lab.node(), "dmesg --notime").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
