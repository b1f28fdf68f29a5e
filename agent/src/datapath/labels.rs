//! Labels: short JSON texts that travel with slots, rules and problems.

use std::collections::BTreeMap;

use aya::maps::MapError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xdp_core::tables::{LABEL_TEXT, Label};
use xdp_plan::facts::Readiness;
use xdp_plan::installed::PodLabel;
use xdp_plan::report::Problem;

use super::error::ApplyError;
use super::raw::Raw;

/// No label.
pub(super) const NO_LABEL: Label = Label {
    len: 0,
    text: [0; LABEL_TEXT],
};

/// A label, if it fits.
pub(super) fn to_label(content: &impl Serialize) -> Result<Label, ApplyError> {
    let json = serde_json::to_vec(content).expect("labels are strings and numbers");
    let mut label = NO_LABEL;
    let too_long = ApplyError::LabelTooLong {
        bytes: json.len(),
        limit: LABEL_TEXT,
    };
    label
        .text
        .get_mut(..json.len())
        .ok_or(too_long)?
        .copy_from_slice(&json);
    label.len = json.len() as u32;
    Ok(label)
}

/// A pod's label; a message that is too long is cut, names and addresses never are.
pub(super) fn pod_label(content: &PodLabel) -> Result<Label, ApplyError> {
    let mut content = content.clone();
    loop {
        match (to_label(&content), &mut content.readiness) {
            (Err(_), Readiness::NotReady { message, .. }) if !message.is_empty() => halve(message),
            (result, _) => return result,
        }
    }
}

/// A problem's label; texts that are too long are cut, the longest first.
pub(super) fn problem_label(problem: &Problem) -> Option<Label> {
    let mut problem = problem.clone();
    loop {
        match to_label(&problem) {
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

/// Reads the labels `0..len`; what is no label any more is left out.
pub(super) fn read_labels<T: DeserializeOwned>(
    len: u32,
    get: impl Fn(u32) -> Result<Raw<Label>, MapError>,
) -> Result<BTreeMap<u32, T>, MapError> {
    let mut labels = BTreeMap::new();
    for index in 0..len {
        if let Some(label) = from_label(&get(index)?.0) {
            labels.insert(index, label);
        }
    }
    Ok(labels)
}

fn from_label<T: DeserializeOwned>(label: &Label) -> Option<T> {
    let text = label.text.get(..label.len as usize)?;
    serde_json::from_slice(text).ok()
}
