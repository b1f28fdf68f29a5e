//! The API types of xdp-operator.
#![forbid(unsafe_code)]
