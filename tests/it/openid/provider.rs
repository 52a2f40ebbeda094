//! An OpenID provider that a test tells what to say. It keeps to the protocol (codes are for once, PKCE is compared, the client proves itself) until it is
//! told otherwise.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookwright_testkit::DaemonOptions;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) const SECRET: &str = "canary-client-secret-2c7f";

/// How a token is made out of what it should say.
pub(super) type Maker = Box<dyn Fn(&Key, Value) -> String + Send>;

/// What a test changes.
pub(super) struct Script {
    pub(super) subject: String,
    pub(super) name: Value,
    pub(super) groups: Value,
    /// Made of the right claims; `None`: signed as it should be.
    pub(super) maker: Option<Maker>,
    pub(super) keys: Vec<Key>,
    /// Which answer is replaced by this text, with which status.
    pub(super) instead: Option<(&'static str, u16, String)>,
    /// Which address gets no answer.
    pub(super) silent: Option<&'static str>,
    /// How often the keys were read.
    pub(super) key_reads: usize,
    codes: HashMap<String, HashMap<String, String>>,
}

/// A key with its id.
pub(super) struct Key {
    pub(super) id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(super) fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        Self { id: id.to_owned(), pair }
    }

    /// As the provider publishes it.
    pub(super) fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y })
    }

    /// The bytes that whoever confuses algorithms would take for a shared secret.
    pub(super) fn point(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = parts(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token as it should be.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" }), claims)
    }
}

/// The two parts that are signed.
pub(super) fn parts(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A running provider.
pub(super) struct Provider {
    pub(super) address: String,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let script = Script {
            subject: "sub-rosa".to_owned(),
            name: json!("rosa"),
            groups: json!(["leads", "staff"]),
            maker: None,
            keys: vec![Key::new("one")],
            instead: None,
            silent: None,
            key_reads: 0,
            codes: HashMap::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let (shared, issuer) = (Arc::clone(&script), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, issuer) = (Arc::clone(&shared), issuer.clone());
                std::thread::spawn(move || answer(stream, &script, &issuer));
            }
        });
        Self { address, script }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who signs in next.
    pub(super) fn person(&self, subject: &str, name: &str, groups: &[&str]) {
        let mut script = self.script();
        script.subject = subject.to_owned();
        (script.name, script.groups) = (json!(name), json!(groups));
    }

    /// A daemon that people sign in at here: leads approve, staff look.
    pub(super) fn known_to(&self, options: DaemonOptions, public_url: &str) -> DaemonOptions {
        options
            .variable("HOOKWRIGHT_PUBLIC_URL", public_url)
            .variable("HOOKWRIGHT_OPENID_ISSUER", &self.address)
            .variable("HOOKWRIGHT_OPENID_CLIENT_ID", "hookwright")
            .variable("HOOKWRIGHT_OPENID_CLIENT_SECRET", SECRET)
            .variable("HOOKWRIGHT_OPENID_LABEL", "Acme")
            .variable("HOOKWRIGHT_OPENID_ROLES", "[{ group: leads, role: approver, teams: [acme/leads] }, { group: staff, role: viewer }]")
    }
}

/// What a query or a form holds.
fn pairs(text: &str) -> HashMap<String, String> {
    reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query").query_pairs().into_owned().collect()
}

fn answer(stream: TcpStream, script: &Mutex<Script>, issuer: &str) {
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let mut found = lines.iter().filter_map(|line| line.split_once(": "));
        found.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let target = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut body = vec![0; header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    if script.silent == Some(path) {
        drop(script);
        // Until the other side gives up.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = reader.read(&mut [0]);
        return;
    }
    let form = pairs(&String::from_utf8_lossy(&body));
    let (status, location, text) = match (&script.instead, path) {
        (Some((which, status, text)), path) if *which == path => (*status, None, text.clone()),
        (_, "/.well-known/openid-configuration") => (200, None, discovery(issuer)),
        (_, "/keys") => {
            script.key_reads += 1;
            (200, None, json!({ "keys": script.keys.iter().map(Key::public).collect::<Vec<_>>() }).to_string())
        }
        (_, "/authorize") => (302, Some(authorize(&mut script, pairs(query))), String::new()),
        (_, "/token") => match token(&mut script, &form, header("authorization"), issuer) {
            Ok(token) => (200, None, json!({ "token_type": "Bearer", "access_token": "a", "id_token": token }).to_string()),
            Err(error) => (400, None, json!({ "error": error }).to_string()),
        },
        _ => (404, None, String::new()),
    };
    drop(script);
    let location = location.map(|location| format!("Location: {location}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: application/json\r\n{location}Connection: close\r\n\r\n",
        text.len()
    );
    let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(text.as_bytes()));
}

fn discovery(issuer: &str) -> String {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "end_session_endpoint": format!("{issuer}/end"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    })
    .to_string()
}

/// Where the browser goes with a new code.
fn authorize(script: &mut Script, asked: HashMap<String, String>) -> String {
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    let code = format!("code-{}", script.codes.len());
    let mut back = reqwest::Url::parse(&asked["redirect_uri"]).expect("an address");
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]);
    script.codes.insert(code, asked);
    back.into()
}

/// The ID token for a code.
fn token(script: &mut Script, form: &HashMap<String, String>, authorization: Option<String>, issuer: &str) -> Result<String, &'static str> {
    let client = STANDARD.encode(format!("hookwright:{SECRET}"));
    if authorization != Some(format!("Basic {client}")) {
        return Err("invalid_client");
    }
    let asked = script.codes.get(&form["code"]).cloned().filter(|asked| !asked.is_empty()).ok_or("invalid_grant")?;
    script.codes.insert(form["code"].clone(), HashMap::new());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if challenge != asked["code_challenge"] || form["redirect_uri"] != asked["redirect_uri"] {
        return Err("invalid_grant");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let claims = json!({
        "iss": issuer, "aud": "hookwright", "sub": script.subject, "nonce": asked["nonce"], "iat": now, "exp": now + 300,
        "preferred_username": script.name, "groups": script.groups,
    });
    let key = script.keys.last().expect("a key");
    Ok(match &script.maker {
        Some(maker) => maker(key, claims),
        None => key.token(&claims),
    })
}
