//! How the servers are reached: [`Credentials`], [`Tls`], and both with the rest as [`Access`].

use std::{path::PathBuf, time::Duration};

use super::error::{ClusterError, ClusterErrorKind};

/// Who a program is to the servers.
///
/// The default is nobody in particular, which servers without users accept. What a user is permitted is set at the servers: `docs/cluster/`
/// has files for producers, nodes and administrators. `Debug` tells which kind it is and no secret.
///
/// # Examples
///
/// ```
/// use heavylift::cluster::Credentials;
///
/// let producer = Credentials::user("producer", "open sesame");
/// assert_eq!(format!("{producer:?}"), "Credentials(user and password)");
/// ```
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

impl Credentials {
    /// A user with a password.
    pub fn user(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Who::User { name: name.into(), password: password.into() })
    }

    /// The seed of an nkey: `SU…`, as `nk -gen user` makes it. The servers know its public half; the seed never travels.
    pub fn nkey(seed: impl Into<String>) -> Self {
        Self(Who::Nkey { seed: seed.into() })
    }

    /// A file with a user's JWT and seed, as `nsc generate creds` makes it. It is read when connecting.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Who::File(path.into()))
    }
}

/// How the connection is encrypted: a server without TLS is refused then.
///
/// The default trusts the roots of the operating system and shows no certificate. Files are PEM, and read when connecting.
///
/// # Examples
///
/// ```
/// use heavylift::cluster::Tls;
///
/// let tls = Tls::new().roots("/etc/heavylift/ca.pem").client_certificate("/etc/heavylift/node.pem", "/etc/heavylift/node.key");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tls {
    pub(super) roots: Option<PathBuf>,
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts the roots of the operating system, and shows no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates of this file in place of those of the operating system.
    #[must_use]
    pub fn roots(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Some(path.into());
        self
    }

    /// Shows this certificate to servers that ask for one (`verify: true`), with its private key.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((certificate.into(), key.into()));
        self
    }
}

/// The settings of an [`Access`], for who has one as `access`: pools, nodes and administrators are told in the same words.
macro_rules! access_settings {
    ($builder:ident) => {
        /// How the servers are reached.
        impl $builder {
            /// Who this program is to the servers. Default: nobody in particular.
            pub fn credentials(mut self, credentials: $crate::cluster::Credentials) -> Self {
                self.access.credentials = credentials;
                self
            }

            /// How the connection is encrypted. Default: as the addresses and the servers want it, with the roots of the operating system.
            pub fn tls(mut self, tls: $crate::cluster::Tls) -> Self {
                self.access.tls = Some(tls);
                self
            }

            /// What all names on the servers begin with, the same for pools, nodes and the topology that belong together: 1 to 32
            /// characters of `A-Z a-z 0-9 _ -`. Default: `heavylift`.
            ///
            /// Clusters with different prefixes share servers without seeing each other. Streams are named in capitals with `_` for `-`.
            pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
                self.access.prefix = prefix.into();
                self
            }

            /// How long it may take to connect at first; a connection that is lost later is tried again for ever. Default: 5 s.
            pub fn connect_timeout(mut self, limit: std::time::Duration) -> Self {
                self.access.connect_timeout = limit;
                self
            }
        }
    };
}
pub(super) use access_settings;

/// What pools, nodes and administrators need to reach the servers.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) servers: Vec<String>,
    pub(super) credentials: Credentials,
    pub(super) tls: Option<Tls>,
    pub(super) prefix: String,
    /// How long it may take to connect.
    pub(super) connect_timeout: Duration,
}

/// The prefix of all names unless told otherwise.
pub(super) const DEFAULT_PREFIX: &str = "heavylift";
/// How long it may take to connect unless told otherwise.
pub(super) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const LONGEST_PREFIX: usize = 32;
const LONGEST_QUEUE: usize = 64;

