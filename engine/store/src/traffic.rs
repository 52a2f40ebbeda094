//! Traffic by deployment and minute.

use std::collections::{BTreeMap, HashMap};

use hookwright_core::{DeploymentId, EnvironmentName, Timestamp, Traffic, WebhookName};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

const FETCH: &str = "SELECT requests, errors, latency FROM traffic WHERE deployment = $1 AND minute = $2";
const SET: &str = "INSERT INTO traffic (deployment, minute, requests, errors, latency) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (deployment, minute) DO UPDATE SET requests = excluded.requests, errors = excluded.errors, latency = excluded.latency";
const BOARD: &str = "SELECT deployments.webhook AS webhook, deployments.environment AS environment, traffic.minute / $1 AS step,
    CAST(SUM(traffic.requests) AS BIGINT) AS requests, CAST(SUM(traffic.errors) AS BIGINT) AS errors
    FROM traffic JOIN deployments ON deployments.id = traffic.deployment WHERE traffic.minute >= $2
    GROUP BY deployments.webhook, deployments.environment, traffic.minute / $1";
const PLACE: &str = "SELECT traffic.minute AS minute, traffic.requests AS requests, traffic.errors AS errors, traffic.latency AS latency
    FROM traffic JOIN deployments ON deployments.id = traffic.deployment
    WHERE deployments.webhook = $1 AND deployments.environment = $2 AND traffic.minute >= $3";
const SUM: &str = "SELECT CAST(COALESCE(SUM(traffic.requests), 0) AS BIGINT) AS requests,
    CAST(COALESCE(SUM(traffic.errors), 0) AS BIGINT) AS errors
    FROM traffic JOIN deployments ON deployments.id = traffic.deployment
    WHERE deployments.webhook = $1 AND deployments.environment = $2 AND traffic.minute >= $3";
const EXPIRE: &str = "DELETE FROM traffic WHERE minute < $1";

/// The stretch of `step_minutes` that a time is in, counted from 1970.
pub fn traffic_step(at: Timestamp, step_minutes: i64) -> i64 {
    at.as_millis() / MINUTE / step_minutes
}

/// Requests and errors by stretch.
pub type Strip = BTreeMap<i64, (u64, u64)>;

fn traffic(row: &Row) -> Result<Traffic> {
    let text = row.text("latency")?;
    let mut latency = Traffic::default().latency;
    let counts: Vec<&str> = text.split(',').collect();
    for (count, text) in latency.iter_mut().zip(counts) {
        *count = text.parse().map_err(|_| Error::Corrupt { column: "latency", message: format!("`{text}` is no count") })?;
    }
    Ok(Traffic { requests: row.number("requests")?, errors: row.number("errors")?, latency })
}

impl Store {
    /// Adds what passed to deployments to the minute that `at` is in, in one transaction.
    pub async fn traffic_add(&self, at: Timestamp, passed: &[(DeploymentId, Traffic)]) -> Result<()> {
        let minute = traffic_step(at, 1);
        let mut tx = self.begin().await?;
        for (deployment, more) in passed {
            let mut sum = *more;
            if let Some(row) = tx.fetch_optional(FETCH, args![deployment, minute]).await? {
                sum.add(&traffic(&row)?);
            }
            let latency = sum.latency.map(|count| count.to_string()).join(",");
            tx.execute(SET, args![deployment, minute, sum.requests, sum.errors, latency]).await?;
        }
        tx.commit("traffic.added").await
    }

    /// Requests and errors of every place since a time, in stretches of `step_minutes`. Stretches without requests are left out.
    pub async fn traffic_of_all(&self, since: Timestamp, step_minutes: i64) -> Result<HashMap<(WebhookName, EnvironmentName), Strip>> {
        let mut places: HashMap<_, Strip> = HashMap::new();
        for row in self.fetch_all(BOARD, args![step_minutes, traffic_step(since, 1)]).await? {
            let place = (row.parse("webhook")?, row.parse("environment")?);
            let counts = (row.number("requests")?, row.number("errors")?);
            places.entry(place).or_default().insert(row.integer("step")?, counts);
        }
        Ok(places)
    }

    /// Requests and errors of one place since a time.
    pub async fn traffic_sum(&self, (webhook, environment): (&WebhookName, &EnvironmentName), since: Timestamp) -> Result<(u64, u64)> {
        match self.fetch_optional(SUM, args![webhook, environment, traffic_step(since, 1)]).await? {
            Some(row) => Ok((row.number("requests")?, row.number("errors")?)),
            None => Ok((0, 0)),
        }
    }

    /// Traffic of one place since a time, in stretches of `step_minutes`, whatever the deployment. Stretches without requests are left out.
    pub async fn traffic_of(
        &self,
        (webhook, environment): (&WebhookName, &EnvironmentName),
        since: Timestamp,
        step_minutes: i64,
    ) -> Result<BTreeMap<i64, Traffic>> {
        let mut strip: BTreeMap<i64, Traffic> = BTreeMap::new();
        for row in self.fetch_all(PLACE, args![webhook, environment, traffic_step(since, 1)]).await? {
            strip.entry(row.integer("minute")? / step_minutes).or_default().add(&traffic(&row)?);
        }
        Ok(strip)
    }
}

impl Tx {
    /// Forgets what is older.
    pub async fn traffic_expire(&mut self, before: Timestamp) -> Result<u64> {
        self.execute(EXPIRE, args![traffic_step(before, 1)]).await
    }
}
