//! The agent's seccomp profile in the chart, as a filter for the agents that tests start.

use std::{collections::BTreeMap, env::consts::ARCH, thread};

use anyhow::{Context as _, bail};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde::Deserialize;
use syscalls::Sysno;
use xdp_lab::{RefusedCall, SyscallFilter};

/// The profile that the chart contains.
pub const PROFILE: &str = include_str!("../../charts/xdp-operator/profiles/seccomp.json");

/// A profile as container runtimes read it (`config-linux.md` of the OCI runtime specification).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompProfile {
    /// The action for all system calls that no rule matches.
    pub default_action: String,
    /// The architectures that the rules are for.
    pub architectures: Vec<String>,
    /// The rules.
    pub syscalls: Vec<SyscallRule>,
}

/// A rule of a profile.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyscallRule {
    /// What the agent needs the calls for. Runtimes ignore it.
    pub comment: String,
    /// The calls. Each architecture has some of them.
    pub names: Vec<String>,
    /// `SCMP_ACT_ALLOW` or `SCMP_ACT_ERRNO`.
    pub action: String,
    /// The error of `SCMP_ACT_ERRNO`.
    pub errno_ret: Option<u32>,
    /// What must be true of the arguments, all of it.
    #[serde(default)]
    pub args: Vec<SyscallArgument>,
}

/// What must be true of an argument.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyscallArgument {
    /// Its place, from 0.
    pub index: u8,
    /// What it is compared with, or a mask.
    pub value: u64,
    /// What the bits of the mask are compared with.
    #[serde(default)]
    pub value_two: u64,
    /// `SCMP_CMP_EQ` or `SCMP_CMP_MASKED_EQ`.
    pub op: String,
}

/// The rules of one action, by the number of the system call.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl SeccompProfile {
    /// Parses a profile.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).context("the seccomp profile cannot be parsed")
    }

    /// Returns the filter for this architecture. What the profile refuses by default is refused and reported.
    pub fn filter(&self) -> anyhow::Result<SyscallFilter> {
        let mut errors: BTreeMap<u32, Rules> = BTreeMap::new();
        let mut allowed = Rules::new();
        for rule in &self.syscalls {
            let rules = match (rule.action.as_str(), rule.errno_ret) {
                ("SCMP_ACT_ALLOW", None) => &mut allowed,
                ("SCMP_ACT_ERRNO", Some(error)) => errors.entry(error).or_default(),
                (action, error) => bail!("a rule has the action {action} with the error {error:?}"),
            };
            rule.add_to(rules)?;
        }
        let refuse = |(error, rules)| compile(rules, SeccompAction::Allow, SeccompAction::Errno(error));
        let mut programs: Vec<BpfProgram> = errors.into_iter().map(refuse).collect::<Result<_, _>>()?;
        programs.push(compile(allowed, SeccompAction::Trap, SeccompAction::Allow)?);
        Ok(SyscallFilter::new(
            programs.into_iter().map(instructions).collect(),
        ))
    }
}

impl SyscallRule {
    fn add_to(&self, rules: &mut Rules) -> anyhow::Result<()> {
        for call in self.names.iter().filter_map(|name| number(name)) {
            let found = rules.entry(call).or_default();
            if !self.args.is_empty() {
                let conditions: anyhow::Result<_> =
                    self.args.iter().map(SyscallArgument::condition).collect();
                found.push(SeccompRule::new(conditions?)?);
            }
        }
        Ok(())
    }
}

impl SyscallArgument {
    fn condition(&self) -> anyhow::Result<SeccompCondition> {
        let (operator, value) = match self.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, self.value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
            operator => bail!("a rule has the operator {operator}"),
        };
        Ok(SeccompCondition::new(
            self.index,
            SeccompCmpArgLen::Qword,
            operator,
            value,
        )?)
    }
}

/// Returns a call's number on this architecture, if it has one.
fn number(name: &str) -> Option<i64> {
    // Libseccomp, and so the profile, has one name for both architectures.
    let name = match name {
        "newfstatat" if ARCH == "aarch64" => "fstatat",
        name => name,
    };
    name.parse::<Sysno>().ok().map(|call| call.id().into())
}

fn compile(rules: Rules, otherwise: SeccompAction, action: SeccompAction) -> anyhow::Result<BpfProgram> {
    Ok(SeccompFilter::new(rules, otherwise, action, ARCH.try_into()?)?.try_into()?)
}

/// The library has no name for a report to another process. `Trap`, which is used for nothing else, stands
/// for it.
fn instructions(program: BpfProgram) -> Vec<libc::sock_filter> {
    let instruction = |found: seccompiler::sock_filter| libc::sock_filter {
        code: found.code,
        jt: found.jt,
        jf: found.jf,
        k: match found.k {
            libc::SECCOMP_RET_TRAP => libc::SECCOMP_RET_USER_NOTIF,
            other => other,
        },
    };
    program.into_iter().map(instruction).collect()
}

/// The system calls that the chart's seccomp profile allows to the agent and its subcommands.
pub(crate) struct AllowedCalls(SyscallFilter);

impl AllowedCalls {
    pub(crate) fn new(profile: &SeccompProfile) -> anyhow::Result<Self> {
        Ok(Self(profile.filter()?))
    }

    pub(crate) fn of_chart() -> Self {
        let allowed = SeccompProfile::parse(PROFILE).and_then(|profile| Self::new(&profile));
        allowed.expect("tests read the profile that is compiled into this program")
    }

    pub(crate) fn filter(&self) -> &SyscallFilter {
        &self.0
    }

    /// Returns a message with the calls that were refused so far, if any.
    pub(crate) fn refused(&self) -> Option<String> {
        let refused: Vec<String> = self.0.refused().into_iter().map(describe).collect();
        let calls = refused.join(", ");
        let message = "charts/xdp-operator/profiles/seccomp.json does not allow what the agent called";
        (!calls.is_empty()).then(|| format!("{message}: {calls}"))
    }
}

impl Drop for AllowedCalls {
    fn drop(&mut self) {
        match self.refused() {
            None => {}
            Some(refused) if thread::panicking() => println!("{refused}"),
            Some(refused) => panic!("{refused}"),
        }
    }
}

/// Shows a refused call with its name.
fn describe(call: RefusedCall) -> String {
    let name = usize::try_from(call.number).ok().and_then(Sysno::new);
    let name = name.map_or_else(|| call.number.to_string(), |found| found.name().to_owned());
    let [first, second, third] = call.arguments;
    format!("{name}({first:#x}, {second:#x}, {third:#x}, …)")
}

#[cfg(test)]
mod tests;
