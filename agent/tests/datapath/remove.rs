//! Uninstalling.
