//! The reply path: under the rules of a real kube-proxy, every flow of a pod with a policy works as without
//! one, independent of who opens and who translates it; and tracked flows bypass the stack in both
//! directions.

mod before;
mod ends;
mod everything;
mod exits;
mod gone;
mod older;
mod order;
mod own;
mod place;
mod refused;
mod restart;
mod reuse;
mod routes;
mod rules;
mod sender;
mod side;
mod sizes;
mod tables;
mod tunnels;