impl Access {
    pub(super) fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            credentials: Credentials::default(),
            tls: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }

    /// # Errors
    ///
    /// A setting is wrong; the text names it and its limit.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if self.servers.is_empty() {
            return Err(setting("`servers` must name at least one, as in nats://host:4222"));
        }
        for server in &self.servers {
            check_server(server)?;
        }
        check_name("prefix", &self.prefix, LONGEST_PREFIX)?;
        if self.connect_timeout.is_zero() {
            return Err(setting("`connect_timeout` must be longer than 0"));
        }
        Ok(())
    }
}

/// `[A-Za-z0-9_-]{1,64}`.
///
/// # Errors
///
/// It is not.
pub(super) fn check_queue(queue: &str) -> Result<(), ClusterError> {
    check_name("queue", queue, LONGEST_QUEUE)
}

fn check_name(field: &str, name: &str, longest: usize) -> Result<(), ClusterError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > longest || !name.chars().all(fits) {
        let text =
            format!("`{field}` must be 1 to {longest} characters of A-Z, a-z, 0-9, _ and -, not {name:?}");
        return Err(setting(text));
    }
    Ok(())
}

/// A scheme that is known, a host, and a port if any.
fn check_server(server: &str) -> Result<(), ClusterError> {
    if server.contains('@') {
        let shown = without_user(server);
        return Err(setting(format!(
            "`servers` must not hold a user, as that of {shown:?} does: set `credentials`"
        )));
    }
    let (scheme, host) = server.split_once("://").unwrap_or(("nats", server));
    let (name, port) = match host.rsplit_once(':') {
        // The last part of an IPv6 address is no port.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let bad_port = port.is_some_and(|port| port.parse::<u16>().is_err());
    let bad_name = name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/' || c == ',');
    if !matches!(scheme, "nats" | "tls") || bad_port || bad_name {
        return Err(setting(format!(
            "`servers` must be like nats://host:4222 or tls://host:4222, not {server:?}"
        )));
    }
    Ok(())
}

/// A server's address without what may stand before an `@`: it may be a password.
fn without_user(server: &str) -> &str {
    server.rsplit_once('@').map_or(server, |(_, host)| host)
}

fn setting(text: impl Into<String>) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Setting, text)
}

impl std::fmt::Debug for Access {
    /// Tells no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|server| without_user(server)).collect();
        f.debug_struct("Access")
            .field("servers", &servers)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(servers: &[&str], prefix: &str) -> String {
        let mut access = Access::new(servers.iter().copied());
        access.prefix = prefix.to_owned();
        access.check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_limit() {
        assert_eq!(said(&["nats://a:4222", "tls://b", "c:1", "[::1]", "nats://[::1]:4222"], "my-app_1"), "");
        assert!(said(&[], "a").contains("`servers`"));
        for bad in [
            "",
            "http://a",
            "nats://",
            "a:99999",
            "a b",
            "nats://a/b",
            "a,b",
            "nats://user:secret@a:1",
            "secret@",
        ] {
            let said = said(&[bad], "a");
            assert!(said.contains("`servers`") && !said.contains("secret"), "{bad}: {said}");
        }
        for bad in ["", "a.b", "a*", "ä", "a b", &"x".repeat(33)] {
            let said = said(&["a"], bad);
            assert!(said.contains("`prefix`") && said.contains("32"), "{bad}: {said}");
        }
        assert!(check_queue(&"x".repeat(64)).is_ok());
        assert!(check_queue(&"x".repeat(65)).unwrap_err().to_string().contains("64"));
    }

    #[test]
    fn secrets_are_not_in_debug() {
        for secret in [Credentials::user("who", "hush"), Credentials::nkey("hush"), Credentials::file("hush")]
        {
            let mut access = Access::new(["nats://who:hush@a"]);
            access.credentials = secret;
            let text = format!("{access:?}");
            assert!(!text.contains("hush") && !text.contains("who"), "{text}");
        }
    }
}
