//! Replies: every flow of a pod under a policy works as without one, whoever opened it and whoever translates it, under
//! the rules of a real kube-proxy; and those that are ours never meet the stack.

mod ends;
mod everything;
mod gone;
mod older;
mod place;
mod refused;
mod restart;
mod reuse;
mod routes;
mod rules;
mod side;
mod sizes;
mod tables;
