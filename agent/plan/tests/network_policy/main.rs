//! Policies of Kubernetes: what is certainly allowed, against a plain reading of the API's text, and as
//! facts.

mod agreement;
mod facts;
mod fixture;
mod foreign;
mod node;
mod oracle;
mod random;
mod unknown;
