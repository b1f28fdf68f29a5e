//! What each client does, one after the other, and what all sides counted meanwhile.

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
    ledger::{Counted, Ledger, Row, Wanted},
    page::Page,
    segments::Segments,
    setup::{BANNED, MONITOR, Setup},
};
use crate::Agent;

const PLAYERS: Wanted = Wanted {
    rule: "players",
    field: "redirected",
    mark: 42,
    limited: false,
};
const DROPPED: Wanted = Wanted {
    rule: "banned",
    field: "dropped",
    mark: 0,
    limited: false,
};
const PASSED: Wanted = Wanted {
    rule: "monitor",
    field: "passed",
    mark: 0,
    limited: false,
};
const AUDITED: Wanted = Wanted {
    rule: "no-voice",
    field: "audited",
    mark: 0,
    limited: false,
};
const HTTP: Wanted = Wanted {
    rule: "http",
    field: "redirected",
    mark: 7,
    limited: false,
};

const LIMITED: Wanted = Wanted {
    rule: "queries",
    field: "redirected",
    mark: 0,
    limited: true,
};
const REFUSED: Wanted = Wanted {
    rule: "admin",
    field: "rejected",
    mark: 0,
    limited: false,
};

/// Requests of one address family.
const REQUESTS: usize = 3;

struct Client<'a> {
    setup: &'a Setup,
    agent: &'a Agent<'a>,
}

/// Datagrams of one source to one port.
struct Datagrams<'a> {
    from: Option<IpAddr>,
    to: &'a UdpReceiver,
    packets: u64,
    wanted: Wanted,
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
    for (from, to, packets, wanted) in rows {
        ledger.add(client.datagrams(
            page,
            &Datagrams {
                from,
                to,
                packets,
                wanted,
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
    fn datagrams(&self, page: &Page, what: &Datagrams<'_>) -> anyhow::Result<Row> {
        let to = what.to.address();
        what.to.reset();
        let before = self.counted(what.wanted.rule)?;
        let mut sender = clients::sender(self.setup, what.from, to)?;
        let source = sender.source().filter(|_| what.from.is_none()).or(what.from);
        let source = source.map_or_else(|| "?".to_owned(), |ip| ip.to_string());
        clients::send(&mut sender, what.packets)?;
        let row = settle(|| {
            let received = what.to.received();
            Ok(Row {
                who: format!("UDP {source} → :{}", to.port()),
                wanted: what.wanted,
                sent: sender.sent(),
                counted: self.counted(what.wanted.rule)?.since(&before),
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
        settle(|| {
            Ok(Row {
                who: format!("TCP {source} → :{}", server.address().port()),
                wanted: HTTP,
                sent: Segments::of(client)?.sent - before.0.sent,
                counted: self.counted(HTTP.rule)?.since(&before.1),
                received: Segments::of(pod)?.received - before.2.received,
                marks: marks(server),
            })
        })
    }

    /// Somebody would serve it.
    fn refusals(&self, page: &Page) -> anyhow::Result<Row> {
        let to = self.setup.admin();
        let _server = HttpServer::start(&self.setup.web.ns, to)?;
        let (client, pod) = (&self.setup.client, &self.setup.web.ns);
        let before = (
            Segments::of(client)?,
            self.counted(REFUSED.rule)?,
            Segments::of(pod)?,
        );
        for _ in 0..REQUESTS {
            let url = format!("http://{to}/");
            page.line(&format!("curl {url:<22} {}", clients::refused(self.setup, &url)?));
        }
        settle(|| {
            Ok(Row {
                who: format!("TCP {} → :{}", self.setup.nic.client_v4, to.port()),
                wanted: REFUSED,
                sent: Segments::of(client)?.sent - before.0.sent,
                counted: self.counted(REFUSED.rule)?.since(&before.1),
                received: Segments::of(pod)?.received - before.2.received,
                marks: BTreeMap::new(),
            })
        })
    }

    fn counted(&self, rule: &str) -> anyhow::Result<Counted> {
        let status = self.agent.status().context("the agent gives no status")?;
        Ok(Counted::of(&status, rule))
    }
}

/// Packets are on their way for a moment: looks until the row agrees. One that never does is shown as it is.
fn settle(mut look: impl FnMut() -> anyhow::Result<Row>) -> anyhow::Result<Row> {
    let mut row = look();
    // In vain is an answer too.
    let _ = wait_until("all sides agree", PATIENCE, || {
        if !row.as_ref().is_ok_and(Row::agrees) {
            row = look();
        }
        row.as_ref().map_or(true, Row::agrees)
    });
    row
}

fn outcome(row: &Row) -> String {
    let mark = |(mark, packets): (&u32, &u64)| match mark {
        0 => format!("{packets} arrive without a mark"),
        mark => format!("{packets} arrive with mark {mark}"),
    };
    let marks: Vec<String> = row.marks.iter().map(mark).collect();
    match (row.received, row.counted.limited()) {
        (0, _) => "none arrives".to_owned(),
        (_, 0) => marks.join(", "),
        (received, limited) => format!("{received} arrive, {limited} exceed the limit"),
    }
}

fn marks(server: &HttpServer) -> BTreeMap<u32, u64> {
    let mut marks = BTreeMap::new();
    for answer in server.answers() {
        *marks.entry(answer.mark).or_default() += 1;
    }
    marks
}
