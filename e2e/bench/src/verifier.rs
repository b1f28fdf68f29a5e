//! What the verifier and the compiler make of the product's programs: numbers without noise.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::EbpfLoader;
use aya::maps::MapInfo;
use aya::programs::{Program, ProgramError};
use aya_obj::{Object, ProgramSection};

use crate::sys::{self, Kind};

/// The product's own object, as the agent embeds it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"));

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Its name in the object.
    pub name: String,
    /// Instructions after the kernel's own rewriting.
    pub instructions: u32,
    /// Bytes of machine code.
    pub machine_code: u32,
    /// Instructions that the verifier walked through.
    pub verified: u32,
    /// Bytes of stack, its functions' together.
    pub stack: u32,
    /// How long the kernel took to verify and to compile it.
    pub took: Duration,
}

/// Loads all programs once, over maps that are made and pinned in an empty folder on a bpffs.
pub fn weigh(pins: &Path) -> Result<Vec<Weighed>> {
    fs::create_dir_all(pins).with_context(|| format!("cannot create `{}`", pins.display()))?;
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(pins).load(OBJECT)?;
    let stacks = stacks(pins)?;
    let mut all = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let start = Instant::now();
        load(program).with_context(|| format!("the kernel refuses `{name}`"))?;
        let (took, info) = (start.elapsed(), program.info()?);
        all.push(Weighed {
            name: name.to_owned(),
            instructions: info.size_translated().unwrap_or(0) / 8,
            machine_code: info.size_jitted(),
            verified: info.verified_instruction_count().unwrap_or(0),
            stack: stacks.get(name).copied().unwrap_or(0),
            took,
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Bytes of stack by program, told by nothing but the verifier's log, which aya keeps only of what is refused. The maps
/// must be pinned below the folder.
fn stacks(pins: &Path) -> Result<BTreeMap<String, u32>> {
    let mut object = Object::parse(OBJECT)?;
    let maps: Vec<_> = std::mem::take(&mut object.maps).into_iter().collect();
    let open = maps
        .iter()
        .map(|(name, _)| {
            let info = MapInfo::from_pin(pins.join(name)).with_context(|| format!("map `{name}`"))?;
            Ok(info.fd()?)
        })
        .collect::<Result<Vec<_>>>()?;
    let numbers: Vec<RawFd> = open.iter().map(raw).collect();
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let references = maps.iter().zip(&numbers);
    object.relocate_maps(
        references.map(|((name, map), fd)| (name.as_str(), *fd, map)),
        &text,
    )?;
    object.relocate_calls(&text)?;
    let mut found = BTreeMap::new();
    for (name, program) in &object.programs {
        let kind = match program.section {
            ProgramSection::Xdp { .. } => Kind::Xdp,
            ProgramSection::SchedClassifier => Kind::Classifier,
            ProgramSection::RawTracePoint => Kind::RawTracepoint,
            ref other => anyhow::bail!("`{name}` is of a kind that is not known here: {other:?}"),
        };
        let function = &object.functions[&program.function_key()];
        let log = sys::verifier_log(kind, &function.instructions, &program.license)
            .with_context(|| format!("`{name}` with the verifier's log"))?;
        let depth = depth(&log).with_context(|| format!("`{name}`: no stack depth in the log: {log}"))?;
        found.insert(name.clone(), depth);
    }
    ensure!(!found.is_empty(), "no program in the object");
    Ok(found)
}

fn raw(fd: &impl std::os::fd::AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// The line `stack depth 336+0+88` of the log: the main function, and those it calls.
fn depth(log: &str) -> Option<u32> {
    let line = log.lines().find_map(|line| line.strip_prefix("stack depth "))?;
    let depths = line.split_whitespace().next()?.split('+');
    depths.map(|depth| depth.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stacks_of_all_functions_count() {
        let log = "verification time 30 usec\nstack depth 336+0+88\nprocessed 3 insns\n";
        assert_eq!(depth(log), Some(424));
        assert_eq!(depth("stack depth 16 max 16\n"), Some(16));
        assert_eq!(depth("processed 3 insns\n"), None);
    }
}
