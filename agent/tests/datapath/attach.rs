//! Attaching natively, adopting, and leaving others' programs alone.
