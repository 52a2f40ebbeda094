-- What a run overtook, for its page; and what is on its way everywhere, for the board.

CREATE INDEX runs_superseded ON runs (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX promotions_unfinished ON promotions (id) WHERE status IN ('waiting', 'deploying');
