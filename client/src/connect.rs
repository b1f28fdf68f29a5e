//! The connection to the API server.

use kube::{Client, Config, config::InferConfigError};

/// The API server cannot be reached: the configuration is missing or invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a service account nor a kubeconfig exists.
    #[error("cannot connect to the API server; run in a pod with a service account, or set KUBECONFIG")]
    NoConfig(#[source] Box<InferConfigError>),
    /// The configuration is invalid.
    #[error("cannot connect to the API server: the configuration is invalid")]
    InvalidConfig(#[source] Box<kube::Error>),
}

/// Creates a client as the pod's service account, or as `KUBECONFIG` says. Sends no request.
pub async fn connect() -> Result<Client, ConnectError> {
    let config = Config::infer()
        .await
        .map_err(|error| ConnectError::NoConfig(Box::new(error)))?;
    Client::try_from(config).map_err(|error| ConnectError::InvalidConfig(Box::new(error)))
}
