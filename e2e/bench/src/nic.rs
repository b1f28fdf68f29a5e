//! The part for a machine with a real NIC: what it is set to, and how many packets each program takes there.
//!
//! The NIC moves into the lab's node for the run (the kernel gives a physical one back when the lab ends). One link
//! carries one program after the other, so that no channels are reset in between. The agent works beside it, on a NIC of
//! the lab: its program is the same and reads the same tables.

mod generator;
mod settings;

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::programs::ProgramFd;
use xdp_lab::Lab;

use self::generator::Generator;
use crate::{
    command,
    environment::Environment,
    instruments::Instruments,
    report::{Section, number, spread},
    stage::{Sinks, Stage},
    stats::{Samples, interleave},
    sys::{
        Hook, {self},
    },
    workload::Workload,
};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The NIC, or `lab`.
    pub nic: String,
    /// Of each program in each round.
    pub seconds: f64,
}

const ROUNDS: usize = 3;
const LAB: &str = "nic1";
const PODS: u8 = 113;

/// One program, and where its packets are counted.
struct Contestant {
    name: &'static str,
    program: ProgramFd,
    in_pod: bool,
}

/// All of it.
pub fn run(options: &Options) -> Result<()> {
    let is_lab = options.nic == "lab";
    println!(
        "Measures what arrives on {} for about {:.0} seconds. Not verified on hardware: nobody has reported a run on a real NIC yet.",
        if is_lab { "a lab's veth pair" } else { &options.nic },
        10.0 + options.seconds * 2.0 * 4.0 * ROUNDS as f64
    );
    for line in Environment::read().lines().iter().take(3) {
        println!("{line}");
    }
    let lab = Lab::new()?;
    if !is_lab {
        println!("{}", settings::of(&options.nic));
    }
    let mut stage = Stage::new(&lab, PODS)?;
    let nic = if is_lab { LAB } else { take(&stage, &options.nic)? };
    if is_lab {
        println!("{}", settings::inside(&stage.node, nic));
    }
    let workload = Workload::new(&stage.v4(110), 100, 1);
    stage.install(&workload)?;
    let mut instruments = Instruments::load(false)?;
    instruments.add_device(&stage.node, 0, stage.pods[0].host_ifindex)?;
    println!("{}", expected(&stage));
    let sender = if is_lab {
        Some(Generator::start(&stage, &workload)?)
    } else {
        None
    };
    let section = measure(&stage, &instruments, nic, options.seconds)?;
    drop(sender);
    print!("{}", section.text());
    Ok(())
}

/// The NIC comes into the node's namespace, up.
fn take<'a>(stage: &Stage<'_>, nic: &'a str) -> Result<&'a str> {
    let path = stage.node.path().display().to_string();
    let inner = format!("ip link set dev {nic} netns {path}");
    let moved = std::process::Command::new("sh").args(["-c", &inner]).status()?;
    if !moved.success() {
        bail!("cannot take `{nic}`: {inner}");
    }
    command::run(&stage.node, &format!("ip link set dev {nic} up"))
        .with_context(|| format!("`{nic}` does not come up"))?;
    Ok(nic)
}

fn expected(stage: &Stage<'_>) -> String {
    format!(
        "Send UDP from 33.0.0.1 to {} port 9, as many packets and flows (source ports) as you can, to the NIC's MAC address.",
        stage.pods[0].v4()
    )
}

fn measure(stage: &Stage<'_>, instruments: &Instruments, nic: &str, seconds: f64) -> Result<Section> {
    let mut section = Section::new("NIC", nic);
    let index = stage.node.interface(nic)?.index;
    for (title, program, hook) in [
        ("an XDP program in the pod takes them", "swallow", Hook::Xdp),
        (
            "an ordinary pod: GRO, skb, tc takes them",
            "sink",
            Hook::TcxIngress,
        ),
    ] {
        let _sinks = Sinks::attach(instruments, program, hook, &stage.pods[..1])?;
        let contestants = [
            contestant("drop, counted", instruments.program("count_drop")?, false),
            contestant(
                "two-instruction redirect",
                instruments.program("redirect_one")?,
                true,
            ),
            contestant("ours, 11,000 rules", stage.product()?, true),
        ];
        let samples = interleave(ROUNDS, &contestants, |one| {
            rate(stage, instruments, index, one, seconds)
        })?;
        let ceiling = &samples[1];
        let rows = contestants.iter().zip(&samples).map(|(one, rate)| {
            let against = if one.in_pod {
                number(rate.ratio(ceiling).median())
            } else {
                String::new()
            };
            vec![
                one.name.to_owned(),
                spread(&Samples(rate.0.iter().map(|rate| rate / 1e6).collect())),
                against,
            ]
        });
        section.table(
            title,
            &[
                "program",
                "million packets/s, counted at the receiver",
                "against the redirect",
            ],
            rows.collect(),
        );
    }
    section.note("The drop counts where it drops, the others in the pod. Whether the sender or the program was the limit, its own counters say: compare with what it sent.");
    section.note("not verified on hardware");
    Ok(section)
}

fn contestant(name: &'static str, program: ProgramFd, in_pod: bool) -> Contestant {
    Contestant {
        name,
        program,
        in_pod,
    }
}

/// Packets per second while the program is on the NIC.
fn rate(
    stage: &Stage<'_>,
    instruments: &Instruments,
    index: u32,
    one: &Contestant,
    seconds: f64,
) -> Result<f64> {
    let program = one.program.try_clone()?;
    let _link: OwnedFd = stage
        .node
        .run(|| sys::attach(&program, index, Hook::Xdp))?
        .context("the NIC takes no program natively, or carries one")?;
    std::thread::sleep(Duration::from_millis(200));
    let counted = || -> Result<u64> {
        let received = instruments.received()?;
        Ok(if one.in_pod {
            received.packets
        } else {
            received.expecting
        })
    };
    let (before, start) = (counted()?, sys::now());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    Ok((counted()? - before) as f64 * 1e9 / (sys::now() - start) as f64)
}
