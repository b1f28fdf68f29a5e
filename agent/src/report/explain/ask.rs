//! Runs `xdp-agent explain`: from the command line to the explanation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use xdp_core::{
    events::{Event, Fallback, ForeignFrame, Unparsed, UnparsedDrop},
    explain::Explained,
    verdict::{Kind, RuleTables as _},
};
use xdp_plan::{
    installed::PodLabel,
    manifests::{
        ManifestObject, {self},
    },
    node_state::selects,
    pod::Pod,
    policy::Policy,
    resolve::without_cluster,
};

use crate::{
    args,
    datapath::{Explainer, Pinned},
    report::{
        explain::{
            ExplainError,
            answer::{DecidingRule, Explanation, ExplanationText, RuleLimit},
            destination,
            packet::{Details, ProbePacket},
            rules::{KnownRules, RuleMatch, could_match, rows},
            socket,
        },
        output,
    },
};

const OWN: &str = "the pod opened a connection with these addresses and ports: its packets pass to the stack \
                   (OwnConnection), except one that opens another connection (TCP SYN, SCTP INIT)";

/// Explains the packet of a command line. Returns the output.
pub(crate) fn ask(args: &args::ExplainArgs) -> Result<String, ExplainError> {
    let pinned = Pinned::open(&args.pins.pin_dir)?;
    let pods = pinned.pod_labels()?;
    let labels: Vec<PodLabel> = pods.values().cloned().collect();
    let to = destination::resolve(&args.to, args.from, &labels)?;
    let details = Details {
        source_port: args.source_port,
        port: args.port,
        kind: args.kind,
        code: args.code,
        extension_headers: args.extension_headers,
        truncated: args.truncated,
    };
    let packet = ProbePacket::new((args.from, to), args.protocol, details)?;
    let explained = at_a_nic(&pinned, &packet)?;
    let mut answer = decided(&pinned, &pods, packet, &explained);
    if (explained.kind.drops() || answer.limit.is_some()) && is_own(&pinned, &packet)? {
        answer.notes.push(OWN.to_owned());
    }
    // Without a slot, or ports, no rule was evaluated.
    let is_unparsed = matches!(explained.kind, Kind::Unparsed | Kind::UnparsedDrop);
    if explained.slot.is_some() && !is_unparsed {
        match known(args, &packet)? {
            Ok(known) => {
                let is_why = answer.reason == Some(Fallback::NetworkPolicy.name());
                answer.network_policy = known.network_policy.filter(|_| is_why);
                answer.before = Some(before(known.rules, &mut answer));
            }
            Err(reason) => answer.notes.push(reason),
        }
    }
    Ok(match args.output {
        args::Output::Table => ExplanationText(&answer, explained.kind).to_string(),
        args::Output::Json => output::json(&answer),
    })
}

/// Asks the kernel as if the packet arrived at a NIC, in a frame for that NIC, and opened a flow. Rules are
/// equal at all NICs.
fn at_a_nic(pinned: &Pinned, packet: &ProbePacket) -> Result<Explained, ExplainError> {
    let mut frame = packet.frame();
    let nic = pinned.known_nics().first().copied().unwrap_or_default();
    let [_, _, mac @ ..] = nic.mac.to_be_bytes();
    if let Some(destination) = frame.first_chunk_mut() {
        *destination = mac;
    }
    Ok(Explainer::open(pinned)?.ask(&frame, nic.ifindex)?)
}

/// Whether the pod has opened a connection with the packet's addresses and ports.
fn is_own(pinned: &Pinned, packet: &ProbePacket) -> Result<bool, ExplainError> {
    let (Some(from), Some(to)) = (packet.source_port, packet.port) else {
        return Ok(false);
    };
    let remote = SocketAddr::new(packet.from, from);
    let pod = SocketAddr::new(packet.to, to);
    Ok(pinned.has_opened(packet.protocol.0, remote, pod)?)
}

