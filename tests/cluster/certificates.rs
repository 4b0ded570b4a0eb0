//! Certificates for tests, made by the `openssl` command.

use std::{fs, path::Path, process::Command};

/// Makes, in that directory, an authority `ca.pem`, `server.pem` for 127.0.0.1 and `client.pem`, with keys, and an authority `other-ca.pem` that
/// has signed neither. Says whether there is an `openssl`.
pub(crate) fn make(dir: &Path) -> bool {
    if Command::new("openssl").arg("version").output().is_err() {
        return false;
    }
    authority(dir, "ca");
    authority(dir, "other-ca");
    signed(dir, "server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
    signed(dir, "client", "subjectAltName=DNS:client\nextendedKeyUsage=clientAuth\n");
    true
}

fn authority(dir: &Path, name: &str) {
    let args = format!("req -x509 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem {KEY}");
    openssl(dir, &args);
}

fn signed(dir: &Path, name: &str, extensions: &str) {
    fs::write(dir.join("extensions"), extensions).expect("the extensions");
    openssl(dir, &format!("req -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr {KEY}"));
    let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
    openssl(dir, &format!("x509 -req -in {name}.csr -out {name}.pem {by}"));
}

/// Quick to make.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";

fn openssl(dir: &Path, args: &str) {
    let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("openssl");
    assert!(done.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&done.stderr));
}
