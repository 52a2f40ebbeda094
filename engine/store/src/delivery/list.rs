//! Lists of deliveries, the newest first. Each is read along the index of one thing it is filtered by; what else is asked is looked at in each row.
//! Invariant: which index that is changes how long a list takes, never what is in it.

use std::cmp::Reverse;

use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Delivery, Timestamp};

use super::{DeliveryFilter, read};
use crate::sql::{Value, args};
use crate::{Result, Store};

/// Fewer rows than this are read whole without a second thought.
const FEW: u64 = 1000;

/// So many types or triggers are read each along its own index; of more all rows are read.
const MOST_PARTS: usize = 64;

/// The list of what `$along` says, and of everything else that is asked.
macro_rules! list {
    ($along:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM deliveries WHERE ",
            $along,
            " AND ($3 = '' OR environment = $3) AND ($4 = '' OR trigger_name = $4)
            AND ($5 = '' OR kind = $5 OR (kind >= $6 AND kind < $7 AND $6 <> '')) AND ($8 = '' OR status = $8)
            AND created_at >= $9 AND created_at < $10 ORDER BY ",
            $order,
            " DESC LIMIT $11"
        )
    };
}

const ALL: &str = list!("sequence < $1 AND ($2 = '' OR webhook = $2)", "sequence");
const WEBHOOK: &str = list!("sequence < $1 AND webhook = $2", "sequence");
const STATUS: &str = list!("sequence < $1 AND webhook = $2 AND status = $8 AND status <> 'delivered'", "sequence");
const KIND: &str = list!("sequence < $1 AND webhook = $2 AND kind = $5", "sequence");
const PLACE: &str = list!("sequence < $1 AND webhook = $2 AND environment = $3 AND trigger_name = $4", "sequence");
/// By a sum, which no index is in the order of: they are few, and found by their time.
const TIME: &str = list!("sequence + 0 < $1 AND webhook = $2", "sequence + 0");

const FEW_OF_STATUS: &str = "SELECT COUNT(*) AS many FROM
    (SELECT 1 AS one FROM deliveries WHERE webhook = $1 AND status = $2 AND status <> 'delivered' LIMIT 1000) AS found";
const FEW_OF_KIND: &str =
    "SELECT COUNT(*) AS many FROM (SELECT 1 AS one FROM deliveries WHERE webhook = $1 AND kind = $2 LIMIT 1000) AS found";
const FEW_OF_TIME: &str = "SELECT COUNT(*) AS many FROM
    (SELECT 1 AS one FROM deliveries WHERE webhook = $1 AND created_at >= $2 AND created_at < $3 LIMIT 1000) AS found";

const NEXT_KIND: &str = "SELECT kind FROM deliveries WHERE webhook = $1 AND kind > $2 AND kind < $3 ORDER BY kind LIMIT 1";
/// The next trigger of an environment, and the next environment. Both at once, as a comparison of pairs, would be read from the environment's
/// beginning on.
const NEXT_TRIGGER: &str = "SELECT environment, trigger_name FROM deliveries WHERE webhook = $1 AND environment = $2 AND trigger_name > $3
    ORDER BY trigger_name LIMIT 1";
const NEXT_ENVIRONMENT: &str = "SELECT environment, trigger_name FROM deliveries WHERE webhook = $1 AND environment > $2
    ORDER BY environment, trigger_name LIMIT 1";

/// A filter as the statements take it.
#[derive(Clone)]
struct Asked {
    before: u64,
    webhook: String,
    environment: String,
    trigger: String,
    kind: String,
    /// Types that begin so: from here on,
    from: String,
    /// and before here.
    to: String,
    status: Option<DeliveryStatus>,
    since: Timestamp,
    until: Timestamp,
    limit: u32,
}

impl Asked {
    fn new(filter: &DeliveryFilter, before: Option<u64>, limit: u32) -> Self {
        let kind = filter.kind.clone().unwrap_or_default();
        // What follows `issues.` in the order of bytes begins with `issues/`.
        let (from, to) = match kind.strip_suffix(".*") {
            Some(stem) => (format!("{stem}."), format!("{stem}/")),
            None => (String::new(), String::new()),
        };
        Self {
            before: before.unwrap_or(u64::MAX),
            webhook: filter.webhook.as_ref().map(ToString::to_string).unwrap_or_default(),
            environment: filter.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            trigger: filter.trigger.clone().unwrap_or_default(),
            kind,
            from,
            to,
            status: filter.status,
            since: filter.since.unwrap_or(Timestamp::from_millis(i64::MIN)),
            until: filter.until.unwrap_or(Timestamp::from_millis(i64::MAX)),
            limit,
        }
    }

    fn values(&self) -> Vec<Value> {
        let status = self.status.map(|status| status.to_string()).unwrap_or_default();
        args![
            self.before,
            self.webhook,
            self.environment,
            self.trigger,
            self.kind,
            self.from,
            self.to,
            status,
            self.since,
            self.until,
            self.limit
        ]
    }
}

