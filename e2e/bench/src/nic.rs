//! The benchmark for a machine with a real NIC: its settings, and the packet rate of each program.
//!
//! The NIC moves into the lab's node for the run; the kernel moves a physical NIC back when the lab ends. The
//! agent runs on a NIC of the lab; its program is attached to the real NIC as well and reads the same tables.

mod generator;
mod settings;

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::programs::ProgramFd;
use xdp_lab::{Lab, bpf::BpfAttachType};

use self::generator::Generator;
use crate::{
    command,
    environment::Environment,
    instruments::Instruments,
    report::{Section, number, spread},
    stats::{Samples, interleave},
    sys,
    testbed::{Receivers, Testbed},
    workload::Workload,
};

/// Options of the benchmark.
#[derive(Clone, Debug)]
pub struct NicBenchOptions {
    /// The NIC, or `lab`.
    pub nic: String,
    /// Duration of each program in each pass, in seconds.
    pub seconds: f64,
}

const PASSES: usize = 3;
const LAB: &str = "nic1";
const PODS: u8 = 113;

/// A program, and where its packets are counted.
struct Contestant {
    name: &'static str,
    program: ProgramFd,
    in_pod: bool,
}

/// Runs the benchmark, and prints the results.
pub fn run(options: &NicBenchOptions) -> Result<()> {
    let is_lab = options.nic == "lab";
    println!(
        "Measures what arrives on {} for about {:.0} seconds. Not verified on hardware: no run on a real NIC has been reported yet.",
        if is_lab { "a lab's veth pair" } else { &options.nic },
        10.0 + options.seconds * 2.0 * 4.0 * PASSES as f64
    );
    for line in Environment::read().lines().iter().take(3) {
        println!("{line}");
    }
    let lab = Lab::new()?;
    if !is_lab {
        println!("{}", settings::of(&options.nic));
    }
    let mut testbed = Testbed::new(&lab, PODS)?;
    let nic = if is_lab {
        LAB
    } else {
        take(&testbed, &options.nic)?
    };
    if is_lab {
        println!("{}", settings::inside(&testbed.node, nic));
    }
    let workload = Workload::new(&testbed.v4(110), 100, 1);
    testbed.install(&workload)?;
    let mut instruments = Instruments::load(false)?;
    instruments.add_device(&testbed.node, 0, testbed.pods[0].host_ifindex)?;
    println!("{}", expected(&testbed));
    let sender = if is_lab {
        Some(Generator::start(&testbed, &workload)?)
    } else {
        None
    };
    let section = measure(&testbed, &instruments, nic, options.seconds)?;
    drop(sender);
    print!("{}", section.text());
    Ok(())
}

/// Moves the NIC into the node's namespace, and sets it up.
fn take<'a>(testbed: &Testbed<'_>, nic: &'a str) -> Result<&'a str> {
    let path = testbed.node.path().display().to_string();
    let inner = format!("ip link set dev {nic} netns {path}");
    let moved = std::process::Command::new("sh").args(["-c", &inner]).status()?;
    if !moved.success() {
        bail!("cannot move `{nic}` into the namespace: {inner}");
    }
    command::run(&testbed.node, &format!("ip link set dev {nic} up"))
        .with_context(|| format!("cannot set `{nic}` up"))?;
    Ok(nic)
}

fn expected(testbed: &Testbed<'_>) -> String {
    format!(
        "Send UDP from 33.0.0.1 to {} port 9, as many packets and flows (source ports) as you can, to the NIC's MAC address.",
        testbed.pods[0].v4()
    )
}

fn measure(testbed: &Testbed<'_>, instruments: &Instruments, nic: &str, seconds: f64) -> Result<Section> {
    let mut section = Section::new("NIC", nic);
    let index = testbed.node.interface(nic)?.index;
    for (title, program, hook) in [
        (
            "an XDP program in the pod consumes the packets",
            "swallow",
            BpfAttachType::Xdp,
        ),
        (
            "an ordinary pod: GRO, skb, a tc program consumes the packets",
            "sink",
            BpfAttachType::TcxIngress,
        ),
    ] {
        let _receivers = Receivers::attach(instruments, program, hook, &testbed.pods[..1])?;
        let contestants = [
            contestant("drop, counted", instruments.program("count_drop")?, false),
            contestant(
                "two-instruction redirect",
                instruments.program("redirect_one")?,
                true,
            ),
            contestant("xdp-operator, 11,000 rules", testbed.product()?, true),
        ];
        let samples = interleave(PASSES, &contestants, |one| {
            rate(testbed, instruments, index, one, seconds)
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
                "relative to the redirect",
            ],
            rows.collect(),
        );
    }
    section.note("The drop counts on the NIC, the others in the pod. Compare the rates with the counters of the sender, to see whether the sender or the program was the limit.");
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

/// Returns the packets per second while the program is attached to the NIC.
fn rate(
    testbed: &Testbed<'_>,
    instruments: &Instruments,
    index: u32,
    one: &Contestant,
    seconds: f64,
) -> Result<f64> {
    let program = one.program.try_clone()?;
    let _link: OwnedFd = testbed
        .node
        .run(|| sys::attach(&program, index, BpfAttachType::Xdp))?
        .context("the NIC refuses a program in native mode, or already has one")?;
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
