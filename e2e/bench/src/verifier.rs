//! Results of the verifier and the JIT compiler for the product's programs: numbers without noise.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    os::fd::{AsRawFd as _, RawFd},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    EbpfLoader,
    maps::MapInfo,
    programs::{Program, ProgramError},
};
use aya_obj::{Object, ProgramSection, generated::bpf_insn};
use xdp_lab::bpf::{self, ProgramType};

/// The product's eBPF object, as the agent embeds it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"));

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProgram {
    /// Its name in the object.
    pub name: String,
    /// Instructions after the kernel's rewriting.
    pub instructions: u32,
    /// Bytes of machine code.
    pub machine_code: u32,
    /// Instructions that the verifier walked through.
    pub verified: u32,
    /// Bytes of stack of the deepest call chain.
    pub stack: u32,
    /// Time that the kernel took to verify and compile it.
    pub took: Duration,
}

/// Loads all programs once, with new maps that are pinned in an empty folder on a bpffs.
pub fn load_programs(pins: &Path) -> Result<Vec<VerifiedProgram>> {
    fs::create_dir_all(pins).with_context(|| format!("cannot create `{}`", pins.display()))?;
    let mut ebpf = EbpfLoader::new().default_map_pin_directory(pins).load(OBJECT)?;
    // aya only pins maps that are declared as pinned.
    for (name, map) in ebpf.maps() {
        let pin = pins.join(name);
        if !pin.exists() {
            map.pin(pin)?;
        }
    }
    let stacks = stacks(pins)?;
    let mut all = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let start = Instant::now();
        load(program).with_context(|| format!("the kernel refuses `{name}`"))?;
        let (took, info) = (start.elapsed(), program.info()?);
        all.push(VerifiedProgram {
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

/// Returns the bytes of stack by program. Only the verifier's log contains them, and aya keeps the log only
/// for refused programs. The maps must be pinned below the folder.
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
    #[expect(clippy::iter_over_hash_type, reason = "the result is sorted")]
    for (name, program) in &object.programs {
        let kind = match program.section {
            ProgramSection::Xdp { .. } => ProgramType::Xdp,
            ProgramSection::SchedClassifier => ProgramType::SchedCls,
            ProgramSection::RawTracePoint => ProgramType::RawTracepoint,
            ref other => anyhow::bail!("`{name}` has an unsupported type: {other:?}"),
        };
        let function = &object.functions[&program.function_key()];
        let instructions: Vec<u64> = function.instructions.iter().copied().map(encode).collect();
        let log = bpf::verifier_log(kind, &instructions, &program.license)
            .with_context(|| format!("`{name}` with the verifier's log"))?;
        let depth = depths(&log)
            .and_then(|depths| deepest(&function.instructions, &depths))
            .with_context(|| format!("`{name}`: no stack depth in the log: {log}"))?;
        found.insert(name.clone(), depth);
    }
    ensure!(!found.is_empty(), "no program in the object");
    Ok(found)
}

/// Encodes `struct bpf_insn` as one little-endian word.
fn encode(instruction: bpf_insn) -> u64 {
    let registers = u64::from(instruction.dst_reg()) | u64::from(instruction.src_reg()) << 4;
    let off = u64::from(instruction.off.cast_unsigned());
    let imm = u64::from(instruction.imm.cast_unsigned());
    u64::from(instruction.code) | registers << 8 | off << 16 | imm << 32
}

fn raw(fd: &impl std::os::fd::AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// Parses the line `stack depth 336+0+88` of the log: the main function, then the others in the order of
/// their code.
fn depths(log: &str) -> Option<Vec<u32>> {
    let line = log.lines().find_map(|line| line.strip_prefix("stack depth "))?;
    let depths = line.split_whitespace().next()?.split('+');
    depths.map(|depth| depth.parse().ok()).collect()
}

/// Kernels round up the size of a frame; older ones round to this.
const FRAME: u32 = 32;
/// `BPF_JMP | BPF_CALL`, of a function of the program's own: `BPF_PSEUDO_CALL`.
const CALL: (u8, u8) = (0x85, 1);

/// Returns the stack of the deepest call chain, or `None` if the numbers of functions and frames differ.
fn deepest(instructions: &[bpf_insn], frames: &[u32]) -> Option<u32> {
    let calls: Vec<(usize, usize)> = (0..).zip(instructions).filter_map(target).collect();
    let starts: BTreeSet<usize> = calls.iter().map(|call| call.1).chain([0]).collect();
    let starts: Vec<usize> = starts.into_iter().collect();
    let function = |at: usize| starts.partition_point(|start| *start <= at) - 1;
    let calls: Vec<(usize, usize)> = calls
        .into_iter()
        .map(|(at, callee)| (function(at), function(callee)))
        .collect();
    (starts.len() == frames.len()).then(|| chain(0, &calls, frames))
}

/// Returns the position of a call, and of its callee.
fn target((at, instruction): (usize, &bpf_insn)) -> Option<(usize, usize)> {
    let is_call = (instruction.code, instruction.src_reg()) == CALL;
    let callee = (at + 1).checked_add_signed(instruction.imm as isize)?;
    is_call.then_some((at, callee))
}

/// Returns the stack of the deepest call chain from this function. The verifier allows no recursion.
fn chain(function: usize, calls: &[(usize, usize)], frames: &[u32]) -> u32 {
    let callees = calls.iter().filter(|(caller, _)| *caller == function);
    let below = callees.map(|(_, callee)| chain(*callee, calls, frames)).max();
    frames[function].max(1).next_multiple_of(FRAME) + below.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, source: u8, imm: i32) -> bpf_insn {
        let mut one = bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(0, source),
            off: 0,
            imm,
        };
        one.set_src_reg(source);
        one
    }

    fn call(imm: i32) -> bpf_insn {
        instruction(CALL.0, CALL.1, imm)
    }

    #[test]
    fn the_log_names_the_stack_of_every_function() {
        let log = "verification time 30 usec\nstack depth 336+0+88\nprocessed 3 insns\n";
        assert_eq!(depths(log), Some(vec![336, 0, 88]));
        assert_eq!(depths("stack depth 16 max 16\n"), Some(vec![16]));
        assert_eq!(depths("processed 3 insns\n"), None);
    }

    #[test]
    fn functions_take_stack_at_the_same_time_only_where_they_call_each_other() {
        let (exit, helper) = (instruction(0x95, 0, 0), instruction(0x85, 0, 1));
        // Main calls the second and the third function, the third calls the fourth.
        let program = [helper, call(2), call(2), exit, exit, call(1), exit, exit];
        assert_eq!(deepest(&program, &[300, 100, 0, 40]), Some(320 + 128));
        assert_eq!(deepest(&program, &[300, 90, 64, 40]), Some(320 + 64 + 64));
        assert_eq!(deepest(&program, &[300]), None);
        assert_eq!(deepest(&[helper, exit], &[0]), Some(32));
    }
}
