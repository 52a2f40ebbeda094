-- Lists of deliveries by what they are filtered by, so that little is found among much without reading all of it.

CREATE INDEX deliveries_status ON deliveries (webhook, status, sequence) WHERE status <> 'delivered';

CREATE INDEX deliveries_kind ON deliveries (webhook, kind, sequence);

CREATE INDEX deliveries_place ON deliveries (webhook, environment, trigger_name, sequence);

CREATE INDEX deliveries_created ON deliveries (webhook, created_at);

DROP INDEX deliveries_dead;
