//! One attempt: the request to the handler, signed so that it can verify us, and what its answer means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookwright_core::port::{AttemptMade, Meter};
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Attempt, AttemptAnswer, Clock, Delivery, DeliveryPolicy, Event, SecretValue, hide, redact};
use hookwright_store::{AttemptEnd, Inbox};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use sha2::Sha256;
use tracing::error;

use super::backoff::{Pause, retry_after};
use crate::handlers::{Failure, Handlers};
use crate::headers;
use crate::load::Load;

/// What is kept of an answer.
const KEPT: usize = 16 << 10;

/// What is read of an answer; then the connection is closed.
const READ: usize = 1 << 20;

/// How long the writing of an attempt's end waits before it is tried again.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// A source's own Standard Webhooks headers reach the handler under this prefix, because those names are ours.
const ORIGINAL: &str = "x-original-";

/// Makes attempts. Cloning it clones handles.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) handlers: Handlers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inbox: Inbox,
    pub(crate) meter: Arc<dyn Meter>,
}

/// Where an attempt goes.
pub(crate) struct Towards<'a> {
    pub(crate) backend: SocketAddr,
    pub(crate) policy: &'a DeliveryPolicy,
    pub(crate) key: &'a SecretValue,
    /// Where the attempt is counted.
    pub(crate) load: &'a Load,
    /// Less than the policy's, when somebody waits for the answer.
    pub(crate) timeout: Duration,
}

/// An answer, whole enough to be passed on.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sender {
    /// Sends an event once. The attempt is made whatever comes of it.
    pub(crate) async fn send(&self, delivery: &Delivery, event: &Event, towards: &Towards<'_>) -> (Attempt, Option<Answered>) {
        let (started_at, began) = (self.clock.now(), self.clock.monotonic());
        let number = delivery.attempts + 1;
        let answered = match self.request(delivery, event, towards) {
            Ok(request) => self.exchange(request, towards).await,
            Err(error) => Err(format!("the event cannot be sent: {error}")),
        };
        let took = self.clock.monotonic().saturating_sub(began);
        towards.load.count(answered.as_ref().ok().map(|answered| answered.status), took);
        let mut attempt = Attempt {
            delivery: delivery.id,
            number,
            started_at,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            answer: None,
            error: None,
        };
        match answered {
            Ok(answered) => {
                attempt.answer = Some(recorded(&answered, event));
                (attempt, Some(answered))
            }
            Err(error) => {
                attempt.error = Some(error);
                (attempt, None)
            }
        }
    }

    /// What an attempt means for its delivery.
    pub(crate) fn judge(&self, delivery: &Delivery, attempt: Attempt, policy: &DeliveryPolicy) -> AttemptEnd {
        let now = self.clock.now();
        let status = attempt.answer.as_ref().map(|answer| answer.status);
        let mut after = Delivery { attempts: attempt.number, ended_at: Some(now), ..delivery.clone() };
        let what = match (status, &attempt.error) {
            (Some(status), _) => format!("the handler answered {status}"),
            (None, error) => error.clone().unwrap_or_default(),
        };
        if status.is_some_and(|status| (200..300).contains(&status)) {
            (after.status, after.status_reason) = (DeliveryStatus::Delivered, None);
        } else if status == Some(410) {
            (after.status, after.status_reason) = (DeliveryStatus::Dead, Some(format!("{what}: it does not want it")));
        } else if attempt.number >= policy.attempts {
            let reason = format!("{what}; that was the last of {} attempts", policy.attempts);
            (after.status, after.status_reason) = (DeliveryStatus::Dead, Some(reason));
        } else {
            let asked = attempt.answer.as_ref().and_then(|answer| {
                let (_, value) = answer.headers.iter().find(|(name, _)| name == "retry-after")?;
                retry_after(value, now)
            });
            let pause = Pause { attempts: attempt.number, exponential: policy.exponential, asked }.length(random());
            (after.status, after.status_reason) = (DeliveryStatus::Waiting, Some(what));
            (after.due_at, after.ended_at) = (now.plus(pause), None);
        }
        AttemptEnd { attempt: Some(attempt), delivery: after, from: delivery.status }
    }

    fn count(&self, end: &AttemptEnd) {
        let AttemptEnd { delivery, attempt, .. } = end;
        if attempt.is_some() {
            let place = (delivery.place.webhook.as_str(), delivery.place.environment.as_str());
            let took = self.clock.now().since(delivery.created_at);
            self.meter.attempt_made(AttemptMade { place, status: delivery.status, took });
        }
    }

    /// Writes the end of an attempt, however long the database refuses: forgetting it would make the attempt twice.
    pub(crate) async fn record(&self, end: AttemptEnd) {
        loop {
            match self.inbox.attempt_ended(end.clone()).await {
                Ok(_) => return self.count(&end),
                Err(hookwright_store::Error::Ended) => return,
                Err(failure) => {
                    error!(error = &failure as &dyn std::error::Error, delivery = %end.delivery.id, "the end of an attempt could not be written");
                }
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }

    fn request(&self, delivery: &Delivery, event: &Event, towards: &Towards<'_>) -> Result<Request<Body>, http::Error> {
        let mut request = Request::builder().method(Method::POST).uri(&towards.policy.path).body(Body::from(event.body.clone()))?;
        *request.headers_mut() = passed_on(&event.headers);
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&towards.backend.to_string())?);
        let seconds = self.clock.now().as_millis().div_euclid(1000);
        let id = delivery.id.to_string();
        let own = [
            ("webhook-id", id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature(towards.key, (&id, seconds), &event.body)),
            ("x-hookwright-event", event.id.to_string()),
            ("x-hookwright-event-type", event.kind.clone()),
            ("x-hookwright-trigger", delivery.place.trigger.to_string()),
            ("x-hookwright-attempt", (delivery.attempts + 1).to_string()),
            ("x-hookwright-replay", delivery.replay.to_string()),
            ("x-hookwright-redacted", event.redacted.to_string()),
        ];
        for (name, value) in own {
            // The type comes from the source; what is no header value is left out.
            if let Ok(value) = HeaderValue::from_str(&value) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Body>, towards: &Towards<'_>) -> Result<Answered, String> {
        let limit = towards.timeout;
        let exchange = async {
            let answer = self.handlers.send(towards.backend, request).await.map_err(|failure| {
                let what = match failure {
                    Failure::Connect => "the handler does not accept connections",
                    Failure::Exchange(_) => "the handler closed the connection",
                };
                what.to_owned()
            })?;
            let (parts, mut body) = answer.into_parts();
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| "the handler broke its answer off".to_owned())?;
                read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
                if read.len() > READ {
                    read.truncate(READ);
                    break;
                }
            }
            Ok(Answered { status: parts.status, headers: parts.headers, body: read.freeze() })
        };
        let late = |_| format!("the handler took longer than {} s", limit.as_secs_f32());
        tokio::time::timeout(limit, exchange).await.map_err(late)?
    }
}

