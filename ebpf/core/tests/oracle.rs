//! Millions of verdicts, compared with the oracle.

use fastrand::Rng;
use xdp_core::{
    tables::{SOURCES, SourceRef},
    testing::{PacketShape, PodModel, RuleFixture, VerdictSummary},
    verdict::decide,
};

const SEED: u64 = 0x5844_5031;

/// Bounds of sources, and how many go into a block: one, two and three levels, filled and nearly empty.
const DEPTHS: [(usize, usize); 9] = [
    (1, 64),
    (2, 64),
    (63, 64),
    (64, 64),
    (65, 64),
    (200, 15),
    (9, 3),
    (60, 4),
    (300, 7),
];

fn agree(fixture: &RuleFixture, model: &PodModel, shape: &PacketShape) {
    let verdict = VerdictSummary::from(decide(shape.frame().as_slice(), model));
    assert_eq!(
        verdict,
        fixture.verdict(&shape.facts()),
        "{shape:?}\nin {fixture:?}"
    );
}

#[test]
fn depths_have_one_two_and_three_levels() {
    let levels = |(bounds, width): (usize, usize)| {
        let mut model = RuleFixture::random(bounds, &mut Rng::with_seed(SEED)).model(width);
        let mut levels = 0;
        while let Err(block) = model.pod.sources_v4.get() {
            model.pod.sources_v4 = model.sources_v4[block as usize].targets[0];
            levels += 1;
        }
        levels
    };
    assert_eq!(DEPTHS.map(levels), [0, 1, 1, 1, 2, 2, 2, 3, 3]);
}

#[test]
fn five_million_verdicts_agree() {
    const FIXTURES: usize = 500;
    const PACKETS: usize = 10_000;
    let mut rng = Rng::with_seed(SEED);
    for number in 0..FIXTURES {
        let (bounds, width) = DEPTHS[number % DEPTHS.len()];
        let fixture = RuleFixture::random(bounds, &mut rng);
        let model = fixture.model(width);
        let edges = [fixture.source_edges(false), fixture.source_edges(true)];
        for _ in 0..PACKETS {
            let mut shape = PacketShape::random(0, rng.u16(..), &mut rng);
            shape.source = if rng.bool() {
                rng.choice(edges[usize::from(shape.v6)].iter().copied())
                    .unwrap_or(0)
            } else {
                rng.u128(..) >> if shape.v6 { 0 } else { 96 }
            };
            if let Some(flat) = fixture.ports(&shape.facts())
                && rng.bool()
            {
                let (bound, _) = flat[rng.usize(..flat.len())];
                let port = bound.wrapping_add(rng.u16(..3)).wrapping_sub(1);
                shape.l4 = if shape.facts().icmp().is_some() {
                    (port, 0)
                } else {
                    (shape.l4.0, port)
                };
            }
            agree(&fixture, &model, &shape);
        }
    }
}

#[test]
fn every_edge_of_every_interval_agrees() {
    let mut rng = Rng::with_seed(SEED);
    for (bounds, width) in DEPTHS {
        let fixture = RuleFixture::random(bounds, &mut rng);
        let model = fixture.model(width);
        for v6 in [false, true] {
            for source in fixture.source_edges(v6) {
                let shape = PacketShape::udp(source, v6);
                agree(&fixture, &model, &shape);
                every_port(&fixture, &model, &shape);
            }
        }
    }
}

/// Both sides of every bound of every protocol, and both ends.
fn every_port(fixture: &RuleFixture, model: &PodModel, shape: &PacketShape) {
    for protocol in [6, 17, 132, 1, 58] {
        let mut shape = PacketShape {
            protocol,
            ..shape.clone()
        };
        let Some(flat) = fixture.ports(&shape.facts()) else {
            continue;
        };
        let around = flat
            .iter()
            .flat_map(|(bound, _)| [bound.saturating_sub(1), *bound, bound.saturating_add(1)]);
        for port in around.chain([0, u16::MAX]) {
            shape.l4 = (port, port);
            agree(fixture, model, &shape);
        }
    }
}

#[test]
fn blocks_of_any_content_lead_only_where_they_say() {
    let mut rng = Rng::with_seed(SEED);
    let fixture = RuleFixture::random(64, &mut rng);
    let mut model = fixture.model(64);
    for _ in 0..20_000 {
        for word in 0..SOURCES {
            model.sources_v4[0].bounds[word] = rng.u32(..);
            model.sources_v4[0].targets[word] = SourceRef(rng.choice([0, 1, 1 << 31, u32::MAX]).unwrap_or(0));
            model.sources_v6[0].bounds[word].high = rng.u64(..);
        }
        for ports in &mut model.ports {
            ports.bounds.fill_with(|| rng.u16(..));
            ports.targets.fill_with(|| rng.u16(..));
        }
        let shape = PacketShape::random(rng.u128(..), rng.u16(..), &mut rng);
        // It need not make sense, but it ends.
        let _ = decide(shape.frame().as_slice(), &model);
    }
}
