-- The setups of a tenant that do not send yet are found without reading the others.

CREATE INDEX {setups}_of_tenant ON {setups} (tenant, holds, state);
