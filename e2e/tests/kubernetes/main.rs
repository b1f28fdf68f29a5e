//! Tests of the product on a real Kubernetes: installed by Helm, configured by `kubectl`.
//!
//! All tests share one cluster. A test that does not disturb others starts with
//! [`Installation::together`](xdp_e2e::installed), one that does with `alone`.
#![expect(clippy::print_stdout, reason = "helpers print what they measured")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_objects;
mod chart;
mod deletion;
mod disruption;
mod fanout;
mod fixture;
mod health;
mod install;
mod language;
mod network_policy;
mod nics;
mod observability;
mod order;
mod outdated;
mod peers;
mod privileges;
mod reply_path;
mod rights;
mod scrapes;
mod services;
mod tenants;
mod validation;
