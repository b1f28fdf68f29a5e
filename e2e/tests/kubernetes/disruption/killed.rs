//! Agents are killed.

use xdp_e2e::installed::Installation;

use super::{Game, LogsOnFailure, all_replaced, instances, programs, until_ready};

/// On both nodes: first the process, then the pod with its process.
#[test]
fn agents_that_are_killed_cost_no_packet() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let _logs = LogsOnFailure(installed);
    let game = Game::new(installed, "killed");
    let (agents, before) = (instances(installed, "agent"), programs(installed));
    game.with_traffic(|traffic| {
        for node in installed.nodes() {
            let pid = installed.agent_pid(node).unwrap().to_string();
            node.exec_ok(&["kill", "-KILL", &pid]).unwrap();
        }
        traffic.send_more(200);
        let restarted = until_ready(installed, "agent", |now| {
            now.iter()
                .zip(&agents)
                .all(|(now, old)| now.restarts > old.restarts)
        });
        traffic.send_more(200);

        let mut delete = vec!["delete", "pod", "-n", "xdp-system", "--force", "--grace-period=0"];
        delete.extend(restarted.iter().map(|agent| agent.name.as_str()));
        installed.kubectl(&delete).unwrap();
        let new = until_ready(installed, "agent", |now| all_replaced(&restarted, now));
        println!(
            "restarts of the new pods: {:?}",
            new.iter().map(|agent| agent.restarts).collect::<Vec<_>>()
        );
        traffic.send_more(200);
    });
    assert_eq!(programs(installed), before);
    game.space.until_programmed("game", 2).unwrap();
}
