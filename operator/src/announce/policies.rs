//! Events about policies.

use std::{collections::BTreeMap, time::Instant};

use xdp_client::object::ObjectName;
use xdp_crds::{
    API_VERSION, XdpPolicyStatus,
    conditions::{ACCEPTED, PROGRAMMED, programmed},
};

use super::{Note, PATIENCE, bounded};
use crate::{status, world::PolicyObject};

/// What has been announced of each policy, by its uid.
#[derive(Debug, Default)]
pub struct Policies {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    announced: Option<News>,
    /// What fails, and since when.
    failing: Option<(News, Instant)>,
}

/// Something that can be news. What passes by itself is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Refused { message: String },
    Programmed { generation: i64 },
    Failing { reason: String },
}

impl Policies {
    /// Looks at the stored status of a policy. Returns what is to be announced, and when to look again if something
    /// fails that may yet pass.
    pub fn look(
        &mut self,
        name: &ObjectName,
        policy: &PolicyObject,
        now: Instant,
    ) -> (Option<Note>, Option<Instant>) {
        let news = policy.status.as_ref().and_then(news);
        let Some(known) = self.known.get_mut(&policy.uid) else {
            let announced = news;
            let failing = None;
            self.known
                .insert(policy.uid.clone(), Known { announced, failing });
            return (None, None);
        };
        let Some(news) = news.filter(|news| known.announced.as_ref() != Some(news)) else {
            known.failing = None;
            return (None, None);
        };
        if let Some(wait) = known.patience(&news, now) {
            return (None, Some(wait));
        }
        known.failing = None;
        known.announced = Some(news.clone());
        (note(name, policy, &news), None)
    }

    /// Forgets policies that are gone.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.known.retain(|uid, _| exists(uid));
    }
}

impl Known {
    /// Until when to wait whether it passes.
    fn patience(&mut self, news: &News, now: Instant) -> Option<Instant> {
        if !matches!(news, News::Failing { .. }) {
            return None;
        }
        let since = match &self.failing {
            Some((failing, since)) if failing == news => *since,
            _ => now,
        };
        self.failing = Some((news.clone(), since));
        let until = since + PATIENCE;
        (now < until).then_some(until)
    }
}

fn news(status: &XdpPolicyStatus) -> Option<News> {
    let accepted = status::find(&status.conditions, ACCEPTED)?;
    let programmed = status::find(&status.conditions, PROGRAMMED)?;
    if accepted.status == "False" {
        let message = accepted.message.clone();
        return Some(News::Refused { message });
    }
    match programmed.reason.as_str() {
        programmed::PROGRAMMED => Some(News::Programmed {
            generation: programmed.observed_generation.unwrap_or_default(),
        }),
        programmed::NO_PODS => None,
        reason if status::is_passing(reason) => None,
        reason => Some(News::Failing {
            reason: reason.to_owned(),
        }),
    }
}

fn note(name: &ObjectName, policy: &PolicyObject, news: &News) -> Option<Note> {
    let conditions = &policy.status.as_ref()?.conditions;
    let (kind, action) = match news {
        News::Refused { .. } => (ACCEPTED, "Validate"),
        News::Programmed { .. } | News::Failing { .. } => (PROGRAMMED, "Program"),
    };
    let condition = status::find(conditions, kind)?;
    Some(Note {
        kind: "XdpPolicy",
        api_version: API_VERSION,
        name: name.clone(),
        uid: policy.uid.clone(),
        warning: !matches!(news, News::Programmed { .. }),
        reason: condition.reason.clone(),
        action,
        text: bounded(&condition.message),
        topic: format!("{} {}", policy.generation, condition.reason),
    })
}
