//! The classifier as the number of rules grows, compared with a list and two LPM tries on the same flows.

use anyhow::{Result, ensure};
use aya::programs::ProgramFd;

use crate::{
    instruments::{FrameSet, Instruments},
    report::{Plot, Section, Series, ratio, spread},
    stats::{Samples, interleave},
    suite::Suite,
    testbed::Testbed,
    workload::{FlowClass, TestFlow, Workload},
};

/// Pods and rules of each.
const SIZES: [(usize, usize); 7] = [
    (1, 1),
    (1, 100),
    (110, 4),
    (110, 16),
    (110, 64),
    (110, 100),
    (100, 250),
];
const QUICK: [(usize, usize); 3] = [(110, 4), (110, 100), (100, 250)];
const REPEAT: u32 = 200_000;
/// Flows of a class whose verdicts are compared with the oracle before programs are timed.
const CHECKED: usize = 1024;
/// Consecutive packets to one pod.
const TRAIN: usize = 16;

/// A program and its flows.
struct Contestant {
    name: String,
    program: ProgramFd,
    set: FrameSet,
}

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    let sizes: &[(usize, usize)] = if suite.options.quick { &QUICK } else { &SIZES };
    let mut found = Vec::new();
    for (pods, rules) in sizes {
        found.push(one_size(suite, &mut section, *pods, *rules, true)?);
    }
    for (pods, rules) in [(110, 4), (100, 250)] {
        found.push(one_size(suite, &mut section, pods, rules, false)?);
    }
    summarise(&mut section, &found, suite.aa);
    Ok(section)
}

/// Results for one number of rules: by contestant, net of the feeder.
struct Size {
    rules: usize,
    v4: bool,
    floor: Samples,
    net: Vec<(String, Samples)>,
}

impl Size {
    fn get(&self, name: &str) -> Option<&Samples> {
        self.net
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, samples)| samples)
    }
}

fn one_size(
    suite: &mut Suite<'_>,
    section: &mut Section,
    pods: usize,
    rules: usize,
    v4: bool,
) -> Result<Size> {
    let (passes, repeat, epoch) = (suite.passes(), suite.scaled(REPEAT), suite.next_epoch());
    let testbed = suite.testbed()?;
    let addresses = if v4 { testbed.v4(112) } else { testbed.v6(112) };
    let workload = Workload::new(&addresses[..pods], rules, epoch).with_plain(&addresses[110..]);
    testbed.install(&workload)?;
    let mut instruments = testbed.instruments()?;
    if v4 {
        let entries = instruments.fill(&workload, &testbed.pod_devices())?;
        section.add_trials(
            format!("{pods}×{rules}: entries of the two LPM tries"),
            "",
            &Samples(vec![entries as f64]),
        );
        for (key, pod) in (1..).zip(&testbed.pods) {
            instruments.add_device(&testbed.node, key, pod.host_ifindex)?;
        }
    }
    let contestants = line_up(testbed, &mut instruments, &workload, pods, v4)?;
    let samples = interleave(passes, &contestants, |one| match one.set {
        FrameSet(u32::MAX) => instruments.bare(&one.program, &[0; 64], repeat),
        set => instruments.fed(&one.program, set, repeat),
    })?;
    let family = if v4 { "v4" } else { "v6" };
    for (one, samples) in contestants.iter().zip(&samples) {
        section.add_trials(format!("{family} {pods}×{rules}: {}", one.name), "ns", samples);
    }
    // The first two are the floor, bare and behind the feeder.
    let (floor, fed_floor) = (samples[0].clone(), &samples[1]);
    let net = |samples: &Samples| {
        samples
            .with(fed_floor, |own, floor| own - floor)
            .with(&floor, |more, floor| more + floor)
    };
    Ok(Size {
        rules: pods * rules,
        v4,
        net: contestants
            .iter()
            .zip(&samples)
            .skip(2)
            .map(|(one, samples)| (one.name.clone(), net(samples)))
            .collect(),
        floor,
    })
}

/// Returns all contestants. Fails if the verdict of one differs from the oracle's, so only correct programs
/// are timed.
fn line_up(
    testbed: &Testbed<'_>,
    instruments: &mut Instruments,
    workload: &Workload,
    pods: usize,
    v4: bool,
) -> Result<Vec<Contestant>> {
    let floor = instruments.program("drop_all")?;
    let mut all = vec![
        contestant("floor", floor.try_clone()?, FrameSet(u32::MAX)),
        contestant("floor, fed", floor, FrameSet(0)),
    ];
    let last = workload.targets.len();
    let classes = [
        ("redirect", FlowClass::Allow, 0..pods),
        ("drop", FlowClass::Drop, 0..pods),
        ("last rule", FlowClass::Last, 0..pods),
        ("no match", FlowClass::Miss, 0..pods),
        ("no classification", FlowClass::Allow, pods..last),
    ];
    for (number, (name, class, targets)) in (0_u32..).zip(classes) {
        let Some(flows) = flows(workload, class, targets, v4) else {
            continue;
        };
        let set = FrameSet(number);
        let frames = testbed.frames(workload, &flows)?;
        instruments.set_frames(set, &frames)?;
        let mut programs = vec![("xdp-operator", testbed.product()?)];
        if v4 && name != "no classification" {
            programs.push(("linear", instruments.program("linear")?));
            programs.push(("two LPM tries", instruments.program("two_lpm")?));
        }
        for (owner, program) in programs {
            let wrong = testbed.wrong(&program, workload, &flows[..CHECKED])?;
            ensure!(
                wrong.is_empty(),
                "the verdict of `{owner}` on {} of {CHECKED} flows ({name}, {pods} pods of {} rules) differs from the list's; the first: {:?}",
                wrong.len(),
                workload.targets[0].rules.len(),
                wrong.first()
            );
            all.push(contestant(&format!("{owner}: {name}"), program, set));
        }
    }
    Ok(all)
}

