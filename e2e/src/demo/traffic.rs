//! Sends traffic of each client, one after the other, and records what each side counted.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;
use xdp_lab::{HttpServer, UdpReceiver, wait_until};

use super::{
    clients::{
        PATIENCE, Servers, {self},
    },
    ledger::{Counted, Expected, Ledger, Row},
    page::Page,
    segments::Segments,
    setup::{BANNED, MONITOR, Setup},
};
use crate::Agent;

const PLAYERS: Expected = Expected::new("players", "redirected", 42);
const DROPPED: Expected = Expected::new("banned", "dropped", 0);
const PASSED: Expected = Expected::new("monitor", "passed", 0);
const AUDITED: Expected = Expected::new("no-voice", "audited", 0);
const LIMITED: Expected = Expected::new("queries", "redirected", 0).limited();
const HTTP: Expected = Expected::new("http", "redirected", 7);
const REJECTED: Expected = Expected::new("admin", "rejected", 0);

/// Requests per address family.
const REQUESTS: usize = 3;

struct Client<'a> {
    setup: &'a Setup,
    agent: &'a Agent<'a>,
}

/// Datagrams from one source to one port.
struct UdpTraffic<'a> {
    from: Option<IpAddr>,
    to: &'a UdpReceiver,
    packets: u64,
    expected: Expected,
}

pub(super) fn run(
    page: &Page,
    setup: &Setup,
    agent: &Agent<'_>,
    servers: &Servers,
    ledger: &mut Ledger,
) -> anyhow::Result<()> {
    let client = Client { setup, agent };
    let [v4, v6] = &servers.players;
    let rows = [
        (None, v4, 2000, PLAYERS),
        (None, v6, 2000, PLAYERS),
        (Some(BANNED), v4, 500, DROPPED),
        (Some(MONITOR), v4, 500, PASSED),
        (None, &servers.voice, 300, AUDITED),
        (None, &servers.queries, 2000, LIMITED),
    ];
    for (from, to, packets, expected) in rows {
        ledger.add(client.datagrams(
            page,
            &UdpTraffic {
                from,
                to,
                packets,
                expected,
            },
        )?);
    }
    for server in &servers.http {
        ledger.add(client.requests(page, server)?);
    }
    ledger.add(client.refusals(page)?);
    Ok(())
}

impl Client<'_> {
    fn datagrams(&self, page: &Page, what: &UdpTraffic<'_>) -> anyhow::Result<Row> {
        let to = what.to.address();
        what.to.reset();
        let before = self.counted(what.expected.rule)?;
        let mut sender = clients::sender(self.setup, what.from, to)?;
        let source = sender.source().filter(|_| what.from.is_none()).or(what.from);
        let source = source.map_or_else(|| "?".to_owned(), |ip| ip.to_string());
        clients::send(&mut sender, what.packets)?;
        let row = until_agreed(|| {
            let received = what.to.received();
            Ok(Row {
                packets: format!("UDP {source} → :{}", to.port()),
                expected: what.expected,
                sent: sender.sent(),
                counted: self.counted(what.expected.rule)?.since(&before),
                received: received.packets,
                marks: received.marks,
            })
        })?;
        page.line(&format!(
            "UDP  {source:<13} → {:<14} {:>4} datagrams sent, {}",
            to.to_string(),
            row.sent,
            outcome(&row)
        ));
        Ok(row)
    }

    fn requests(&self, page: &Page, server: &HttpServer) -> anyhow::Result<Row> {
        let url = format!("http://{}/", server.address());
        let (client, pod) = (&self.setup.client, &self.setup.web.ns);
        let before = (
            Segments::of(client)?,
            self.counted(HTTP.rule)?,
            Segments::of(pod)?,
        );
        let mut source = String::new();
        for _ in 0..REQUESTS {
            let (code, body) = clients::curl(self.setup, &url)?;
            let (peer, mark) = body.split_once(' ').context("the server's answer has no mark")?;
            page.line(&format!(
                "curl {url:<22} {code}; the pod accepted {peer} with mark {mark}"
            ));
            source = peer.parse::<SocketAddr>()?.ip().to_string();
        }
        until_agreed(|| {
            Ok(Row {
                packets: format!("TCP {source} → :{}", server.address().port()),
                expected: HTTP,
                sent: Segments::of(client)?.sent - before.0.sent,
                counted: self.counted(HTTP.rule)?.since(&before.1),
                received: Segments::of(pod)?.received - before.2.received,
                marks: marks(server),
            })
        })
    }

    /// Requests to a port with a server, whose connections the policy rejects.
    fn refusals(&self, page: &Page) -> anyhow::Result<Row> {
        let to = self.setup.admin();
        let _server = HttpServer::start(&self.setup.web.ns, to)?;
        let (client, pod) = (&self.setup.client, &self.setup.web.ns);
        let before = (
            Segments::of(client)?,
            self.counted(REJECTED.rule)?,
            Segments::of(pod)?,
        );
        for _ in 0..REQUESTS {
            let url = format!("http://{to}/");
            page.line(&format!("curl {url:<22} {}", clients::refused(self.setup, &url)?));
        }
        until_agreed(|| {
            Ok(Row {
                packets: format!("TCP {} → :{}", self.setup.nic.client_v4, to.port()),
                expected: REJECTED,
                sent: Segments::of(client)?.sent - before.0.sent,
                counted: self.counted(REJECTED.rule)?.since(&before.1),
                received: Segments::of(pod)?.received - before.2.received,
                marks: BTreeMap::new(),
            })
        })
    }

    fn counted(&self, rule: &str) -> anyhow::Result<Counted> {
        let status = self.agent.status().context("cannot read the status")?;
        Ok(Counted::of(&status, rule))
    }
}

/// Reads the counters until they agree: packets may still be in flight. Returns the last row in any case.
fn until_agreed(mut read: impl FnMut() -> anyhow::Result<Row>) -> anyhow::Result<Row> {
    let mut row = read();
    // The table marks a row that does not agree.
    let _ = wait_until("all sides agree", PATIENCE, || {
        if !row.as_ref().is_ok_and(Row::agrees) {
            row = read();
        }
        row.as_ref().map_or(true, Row::agrees)
    });
    row
}

fn outcome(row: &Row) -> String {
    let mark = |(mark, packets): (&u32, &u64)| match mark {
        0 => format!("{packets} arrived without a mark"),
        mark => format!("{packets} arrived with mark {mark}"),
    };
    let marks: Vec<String> = row.marks.iter().map(mark).collect();
    match (row.received, row.counted.limited()) {
        (0, _) => "none arrived".to_owned(),
        (_, 0) => marks.join(", "),
        (received, limited) => format!("{received} arrived, {limited} exceeded the limit"),
    }
}

fn marks(server: &HttpServer) -> BTreeMap<u32, u64> {
    let mut marks = BTreeMap::new();
    for connection in server.served() {
        *marks.entry(connection.mark).or_default() += 1;
    }
    marks
}
