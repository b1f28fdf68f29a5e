//! Parses Prometheus' text format.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xdp_kubernetes::Node;

use super::Installation;

/// The port of the agents' metrics.
pub const AGENT_METRICS: u16 = 9465;
/// The port of the operators' metrics.
pub const OPERATOR_METRICS: u16 = 8080;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The scraped text.
    pub text: String,
    samples: Vec<Sample>,
}

/// One sample of a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the series.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Installation {
    /// Scrapes a node's agent.
    pub fn agent_metrics(&self, node: &Node) -> anyhow::Result<Scrape> {
        self.scrape(SocketAddr::from((node.addresses.v4, AGENT_METRICS)))
    }

    /// Scrapes an operator's pod, given its object.
    pub fn operator_metrics(&self, pod: &Value) -> anyhow::Result<Scrape> {
        let address = pod["status"]["podIP"].as_str().context("no address yet")?;
        self.scrape(SocketAddr::new(address.parse()?, OPERATOR_METRICS))
    }

    /// Returns what `promtool check metrics` says about a scrape; nothing if it follows the conventions.
    pub fn promtool(&self, scrape: &Scrape) -> anyhow::Result<String> {
        let finished = self.run("checks", &["metrics"], Some(&scrape.text))?;
        Ok(finished.stdout + &finished.stderr)
    }

    fn scrape(&self, server: SocketAddr) -> anyhow::Result<Scrape> {
        let reply = self.get_metrics(server, Some(&self.reader_token()?))?;
        ensure!(
            reply.status == 200,
            "{server}/metrics: {} {}",
            reply.status,
            reply.body
        );
        Scrape::parse(reply.body)
    }
}

impl Scrape {
    /// Parses a scrape.
    pub fn parse(text: String) -> anyhow::Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines
            .map(|line| sample(line).with_context(|| format!("not a sample: {line}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { text, samples })
    }

    /// Returns all samples of this name that have these labels, and possibly others.
    pub fn find<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name && labels.iter().all(|label| sample.has(label)))
    }

    /// Returns the sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// Returns how many packets a policy's rule has counted for an action: `redirected`, `passed`, `dropped`,
    /// `rejected`, `limited`, `audited`, `fell_back`, `delivered`. `None` if the scrape has no such rule.
    pub fn rule_packets(&self, namespace: &str, (policy, rule): (&str, &str), action: &str) -> Option<u64> {
        let labels = [
            ("namespace", namespace),
            ("policy", policy),
            ("rule", rule),
            ("action", action),
        ];
        let mut found = self.find("xdp_agent_rule_packets_total", &labels);
        found.next().map(|sample| sample.value as u64)
    }
}

impl Sample {
    fn has(&self, (key, value): &(&str, &str)) -> bool {
        self.labels.get(*key).is_some_and(|own| own == value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.insert(key.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.split_whitespace().next()?.parse().ok()?,
    })
}

/// Parses a quoted value up to the closing quote. Returns the value and the text after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"}\"} 3\na{x=\"2\"} 4 1700\nb 0.5\n";
        let metrics = Scrape::parse(text.to_owned()).unwrap();
        assert!((metrics.sum("a", &[]) - 7.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a", &[("x", "1"), ("y", "q\"}")]) - 3.0).abs() < f64::EPSILON);
        assert!((metrics.sum("b", &[]) - 0.5).abs() < f64::EPSILON);
        assert_eq!(metrics.find("a", &[("z", "1")]).count(), 0);
        assert!(Scrape::parse("a{x=\"1} 3".to_owned()).is_err());
    }
}