/// Converts the decision of the kernel.
fn decided(
    pinned: &Pinned,
    pods: &BTreeMap<u32, PodLabel>,
    packet: ProbePacket,
    explained: &Explained,
) -> Explanation {
    let number = explained.action.and_then(|number| u16::try_from(number).ok());
    let record = number.and_then(|number| pinned.live().action(number));
    let could_match = match (explained.kind, explained.class) {
        (Kind::UnparsedDrop, Some(class)) => could_match(pinned.live(), class, packet.columns()),
        _ => BTreeSet::new(),
    };
    let has_rule = explained.rule.is_some() || !could_match.is_empty();
    let labels = if has_rule {
        pinned.rule_labels()
    } else {
        Arc::default()
    };
    let rule = |id| {
        let label = labels.get(&id);
        label.map_or_else(
            || nameless(id),
            |label| DecidingRule {
                id,
                namespace: label.namespace.clone(),
                policy: label.policy.clone(),
                rule: label.rule.clone(),
            },
        )
    };
    let pod = explained.slot.and_then(|slot| pods.get(&slot));
    Explanation {
        packet,
        pod: pod.map(destination::full_name),
        verdict: format!("{:?}", explained.kind),
        reason: explained.reason.and_then(reason),
        rule: explained.rule.map(rule),
        could_match: could_match.into_iter().map(rule).collect(),
        audit: explained.kind == Kind::Audit,
        limit: record.and_then(RuleLimit::of),
        network_policy: None,
        before: None,
        notes: Vec::new(),
    }
}

/// Makes a rule without a name: the agent has just released the rule id.
fn nameless(id: u32) -> DecidingRule {
    DecidingRule {
        id,
        namespace: String::new(),
        policy: String::new(),
        rule: String::new(),
    }
}

fn reason(code: u32) -> Option<&'static str> {
    let unparsed = Unparsed::ALL.map(|reason| (reason.code(), reason.name()));
    let fallbacks = Fallback::ALL.map(|reason| (reason.code(), reason.name()));
    let events = Event::ALL.map(|event| (event.code(), event.name()));
    let foreign = ForeignFrame::ALL.map(|reason| (reason.code(), reason.name()));
    let dropped = UnparsedDrop::ALL.map(|reason| (reason.code(), reason.name()));
    let all = unparsed.into_iter().chain(fallbacks).chain(events);
    let mut all = all.chain(foreign).chain(dropped);
    all.find(|(of, _)| *of == code).map(|(_, name)| name)
}

/// Returns what is known of the packet's destination. The inner `Err` says why nothing is.
fn known(args: &args::ExplainArgs, packet: &ProbePacket) -> Result<Result<KnownRules, String>, ExplainError> {
    if !args.manifests.is_empty() {
        let rules = from_files(&args.manifests, packet)?;
        return Ok(Ok(KnownRules {
            rules,
            network_policy: None,
        }));
    }
    Ok(match socket::about(&args.pins.pin_dir, packet) {
        Ok(known) => Ok(known.unwrap_or_default()),
        Err(error) => Err(format!(
            "the earlier rules are unknown, because no agent answers ({error}); \
             start it, or give the directory of its policies and pods with --manifests"
        )),
    })
}

/// Selects the rules before the one that decided.
fn before(rows: Vec<RuleMatch>, answer: &mut Explanation) -> Vec<RuleMatch> {
    let is_decider = |row: &RuleMatch| {
        let decider = answer.rule.as_ref();
        decider.is_some_and(|rule| {
            (&rule.namespace, &rule.policy, &rule.rule) == (&row.namespace, &row.policy, &row.rule)
        })
    };
    let decider = rows.iter().position(is_decider);
    let first = rows.iter().position(|row| row.mismatch.is_none());
    if decider != first {
        let note = "the rules of the agent and the tables in the kernel differ: a change is in progress, or has failed; \
                    see `xdp-agent status`";
        answer.notes.push(note.to_owned());
    }
    let count = decider.unwrap_or(rows.len());
    rows.into_iter().take(count).collect()
}

/// Reads the rules from manifest directories, as an agent that follows them would.
fn from_files(directories: &[PathBuf], packet: &ProbePacket) -> Result<Vec<RuleMatch>, ExplainError> {
    let mut policies: Vec<Arc<Policy>> = Vec::new();
    let mut pods: Vec<Arc<Pod>> = Vec::new();
    for (path, text) in texts(directories)? {
        let (objects, _) = manifests::parse(&path.display().to_string(), &text);
        for object in objects {
            match object {
                ManifestObject::Policy(policy) => policies.push(policy),
                ManifestObject::Pod(pod) => pods.push(pod),
                ManifestObject::Namespace(_) | ManifestObject::NetworkPolicy(_) => {}
            }
        }
    }
    let Some(pod) = pods.into_iter().find(|pod| pod.addresses.contains(&packet.to)) else {
        return Ok(Vec::new());
    };
    let (mut policies, _) = without_cluster(policies);
    policies.retain(|policy| selects(policy, &pod));
    policies.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(rows(&policies, &pod, packet))
}

fn texts(directories: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, ExplainError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ExplainError::Manifests { path, source }
    };
    let mut texts = Vec::new();
    for directory in directories {
        let files = crate::source::files(directory).map_err(failed(directory))?;
        for path in files {
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            texts.push((path, text));
        }
    }
    Ok(texts)
}