/// What a list is read along.
enum Along {
    Status,
    Kind,
    Kinds,
    Places,
    Time,
}

impl Store {
    /// The newest first, older than the sequence `before`.
    pub async fn delivery_list(&self, filter: &DeliveryFilter, before: Option<u64>, limit: u32) -> Result<Vec<Delivery>> {
        let asked = Asked::new(filter, before, limit);
        if filter.webhook.is_none() {
            return self.deliveries(ALL, &asked).await;
        }
        let mut ways = Vec::new();
        if filter.since.is_some() || filter.until.is_some() {
            ways.push(Along::Time);
        }
        if filter.status.is_some_and(|status| status != DeliveryStatus::Delivered) {
            ways.push(Along::Status);
        }
        if !asked.kind.is_empty() {
            ways.push(if asked.from.is_empty() { Along::Kind } else { Along::Kinds });
        }
        if filter.environment.is_some() || filter.trigger.is_some() {
            ways.push(Along::Places);
        }
        let mut left = ways.len();
        for way in ways {
            left -= 1;
            // Along the first of which there are few; the last one is better than none.
            let few = match way {
                Along::Time => self.are_few(FEW_OF_TIME, args![asked.webhook, asked.since, asked.until]).await?,
                _ if left == 0 => true,
                Along::Status => self.are_few(FEW_OF_STATUS, args![asked.webhook, filter.status]).await?,
                Along::Kind => self.are_few(FEW_OF_KIND, args![asked.webhook, asked.kind]).await?,
                Along::Kinds | Along::Places => false,
            };
            if few {
                return self.along(way, &asked).await;
            }
        }
        self.deliveries(WEBHOOK, &asked).await
    }

    async fn along(&self, way: Along, asked: &Asked) -> Result<Vec<Delivery>> {
        let (statement, parts) = match way {
            Along::Time => return self.deliveries(TIME, asked).await,
            Along::Status => return self.deliveries(STATUS, asked).await,
            Along::Kind => return self.deliveries(KIND, asked).await,
            Along::Kinds => (KIND, self.kinds(asked).await?),
            Along::Places => (PLACE, self.places(asked).await?),
        };
        if parts.len() > MOST_PARTS {
            return self.deliveries(WEBHOOK, asked).await;
        }
        let mut all = Vec::new();
        for part in &parts {
            all.extend(self.deliveries(statement, part).await?);
        }
        all.sort_unstable_by_key(|delivery| Reverse(delivery.sequence));
        all.truncate(asked.limit as usize);
        Ok(all)
    }

    async fn deliveries(&self, statement: &'static str, asked: &Asked) -> Result<Vec<Delivery>> {
        self.fetch_all(statement, asked.values()).await?.iter().map(read).collect()
    }

    async fn are_few(&self, statement: &'static str, values: Vec<Value>) -> Result<bool> {
        let many: u64 = self.fetch_optional(statement, values).await?.map_or(Ok(0), |row| row.number("many"))?;
        Ok(many < FEW)
    }

    /// The same for each type that there is of those asked for, as far as they are looked at.
    async fn kinds(&self, asked: &Asked) -> Result<Vec<Asked>> {
        let part = |kind: &str| Asked { kind: kind.to_owned(), from: String::new(), to: String::new(), ..asked.clone() };
        let mut last = asked.from.clone();
        let mut parts = vec![part(&last)];
        while parts.len() <= MOST_PARTS {
            let Some(row) = self.fetch_optional(NEXT_KIND, args![asked.webhook, last, asked.to]).await? else { break };
            last = row.text("kind")?;
            parts.push(part(&last));
        }
        Ok(parts)
    }

    /// The same for each trigger in an environment that there is of those asked for.
    async fn places(&self, asked: &Asked) -> Result<Vec<Asked>> {
        let (mut parts, mut last) = (Vec::new(), (asked.environment.clone(), asked.trigger.clone()));
        if !last.0.is_empty() && !last.1.is_empty() {
            return Ok(vec![asked.clone()]);
        }
        last.1.clear();
        // All of them are passed when a trigger is asked for in every environment.
        for _ in 0..=MOST_PARTS {
            let mut next = self.fetch_optional(NEXT_TRIGGER, args![asked.webhook, last.0, last.1]).await?;
            if next.is_none() {
                next = self.fetch_optional(NEXT_ENVIRONMENT, args![asked.webhook, last.0]).await?;
            }
            let Some(row) = next else { return Ok(parts) };
            last = (row.text("environment")?, row.text("trigger_name")?);
            if !asked.environment.is_empty() && last.0 != asked.environment {
                return Ok(parts);
            }
            if asked.trigger.is_empty() || last.1 == asked.trigger {
                parts.push(Asked { environment: last.0.clone(), trigger: last.1.clone(), ..asked.clone() });
            }
        }
        // There are more than are looked at.
        parts.resize(MOST_PARTS + 1, asked.clone());
        Ok(parts)
    }
}
