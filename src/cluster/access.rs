//! How the servers are reached: [`Credentials`], [`Tls`], and both with the rest as [`Access`].

use std::{path::PathBuf, time::Duration};

/// Who a program is to the servers.
#[derive(Clone, Default)]
pub struct Credentials(pub(super) Who);

#[derive(Clone, Default)]
pub(super) enum Who {
    #[default]
    Anybody,
    User {
        name: String,
        password: String,
    },
    Nkey {
        seed: String,
    },
    File(PathBuf),
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    pub(super) roots: Option<PathBuf>,
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// What pools, nodes and administrators need to reach the servers.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) servers: Vec<String>,
    pub(super) credentials: Credentials,
    pub(super) tls: Option<Tls>,
    pub(super) prefix: String,
    /// How long it may take to connect.
    pub(super) connect_timeout: Duration,
}

impl std::fmt::Debug for Credentials {
    /// Tells no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match &self.0 {
            Who::Anybody => "anybody",
            Who::User { .. } => "user and password",
            Who::Nkey { .. } => "nkey",
            Who::File(_) => "credentials file",
        };
        write!(f, "Credentials({text})")
    }
}
