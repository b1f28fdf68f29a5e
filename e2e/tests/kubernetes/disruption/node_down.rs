//! A node loses power, and comes back.

use std::time::Instant;

use xdp_e2e::installed::{Installed, condition};
use xdp_kubernetes::Node;

use super::{Evidence, Game, outage::until_marked, until_lives};

/// Its bpffs is new, its pods have other addresses.
#[test]
fn a_dead_node_is_named_disturbs_no_other_and_enforces_again_when_it_is_back() {
    let installed = Installed::shared();
    let _turn = installed.alone();
    let _evidence = Evidence(installed);
    let game = Game::new(installed, "dead");
    let node = installed.node(2);
    let _powered = Powered(node);
    game.play_with(&game.pods[..1], |traffic| {
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
        traffic.more(500);
        node.start().unwrap();
        let since = Instant::now();
        installed.wait_ready().unwrap();
        // Before its agent is, the report from before its death still counts.
        until_lives(installed, "agent", |_| true);
        game.space.until_programmed("game", 2).unwrap();
        println!("in force again after {:?}", since.elapsed());
        traffic.more(500);
    });
    let pod = game.space.wait_pod("bridge").unwrap();
    until_marked(installed, &pod);
    game.space.until_programmed("game", 2).unwrap();
}

/// Later tests need the node, whatever becomes of this one.
struct Powered<'a>(&'a Node);

impl Drop for Powered<'_> {
    fn drop(&mut self) {
        if !self.0.runs() {
            let _ = self.0.start();
        }
    }
}
