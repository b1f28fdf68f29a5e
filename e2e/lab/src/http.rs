//! HTTP inside the lab: a client for any server, and a small server for pods.

mod client;
mod server;

pub use client::{HttpReply, HttpRequest, HttpSession};
pub use server::{HttpServer, SeenConnection, http_get};
