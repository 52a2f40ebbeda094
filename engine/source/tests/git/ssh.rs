//! A remote over ssh, with a real server.

use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hookwright_core::port::{Location, Revisions};
use hookwright_core::{Blame, RemoteCredential, SecretValue};

use crate::{Place, Repo, location};

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(path: &Path) -> String {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().expect("ssh-keygen runs");
    assert!(made.success());
    std::fs::read_to_string(path).expect("a key")
}

/// A server that lets the owner of `client.pub` in as whoever runs the test.
fn serve(folder: &Path) -> Server {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("permissions");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n",
        at("host"),
        at("client.pub")
    );
    std::fs::write(folder.join("sshd_config"), settings).expect("settings");
    // sshd wants its folder for privilege separation when root starts it.
    let _ = std::fs::create_dir_all("/run/sshd");
    let mut child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("sshd is installed (package openssh-server)");
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening"));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let server = Server { child, port };
    assert!(ready, "sshd does not listen");
    server
}

#[tokio::test]
async fn a_remote_over_ssh_is_read_with_its_own_key_and_with_nothing_else_of_this_machine() {
    let place = Place::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (client, other) = (key(&folder.path().join("client")), key(&folder.path().join("other")));
    key(&folder.path().join("host"));
    let server = serve(folder.path());
    let repo = Repo::bare(folder.path().join("shop.git"));
    let commit = repo.commit("main", "one");
    let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id runs").stdout).expect("a name");
    let url = format!("ssh://{}@127.0.0.1:{}{}", user.trim(), server.port, repo.0.display());
    let with = |key: Option<&str>| {
        let credential = key.map(|key| RemoteCredential::SshKey(SecretValue::new(key)));
        Location { credential, ..location("shop", Some(&url)) }
    };

    let tip = place.source.tips(&with(Some(&client))).await.expect("readable").tips.remove(0);
    assert_eq!(tip.commit.as_str(), commit);
    let at = with(Some(&client));
    place.source.fetch(&at, &tip).await.expect("fetched");
    assert_eq!(place.source.tree(&at, &tip.commit).await.expect("readable").len(), 1);
    for refused in [with(Some(&other)), with(None)] {
        let error = place.source.tips(&refused).await.expect_err("refused");
        assert_eq!(error.blame, Blame::Failed, "{error}");
    }
    let known = std::fs::read_to_string(place.folder.path().join("known_hosts")).expect("the server's key is kept");
    assert!(known.contains("127.0.0.1"), "{known}");
    let left = std::fs::read_dir(place.folder.path().join("scratch")).expect("a folder").count();
    assert_eq!(left, 0, "no key stays on the disk");

    drop(server);
    std::fs::remove_file(folder.path().join("host")).expect("removed");
    key(&folder.path().join("host"));
    let impostor = serve(folder.path());
    let moved = url.replace(&format!(":{}/", at_port(&url)), &format!(":{}/", impostor.port));
    let known = known.replace(&format!("]:{}", at_port(&url)), &format!("]:{}", impostor.port));
    std::fs::write(place.folder.path().join("known_hosts"), known).expect("written");
    let error = place.source.tips(&Location { url: Some(moved), ..with(Some(&client)) }).await.expect_err("another server answers");
    assert!(error.message.to_lowercase().contains("host key"), "{error}");
}

fn at_port(url: &str) -> &str {
    url.rsplit_once("127.0.0.1:").and_then(|(_, rest)| rest.split('/').next()).expect("a port")
}