/// The headers of an event as the handler gets them.
fn passed_on(stored: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in stored {
        let name =
            if name.starts_with("webhook-") || name.starts_with("x-hookwright-") { format!("{ORIGINAL}{name}") } else { name.clone() };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            map.append(name, value);
        }
    }
    headers::strip_hop_by_hop(&mut map);
    headers::strip_ours(&mut map);
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT, header::ACCEPT_ENCODING] {
        map.remove(name);
    }
    map
}

/// The signature of Standard Webhooks 1.0.0 over `id.timestamp.body`.
fn signature(key: &SecretValue, (id, seconds): (&str, i64), body: &[u8]) -> String {
    let key = key.expose();
    let bytes = STANDARD.decode(key.strip_prefix("whsec_").unwrap_or(key)).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// What is kept of an answer. What nobody is to see of an event is hidden where the handler repeats it.
fn recorded(answered: &Answered, event: &Event) -> AttemptAnswer {
    let values = redact(&event.redact, event.content_type(), &event.body).values;
    // Hidden before the rest is cut away, so that no half of a value is left.
    let body = hide(&values, &String::from_utf8_lossy(&answered.body));
    let end = body.char_indices().map(|(at, character)| at + character.len_utf8()).take_while(|end| *end <= KEPT).last().unwrap_or(0);
    let headers = texts(&answered.headers).into_iter().map(|(name, value)| (name, hide(&values, &value))).collect();
    AttemptAnswer { status: answered.status.as_u16(), headers, body: body[..end].to_owned() }
}

/// Headers as texts, those that are none left out.
pub(crate) fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// Any number; without randomness the middle one.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_signed_as_the_published_vector_of_standard_webhooks_says() {
        let key = SecretValue::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signature(&key, ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330), br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_sources_own_signature_reaches_the_handler_under_another_name_and_nothing_of_its_connection_does() {
        let stored = [
            ("webhook-signature", "v1,x"),
            ("x-github-event", "push"),
            ("connection", "x-gone"),
            ("x-gone", "1"),
            ("host", "h"),
            ("webhook_id", "forged"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        let map = passed_on(&stored.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(map["x-original-webhook-signature"], "v1,x");
        assert_eq!(map["x-github-event"], "push");
        assert_eq!(map.len(), 2);
    }
}
