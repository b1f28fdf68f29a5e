//! Labels: short JSON texts that name slots, rules and problems.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::maps::MapError;
use serde::{Serialize, de::DeserializeOwned};
use xdp_core::tables::{Label, RuleText, Text};
use xdp_plan::{
    facts::Readiness,
    installed::{PodLabel, RuleLabel, RuleLabels},
    report::Problem,
};

use crate::datapath::{
    error::ApplyError,
    kernel::{mmap_array::MmapArray, plain::Plain},
};

/// Serializes a label. Fails if it does not fit.
pub(in crate::datapath) fn to_text<const BYTES: usize>(
    content: &impl Serialize,
) -> Result<Text<BYTES>, ApplyError> {
    let json = serde_json::to_vec(content).expect("labels are strings and numbers");
    let mut text = empty();
    let too_long = ApplyError::LabelTooLong {
        bytes: json.len(),
        limit: BYTES,
    };
    text.text
        .get_mut(..json.len())
        .ok_or(too_long)?
        .copy_from_slice(&json);
    text.len = json.len() as u32;
    Ok(text)
}

/// Returns the empty label, which stands for no label.
pub(in crate::datapath) const fn empty<const BYTES: usize>() -> Text<BYTES> {
    Text {
        len: 0,
        text: [0; BYTES],
    }
}

/// Serializes a pod's label. Messages that are too long are cut; names and addresses are never cut.
pub(in crate::datapath) fn pod_label(content: &PodLabel) -> Result<Label, ApplyError> {
    let mut content = content.clone();
    loop {
        let label = to_text(&content);
        let messages = [&mut content.readiness, &mut content.reply_path].into_iter();
        let messages = messages.filter_map(|readiness| match readiness {
            Readiness::NotReady { message, .. } => Some(message),
            Readiness::Ready => None,
        });
        match (label, messages.max_by_key(|message| message.len())) {
            (Err(_), Some(longest)) if !longest.is_empty() => halve(longest),
            (label, _) => return label,
        }
    }
}

/// Serializes a problem's label. Texts that are too long are cut, the longest first.
pub(in crate::datapath) fn problem_label(problem: &Problem) -> Option<Label> {
    let mut problem = problem.clone();
    loop {
        match to_text(&problem) {
            Ok(label) => return Some(label),
            Err(_) if problem.message.is_empty() && problem.remedy.is_empty() => return None,
            Err(_) => cut_longest(&mut problem),
        }
    }
}

fn cut_longest(problem: &mut Problem) {
    let texts = [&mut problem.object, &mut problem.message, &mut problem.remedy];
    if let Some(longest) = texts.into_iter().max_by_key(|text| text.len()) {
        halve(longest);
    }
}

/// Cuts a text to half its length, with an ellipsis.
fn halve(text: &mut String) {
    let half = text.chars().count() / 2;
    *text = text.chars().take(half.saturating_sub(1)).collect();
    if half > 1 {
        text.push('…');
    }
}

/// Reads the labels `0..len`. Elements without a valid label are left out.
pub(in crate::datapath) fn read_labels<T: DeserializeOwned>(
    len: u32,
    get: impl Fn(u32) -> Result<Plain<Label>, MapError>,
) -> Result<BTreeMap<u32, T>, MapError> {
    let mut labels = BTreeMap::new();
    for index in 0..len {
        if let Some(label) = from_text(&get(index)?.0) {
            labels.insert(index, label);
        }
    }
    Ok(labels)
}

/// Caches the labels of rules. There can be tens of thousands, and they rarely change: a text is parsed only
/// when it differs from the one that was read before.
#[derive(Default)]
pub(in crate::datapath) struct RuleLabelCache(Mutex<Labels>);

#[derive(Default)]
struct Labels {
    /// Texts by rule id; empty for no label.
    texts: Vec<Box<[u8]>>,
    by_id: RuleLabels,
    /// Ids whose labels were parsed here, so that no other `Arc` of them exists yet.
    parsed: BTreeSet<u32>,
}

impl RuleLabelCache {
    /// Reads all labels. Elements without a valid label are left out.
    pub(in crate::datapath) fn read(&self, texts: &MmapArray<RuleText>) -> RuleLabels {
        let mut cache = self.lock();
        cache.texts.resize_with(texts.len() as usize, Box::default);
        for index in 0..texts.len() {
            let text = texts.get(index).and_then(used).unwrap_or_default();
            if *cache.texts[index as usize] != *text {
                cache.parse(index, text.into());
            }
        }
        Arc::clone(&cache.by_id)
    }

    /// Stores a label that the agent has written.
    pub(in crate::datapath) fn learn(&self, index: u32, text: &RuleText, label: &Arc<RuleLabel>) {
        let mut cache = self.lock();
        let (place, text) = (index as usize, used(text).unwrap_or_default());
        if cache.texts.len() <= place {
            cache.texts.resize_with(place + 1, Box::default);
        }
        cache.texts[place] = text.into();
        cache.parsed.remove(&index);
        Arc::make_mut(&mut cache.by_id).insert(index, Arc::clone(label));
    }

    /// Replaces labels by the equal `Arc`s in `wanted`.
    pub(in crate::datapath) fn share(&self, wanted: &BTreeSet<Arc<RuleLabel>>) {
        let Labels {
            by_id: labels,
            parsed,
            ..
        } = &mut *self.lock();
        for index in std::mem::take(parsed) {
            if let Some(label) = labels.get(&index).and_then(|label| wanted.get(label)) {
                Arc::make_mut(labels).insert(index, Arc::clone(label));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Labels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Labels {
    fn parse(&mut self, index: u32, text: Box<[u8]>) {
        let labels = Arc::make_mut(&mut self.by_id);
        match serde_json::from_slice(&text) {
            Ok(label) => {
                labels.insert(index, Arc::new(label));
                self.parsed.insert(index);
            }
            Err(_) => drop(labels.remove(&index)),
        }
        self.texts[index as usize] = text;
    }
}

/// Parses a label. Returns `None` for no label, and for one that is torn.
pub(in crate::datapath) fn from_text<T: DeserializeOwned, const BYTES: usize>(
    text: &Text<BYTES>,
) -> Option<T> {
    serde_json::from_slice(used(text)?).ok()
}

fn used<const BYTES: usize>(text: &Text<BYTES>) -> Option<&[u8]> {
    let bytes = text.text.get(..text.len as usize)?;
    (!bytes.is_empty()).then_some(bytes)
}
