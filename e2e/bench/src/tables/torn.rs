//! Overwrites tables while programs use them, which the agent must never do.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};

use super::{mapping::Mapping, maps};

/// Mmapable maps that decide about packets.
const DECIDE: [&str; 6] = [
    "POD_BLOCKS",
    "SOURCES_V4",
    "CLASSES",
    "PORT_BLOCKS",
    "ACTIONS",
    "SLOTS",
];

/// Copies of the tables at one time.
#[derive(Debug)]
pub struct TableSnapshot(BTreeMap<&'static str, Vec<u8>>);

/// Elements that differ between two states.
#[derive(Debug)]
pub struct Overwriter {
    maps: Vec<Mapping>,
    differences: Vec<Difference>,
}

#[derive(Debug)]
struct Difference {
    map: usize,
    offset: usize,
    states: [Vec<u8>; 2],
}

impl TableSnapshot {
    /// Copies the maps that are pinned below a directory.
    pub fn read(pin_dir: &Path) -> Result<Self> {
        let maps = open(pin_dir, false)?;
        let copies = DECIDE.into_iter().zip(maps.iter().map(Mapping::copy));
        Ok(Self(copies.collect()))
    }
}

impl Overwriter {
    /// Computes the differences of two states.
    pub fn new(pin_dir: &Path, one: &TableSnapshot, other: &TableSnapshot) -> Result<Self> {
        let maps = open(pin_dir, true)?;
        let mut differences = Vec::new();
        for (map, (name, mapping)) in DECIDE.iter().zip(&maps).enumerate() {
            let elements = one.0[name]
                .chunks(mapping.element)
                .zip(other.0[name].chunks(mapping.element));
            for (index, (one, other)) in elements.enumerate() {
                if one != other {
                    differences.push(Difference {
                        map,
                        offset: index * mapping.element,
                        states: [one.to_vec(), other.to_vec()],
                    });
                }
            }
        }
        ensure!(!differences.is_empty(), "both states are the same");
        Ok(Self { maps, differences })
    }

    /// Writes the first or the second state: first one half of every element (for sources, the bounds), then
    /// the other half.
    pub fn overwrite(&self, state: usize) {
        for one in &self.differences {
            let bytes = &one.states[state];
            self.maps[one.map].write(one.offset, &bytes[..bytes.len() / 2]);
        }
        for one in &self.differences {
            let (bytes, half) = (&one.states[state], one.states[state].len() / 2);
            self.maps[one.map].write(one.offset + half, &bytes[half..]);
        }
    }
}

fn open(pin_dir: &Path, writable: bool) -> Result<Vec<Mapping>> {
    let pins = maps(pin_dir)?;
    let mut open = Vec::new();
    for name in DECIDE {
        for path in pins.iter().filter(|path| path.ends_with(name)) {
            open.extend(Mapping::open(path, writable)?);
        }
    }
    ensure!(
        open.len() == DECIDE.len(),
        "not each of {DECIDE:?} can be mapped once below `{}`",
        pin_dir.display()
    );
    Ok(open)
}
