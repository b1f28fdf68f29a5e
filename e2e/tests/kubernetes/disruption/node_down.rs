//! A node loses power and comes back.

use std::time::Instant;

use xdp_e2e::installed::{Installation, condition};
use xdp_kubernetes::Node;

use super::{Game, LogsOnFailure, outage::until_marked, until_ready};

/// After the boot its bpffs is empty and its pods have other addresses.
#[test]
fn a_dead_node_is_reported_affects_no_other_and_enforces_again_when_it_is_back() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "dead");
    let node = installed.node(2);
    let _power_on = PowerOnAtEnd(node);
    game.with_traffic_to(&game.pods[..1], |traffic| {
        node.kill().unwrap();
        let since = Instant::now();
        let truth = game.space.until_policy("game", "names the dead node", |policy| {
            condition(policy, "Programmed").is_some_and(|programmed| {
                let message = programmed["message"].as_str().unwrap_or_default();
                programmed["status"] == "False" && message.contains("node2")
            }) && policy["status"]["nodes"]["programmed"] == 1
        });
        println!(
            "{} after {:?}",
            condition(&truth.unwrap(), "Programmed").unwrap(),
            since.elapsed()
        );
        traffic.send_more(500);
        node.start().unwrap();
        let since = Instant::now();
        installed.wait_ready().unwrap();
        // Until its agent is ready, the status still uses the report from before the failure.
        until_ready(installed, "agent", |_| true);
        game.space.until_programmed("game", 2).unwrap();
        println!("programmed again after {:?}", since.elapsed());
        traffic.send_more(500);
    });
    let pod = game.space.wait_pod("bridge").unwrap();
    until_marked(installed, &pod);
    game.space.until_programmed("game", 2).unwrap();
}

/// Starts the node when dropped, because later tests need it.
struct PowerOnAtEnd<'a>(&'a Node);

impl Drop for PowerOnAtEnd<'_> {
    fn drop(&mut self) {
        if !self.0.runs() {
            let _ = self.0.start();
        }
    }
}
