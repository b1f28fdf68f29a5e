//! Who may scrape, and what other clients cannot prevent.

use std::net::SocketAddr;

use xdp_e2e::{
    IdleConnections,
    installed::{AGENT_METRICS, Installation, OPERATOR_METRICS, http_get},
};

/// One agent and one operator.
fn servers(installed: &Installation) -> [SocketAddr; 2] {
    let agent = SocketAddr::from((installed.node(1).addresses.v4, AGENT_METRICS));
    let operator = &installed.components("operator").unwrap()[0];
    let address = operator["status"]["podIP"].as_str().unwrap().parse().unwrap();
    [agent, SocketAddr::new(address, OPERATOR_METRICS)]
}

#[test]
fn metrics_need_the_token_of_an_account_that_may_read_them() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let reader = installed.reader_token().unwrap();
    let other = installed.token("e2e-stranger").unwrap();
    for server in servers(installed) {
        for (token, status, reason) in [
            (None, 401, "no bearer token"),
            (Some("invalid"), 401, "does not accept the bearer token"),
            (
                Some(other.as_str()),
                403,
                "`system:serviceaccount:default:e2e-stranger` may not",
            ),
            (Some(reader.as_str()), 200, "_build_info{"),
        ] {
            let reply = installed.get_metrics(server, token).unwrap();
            assert_eq!(reply.status, status, "{server}, {reason}: {}", reply.body);
            assert!(reply.body.contains(reason), "{server}: {}", reply.body);
        }
        let plain = http_get(installed.control(), server, "/metrics");
        assert!(plain.is_err(), "{server} without TLS: {plain:?}");
    }
}

/// The client outside opens the connections; Prometheus has another address.
#[test]
fn idle_connections_stop_neither_scrapes_nor_probes_of_agent_and_operator() {
    let installed = Installation::shared();
    let _turn = Installation::together();
    let node = installed.node(1);
    let agent = installed.agent_pid(node).unwrap();
    let token = installed.reader_token().unwrap();
    let [agents, operators] = servers(installed);
    let probes = SocketAddr::new(operators.ip(), 8081);
    let live = |from, server| http_get(from, server, "/healthz").unwrap().status;
    for server in [agents, operators, probes] {
        let _idle = IdleConnections::open(installed.client(), server, 4000).unwrap();
        for _ in 0..3 {
            for scraped in [agents, operators] {
                assert_eq!(installed.get_metrics(scraped, Some(&token)).unwrap().status, 200);
            }
            assert_eq!(
                live(&node.namespace, SocketAddr::from(([127, 0, 0, 1], 9466))),
                200
            );
            assert_eq!(live(installed.control(), probes), 200);
        }
    }
    assert_eq!(installed.agent_pid(node).unwrap(), agent);
}
