//! The product on a real Kubernetes: installed by Helm, told what to do by `kubectl`.
//!
//! One cluster for all of it. A test that disturbs nobody begins with [`Installed::together`](xdp_e2e::installed), one
//! that does with `alone`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_objects;
mod deletion;
mod disruption;
mod held_back;
mod install;
mod language;
mod nics;
mod observability;
mod order;
mod peers;
mod privileges;
mod reply_path;
mod services;
mod validation;
mod world;
