-- The setups of a tenant that do not send yet are found without reading the others.

ALTER TABLE {setups} ADD INDEX of_tenant (tenant, holds, state);
