//! What routes are bound with besides deployments and releases, which never change: subscriptions and the secrets of their signatures.
//! Whoever keeps routes asks with one statement whether anything of it has changed, however many there are.

use hookwright_core::Timestamp;

use crate::sql::args;
use crate::{Result, Store};

/// A state of all subscriptions and secrets. Another one means that any of them may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingStamp([i64; 7]);

const NAMES: [&str; 7] = ["subscriptions", "subscribed", "latest", "secrets", "set_at", "previous", "until"];

impl Store {
    /// The state at this moment; the values before those that were rotated count while they are accepted.
    pub async fn binding_stamp(&self, now: Timestamp) -> Result<BindingStamp> {
        const STAMP: &str = "SELECT subscriptions, subscribed, latest, secrets, set_at, previous, until FROM
            (SELECT COUNT(*) AS subscriptions, CAST(COALESCE(SUM(updated_at), 0) AS BIGINT) AS subscribed,
                COALESCE(MAX(updated_at), 0) AS latest FROM subscriptions) AS one,
            (SELECT COUNT(*) AS secrets, CAST(COALESCE(SUM(updated_at), 0) AS BIGINT) AS set_at FROM secrets) AS two,
            (SELECT COUNT(*) AS previous, CAST(COALESCE(SUM(until), 0) AS BIGINT) AS until FROM previous_secrets WHERE until > $1) AS three";
        let mut stamp = BindingStamp::default();
        if let Some(row) = self.fetch_optional(STAMP, args![now]).await? {
            for (value, name) in stamp.0.iter_mut().zip(NAMES) {
                *value = row.integer(name)?;
            }
        }
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Duration;

    use hookwright_core::status::SubscriptionStatus;
    use hookwright_core::{Clock, ConfigName, EnvironmentName, IdSource, SecretValue, Subscription, TriggerPlace, WebhookName};
    use hookwright_testkit::Database;

    use super::*;
    use crate::{SecretKey, StoreOptions};

    /// A clock that is a millisecond later whenever it is asked, and ids that count.
    #[derive(Default)]
    struct Ticking(AtomicI64, AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl IdSource for Ticking {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::from_u128(u128::from(self.1.fetch_add(1, Ordering::Relaxed)) + 1)
        }
    }

    #[tokio::test]
    async fn whatever_changes_of_subscriptions_and_secrets_changes_the_stamp_and_time_alone_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::of_the_environment();
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let ticking = Arc::new(Ticking::default());
        let options = StoreOptions { url, clock: ticking.clone(), ids: ticking, key, failpoint: None };
        let store = Store::open(options).await.expect("a store");
        let webhook: WebhookName = "shop".parse().expect("a name");
        let environment: EnvironmentName = "production".parse().expect("a name");
        let name: ConfigName = "TOKEN".parse().expect("a name");
        let (at, value) = ((&webhook, &environment), SecretValue::new("swordfish"));
        let until = Timestamp::from_millis(1_000_000);

        let mut seen = store.binding_stamp(Timestamp::from_millis(100_000)).await.expect("a stamp");
        let mut changed = async |what: &str| {
            let stamp = store.binding_stamp(Timestamp::from_millis(100_000)).await.expect("a stamp");
            assert_ne!(seen, stamp, "{what} is not seen");
            seen = stamp;
        };
        let place = TriggerPlace { webhook: webhook.clone(), environment: environment.clone(), trigger: "issues".parse().expect("a name") };
        let mut tx = store.begin().await.expect("a transaction");
        let made = tx.subscription_ensure(&place, "github", SubscriptionStatus::Manual).await.expect("a subscription");
        tx.commit("subscription.created").await.expect("a commit");
        changed("a new subscription").await;
        let mut tx = store.begin().await.expect("a transaction");
        tx.subscription_update(&Subscription { status: SubscriptionStatus::Off, ..made.clone() }).await.expect("an update");
        tx.commit("subscription.written").await.expect("a commit");
        changed("a subscription that is switched off").await;
        let mut tx = store.begin().await.expect("a transaction");
        store.subscription_secret_set(&mut tx, made.id, &value).await.expect("a secret");
        tx.commit("subscription.written").await.expect("a commit");
        changed("a secret that a source handed out").await;
        for what in ["a new secret", "another value of a secret"] {
            let mut tx = store.begin().await.expect("a transaction");
            store.secret_set_in(&mut tx, at, &name, &value).await.expect("a secret");
            tx.commit("secret.set").await.expect("a commit");
            changed(what).await;
        }
        let mut tx = store.begin().await.expect("a transaction");
        store.secret_rotate_in(&mut tx, at, &name, (&value, until)).await.expect("a secret");
        tx.commit("secret.set").await.expect("a commit");
        changed("a rotated secret").await;

        let before = store.binding_stamp(Timestamp::from_millis(100_000)).await.expect("a stamp");
        assert_eq!(store.binding_stamp(Timestamp::from_millis(999_999)).await.expect("a stamp"), before, "time alone changes nothing");
        assert_ne!(store.binding_stamp(until).await.expect("a stamp"), before, "the value before is not accepted any more");
        let mut tx = store.begin().await.expect("a transaction");
        assert!(store.secret_delete_in(&mut tx, at, &name).await.expect("a deletion"));
        tx.commit("secret.removed").await.expect("a commit");
        changed("a removed secret").await;
        store.close().await;
    }
}
