//! Network namespaces as clients, nodes and pods.
