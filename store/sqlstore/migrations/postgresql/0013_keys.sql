-- What waits and what is held, in the order of keys: so an operator's list of a
-- destination reads only what it shows. What a node has leased is not in the index, so
-- mail that is sent at once costs nothing more. The lane is there for counting.

CREATE INDEX {deliveries}_of_key ON {deliveries} (list, mail, n, lane) WHERE list = '!' OR list >= '=';