fn contestant(name: &str, program: ProgramFd, set: FrameSet) -> Contestant {
    Contestant {
        name: name.to_owned(),
        program,
        set,
    }
}

fn flows(
    workload: &Workload,
    class: FlowClass,
    targets: std::ops::Range<usize>,
    v4: bool,
) -> Option<Vec<TestFlow>> {
    workload.only(targets).flows(class, 4096, TRAIN, !v4)
}

fn summarise(section: &mut Section, sizes: &[Size], aa: f64) {
    let mut rows = Vec::new();
    for size in sizes {
        let family = if size.v4 { "IPv4" } else { "IPv6" };
        for (name, samples) in &size.net {
            let floors = samples.ratio(&size.floor).median();
            let product = name
                .split_once(": ")
                .and_then(|(_, class)| size.get(&format!("xdp-operator: {class}")));
            rows.push(vec![
                format!("{family} {}", size.rules),
                name.clone(),
                spread(samples),
                format!("{floors:.2}×"),
                product
                    .filter(|_| !name.starts_with("xdp-operator"))
                    .map_or_else(String::new, |product| ratio(samples.ratio(product).median(), aa)),
            ]);
        }
    }
    section.table(
        "ns per packet, net of the feeder: minimum / median / maximum",
        &[
            "rules",
            "program: flows",
            "ns",
            "relative to the floor",
            "relative to xdp-operator",
        ],
        rows,
    );
    facts(section, sizes);
    for (class, name) in [
        ("redirect", "scaling-redirect"),
        ("drop", "scaling-drop"),
        ("no match", "scaling-miss"),
    ] {
        section.plots.push(plot(sizes, class, name));
    }
    section.note("Pods × rules: 1×1, 1×100, 110×4, 110×16, 110×64, 110×100, 100×250; 4,096 flows, 16 packets to one pod in a row.");
    section.note("\"No classification\": pods with one rule for every packet, in the same tables. \"Redirect\" writes metadata and the pod's MAC address, and looks up the device; so do the rivals.");
    section.note("The rivals parse only IPv4 without options, and have no checks for fragments, MTU and fallbacks: the comparison favours them.");
    section.note("IPv6 flows are UDP; the rivals have no IPv6.");
}

fn facts(section: &mut Section, sizes: &[Size]) {
    let v4 = |rules| sizes.iter().find(|size| size.v4 && size.rules == rules);
    let floors = |size: &Size, name: &str| size.get(name).map(|samples| samples.ratio(&size.floor).median());
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            section.fact(name, value);
        }
    };
    if let (Some(small), Some(large)) = (v4(440), v4(25_000)) {
        let flat = floors(large, "xdp-operator: redirect").zip(floors(small, "xdp-operator: redirect"));
        put("flatness", flat.map(|(large, small)| large / small));
        let base = large.get("xdp-operator: no classification");
        let net = large
            .get("xdp-operator: redirect")
            .zip(base)
            .map(|(all, base)| all.with(base, |all, base| all - base));
        put("net.25000", net.map(|net| net.ratio(&large.floor).median()));
    }
    if let Some(size) = v4(11_000) {
        put("allow.floors.11000", floors(size, "xdp-operator: redirect"));
        put("drop.floors.11000", floors(size, "xdp-operator: drop"));
        let rival = size
            .get("two LPM tries: redirect")
            .zip(size.get("xdp-operator: redirect"));
        put(
            "two_lpm.11000",
            rival.map(|(rival, product)| rival.ratio(product).median()),
        );
    }
}

fn plot(sizes: &[Size], class: &str, name: &str) -> Plot {
    let line = |owner: &str| Series {
        name: owner.to_owned(),
        points: sizes
            .iter()
            .filter(|size| size.v4)
            .filter_map(|size| {
                Some((
                    size.rules as f64,
                    size.get(&format!("{owner}: {class}"))?.median(),
                ))
            })
            .collect(),
    };
    let floor = Series {
        name: "floor: XDP_DROP".to_owned(),
        points: sizes
            .iter()
            .filter(|size| size.v4)
            .map(|size| (size.rules as f64, size.floor.median()))
            .collect(),
    };
    Plot {
        name: name.to_owned(),
        title: format!("Whole program, flows: {class}"),
        x: "rules on the node".to_owned(),
        y: "ns per packet".to_owned(),
        series: vec![line("xdp-operator"), line("linear"), line("two LPM tries"), floor],
    }
}
