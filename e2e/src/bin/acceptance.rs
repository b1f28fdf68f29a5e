//! `make acceptance NIC=…`: both machines of an acceptance.
#![expect(clippy::print_stdout, reason = "the report is for people")]

use std::{
    fs::{self, File},
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use xdp_e2e::acceptance::{AcceptanceOptions, Check, NicId, PeerConnection, PeerServer, nic_name, page, run};
use xdp_lab::Lab;

/// Tests a NIC with the agent, pods, and a peer at the other end of its wire.
#[derive(Debug, Parser)]
#[command(name = "acceptance")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the checks on the machine that has the NIC, which no other program may use meanwhile.
    Run(RunArgs),
    /// Be the other end of the wire, until the acceptance ends.
    Peer(PeerArgs),
    /// Print the page of drivers and kernels, from the reports in a folder.
    Page(PageArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The NIC by name; `lab` creates a veth pair and needs no peer.
    #[arg(long, required_unless_present = "nic_mac")]
    nic: Option<String>,
    /// The NIC by MAC address.
    #[arg(long)]
    nic_mac: Option<String>,
    /// The peer: `tcp:HOST:PORT`, or `serial:DEVICE`.
    #[arg(long)]
    peer: Option<String>,
    /// The agent's binary.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Writes the report to this file, in JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Runs only the checks whose name contains this text. Can be repeated.
    #[arg(long)]
    only: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct PeerArgs {
    /// The interface at the other end of the wire, which no other program may use meanwhile.
    #[arg(long)]
    interface: String,
    /// The address to listen at, on another network.
    #[arg(long, default_value = "0.0.0.0:9470")]
    listen: String,
}

#[derive(Debug, clap::Args)]
struct PageArgs {
    /// The folder with the reports (*.json).
    folder: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().command {
        Command::Run(args) => acceptance(args),
        Command::Peer(args) => peer(&args),
        Command::Page(args) => print_page(&args),
    }
}

fn acceptance(args: RunArgs) -> anyhow::Result<ExitCode> {
    let nic = match (args.nic, args.nic_mac) {
        (Some(name), _) if name == "lab" => None,
        (Some(name), _) => Some(NicId::Name(name)),
        (None, mac) => mac.map(NicId::Mac),
    };
    let peer = match (&nic, args.peer) {
        (None, _) => None,
        (Some(_), Some(peer)) => Some(connect(&peer)?),
        (Some(_), None) => bail!("a NIC needs a peer; run `acceptance peer` on the machine at its other end"),
    };
    let options = AcceptanceOptions {
        nic,
        agent: args.agent,
        only: args.only,
    };
    let mut report = run(&options, peer)?;
    report.set_date();
    println!("{report}");
    if let Some(path) = args.report {
        write_report(&path, &serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(if report.failed().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_report(path: &Path, report: &[u8]) -> anyhow::Result<()> {
    fs::write(path, report).with_context(|| format!("cannot write `{}`", path.display()))
}

fn print_check(check: &serde_json::Value) {
    if let Ok(check) = serde_json::from_value::<Check>(check.clone()) {
        println!("{check}");
    }
}

fn print_page(args: &PageArgs) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(&args.folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let read = || anyhow::Ok(serde_json::from_slice(&fs::read(&path)?)?);
            reports.push(read().with_context(|| format!("cannot read the report `{}`", path.display()))?);
        }
    }
    print!("{}", page(&reports));
    Ok(ExitCode::SUCCESS)
}

fn connect(peer: &str) -> anyhow::Result<PeerConnection> {
    match peer.split_once(':') {
        Some(("tcp", address)) => {
            let stream =
                TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            Ok(PeerConnection::new(stream.try_clone()?, stream))
        }
        Some(("serial", path)) => {
            let file = File::options().read(true).write(true).open(path);
            let file = file.with_context(|| format!("cannot open `{path}`"))?;
            Ok(PeerConnection::new(file.try_clone()?, file))
        }
        _ => bail!("`{peer}` is neither tcp:HOST:PORT nor serial:DEVICE"),
    }
}

fn peer(args: &PeerArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(&args.listen)?;
    let lab = Lab::new()?;
    let namespace = lab.namespace("peer")?;
    let interface = nic_name(&NicId::Name(args.interface.clone()))?;
    namespace.adopt(&interface)?;
    println!("waiting for an acceptance at {}", listener.local_addr()?);
    let (stream, from) = listener.accept()?;
    println!("{from} has connected");
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let peer = PeerServer::new(&namespace, &interface).on_check(print_check);
    peer.serve(&mut BufReader::new(stream), &mut to)?;
    std::io::stdout().flush()?;
    Ok(ExitCode::SUCCESS)
}
