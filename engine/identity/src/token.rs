//! What an ID token has to prove (OpenID Connect Core 1.0, 3.1.3.7).

use std::collections::HashSet;

use hookwright_core::{Digest, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::client::excerpt;
use crate::keys::fitting;

/// The algorithms that are taken at all. No `none`, and no shared secret: whoever knows a public key could sign with it.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How far the provider's clock may be from ours, in seconds.
const SKEW: i64 = 60;
/// How long ago a token may have been made, in seconds: it is fetched the moment it is made.
const OLDEST: i64 = 600;
/// The longest token, in bytes.
const LONGEST: usize = 64 << 10;

/// What a token is held against.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a str,
    pub(crate) nonce: &'a str,
    /// The algorithms that the provider says it signs with; `None`: it does not say.
    pub(crate) algorithms: Option<&'a [String]>,
    pub(crate) now: Timestamp,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its key is none of those that are known.
    UnknownKey,
    /// It does not prove what it has to; in words.
    Untrue(String),
}

fn untrue<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Untrue(text.into()))
}

/// Checks a token; returns what it says.
pub(crate) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Map<String, Value>, Refusal> {
    if token.len() > LONGEST {
        return untrue("it is too long");
    }
    let header = match decode_header(token) {
        Ok(header) => header,
        Err(error) => return untrue(format!("its header is not accepted ({})", excerpt(&error.to_string()))),
    };
    let offered = |names: &[String]| names.iter().any(|name| name.parse() == Ok(header.alg));
    if !ALGORITHMS.contains(&header.alg) || !expected.algorithms.is_none_or(offered) {
        return untrue(format!("it is signed with {:?}, which is not accepted", header.alg));
    }
    if header.crit.is_some() {
        return untrue("its header asks for what is not known here");
    }
    let keys = fitting(keys, header.alg, header.kid.as_deref());
    if keys.is_empty() {
        return Err(Refusal::UnknownKey);
    }
    let mut checks = Validation::new(header.alg);
    checks.set_issuer(&[expected.issuer]);
    checks.set_audience(&[expected.client]);
    checks.required_spec_claims = HashSet::from(["iss", "aud", "sub", "exp"].map(str::to_owned));
    // Time is looked at below, by our clock.
    checks.validate_exp = false;
    checks.validate_nbf = false;
    let mut why = String::new();
    for key in &keys {
        match decode::<Map<String, Value>>(token, key, &checks) {
            Ok(token) => return believed(token.claims, expected),
            Err(error) => why = excerpt(&error.to_string()),
        }
    }
    // Without an id all keys were tried, and the right one may be new.
    if header.kid.is_none() && why == "InvalidSignature" { Err(Refusal::UnknownKey) } else { untrue(format!("it does not hold ({why})")) }
}

/// What the signature, the issuer and the audience do not say.
fn believed(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Map<String, Value>, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // Some write seconds with a fraction.
    let seconds = |name: &str| claims.get(name).and_then(|value| value.as_i64().or_else(|| value.as_f64().map(|value| value as i64)));
    let now = expected.now.as_millis() / 1000;
    match seconds("exp") {
        Some(end) if now < end.saturating_add(SKEW) => {}
        Some(_) => return untrue("it is too old; do the clocks agree?"),
        None => return untrue("it does not say when it ends"),
    }
    if seconds("nbf").is_some_and(|begin| begin > now + SKEW) {
        return untrue("it is not valid yet; do the clocks agree?");
    }
    match seconds("iat") {
        Some(made) if made > now + SKEW => return untrue("it was made in the future; do the clocks agree?"),
        Some(made) if made < now - OLDEST => return untrue("it was made too long ago; do the clocks agree?"),
        Some(_) => {}
        None => return untrue("it does not say when it was made"),
    }
    // Compared as digests, so that the time it takes tells nothing.
    if text("nonce").map(Digest::of) != Some(Digest::of(expected.nonce)) {
        return untrue("it was made for another sign-in");
    }
    let many = claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    match claims.get("azp") {
        Some(Value::String(party)) if party == expected.client => {}
        None if !many => {}
        None => return untrue("it is for several clients and does not say which of them asked for it"),
        Some(_) => return untrue("another client asked for it"),
    }
    if text("sub").is_none_or(|subject| subject.is_empty() || subject.len() > 255) {
        return untrue("it names nobody");
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://a.example", client: "us", nonce: "n", algorithms: None, now: Timestamp::from_millis(1_000_000_000) };

    fn claims() -> Value {
        json!({ "iss": "https://a.example", "aud": "us", "sub": "rosa", "nonce": "n", "iat": 1_000_000, "exp": 1_000_300.5 })
    }

    fn token(header: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()));
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn keys(list: Value) -> Vec<Jwk> {
        serde_json::from_value(list).expect("keys")
    }

    #[test]
    fn signatures_of_other_curves_hold_with_their_own_key_and_with_no_other_purpose() {
        crate::signature::install();
        let random = SystemRandom::new();
        let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let edwards = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(edwards.public_key()) });
        let signed = token(json!({ "alg": "EdDSA" }), |message| edwards.sign(message).as_ref().to_vec());
        assert_eq!(verify(&signed, &keys(json!([public])), &EXPECTED).expect("a token that holds")["sub"], "rosa");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("a key");
        let curve = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        let point = curve.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..49]), URL_SAFE_NO_PAD.encode(&point[49..]));
        let other = json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y });
        let longer = token(json!({ "alg": "ES384" }), |message| curve.sign(&random, message).expect("a signature").as_ref().to_vec());
        assert!(verify(&longer, &keys(json!([public, other])), &EXPECTED).is_ok());
        assert_eq!(verify(&longer, &keys(json!([public])), &EXPECTED), Err(Refusal::UnknownKey));
        for (name, value) in [("use", json!("enc")), ("alg", json!("ES256"))] {
            let mut unfit = other.clone();
            unfit[name] = value;
            assert_eq!(verify(&longer, &keys(json!([unfit])), &EXPECTED), Err(Refusal::UnknownKey), "{name}");
        }
        let narrow = [String::from("RS256")];
        let refused = verify(&longer, &keys(json!([other])), &Expected { algorithms: Some(&narrow), ..EXPECTED });
        assert!(matches!(refused, Err(Refusal::Untrue(why)) if why.contains("ES384, which is not accepted")));
    }
}
