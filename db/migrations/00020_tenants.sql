-- +goose Up
-- The second wall between customers: whatever a query forgets, a connection sees the rows of the
-- customer that the setting cloudoptim.customer names; of everybody, if it says everyone; of nobody, if
-- it is not set. An empty setting is nobody, too: that is what PostgreSQL makes of one that was
-- set for a transaction alone.

-- +goose StatementBegin
CREATE FUNCTION tenant_everyone() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('cloudoptim.customer', true), '') = 'everyone';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tenant_customer() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN current_setting('cloudoptim.customer', true) ~ '^[0-9a-f-]{36}$'
        THEN current_setting('cloudoptim.customer', true)::uuid END;
-- +goose StatementEnd

-- tenant_wall puts a table behind the wall. Whose a row is, its customer_id says, else its cluster_id, else
-- the row of another walled table that it refers to and ends with. A row that names neither customer nor
-- cluster is the platform's: with public_rows, customers read it and do not change it (a stop for all, such as);
-- else they do not see it. Call it again after adding one of these columns.
--
-- The subselects are run once a statement, and nothing behind OR is run for everyone.
-- +goose StatementBegin
CREATE FUNCTION tenant_wall(walled regclass, public_rows boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    by_customer boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = walled AND attname = 'customer_id' AND NOT attisdropped);
    by_cluster  boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = walled AND attname = 'cluster_id' AND NOT attisdropped);
    mine        text[] := '{}';
    parent      record;
    owned       text;
    public      text;
BEGIN
    IF by_customer THEN
        mine := array_append(mine, 'customer_id = (SELECT tenant_customer())');
    END IF;
    IF by_cluster AND walled <> 'clusters'::regclass THEN
        owned := format('EXISTS (SELECT FROM clusters c WHERE c.cluster_id = %s.cluster_id AND c.customer_id = (SELECT tenant_customer()))', walled);
        mine := array_append(mine, CASE WHEN by_customer THEN '(customer_id IS NULL AND ' || owned || ')' ELSE owned END);
    END IF;
    IF mine = '{}' THEN
        SELECT c.confrelid::regclass AS name, a.attname AS here, b.attname AS there INTO STRICT parent
        FROM pg_constraint c JOIN pg_class p ON p.oid = c.confrelid
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
        WHERE c.conrelid = walled AND c.contype = 'f' AND c.confdeltype = 'c' AND cardinality(c.conkey) = 1 AND p.relrowsecurity;
        mine := array_append(mine, format('EXISTS (SELECT FROM %s parent WHERE parent.%I = %s.%I)', parent.name, parent.there, walled, parent.here));
    END IF;
    owned := '(SELECT tenant_everyone()) OR ' || array_to_string(mine, ' OR ');
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', walled);
    EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', walled);
    EXECUTE format('DROP POLICY IF EXISTS tenant_public ON %s', walled);
    EXECUTE format('DROP POLICY IF EXISTS ml_reads ON %s', walled);
    EXECUTE format('CREATE POLICY tenant ON %s USING (%s)', walled, owned);
    IF public_rows THEN
        public := concat_ws(' AND ', '(SELECT tenant_customer()) IS NOT NULL',
            CASE WHEN by_customer THEN 'customer_id IS NULL' END, CASE WHEN by_cluster THEN 'cluster_id IS NULL' END);
        EXECUTE format('CREATE POLICY tenant_public ON %s FOR SELECT USING (%s)', walled, public);
    END IF;
    -- What ml reads its grants say, and it decides for all.
    EXECUTE format('CREATE POLICY ml_reads ON %s FOR SELECT TO ml_server_ro USING (true)', walled);
END $$;
-- +goose StatementEnd

-- tenant_tables are the tables with customers' rows: those with the columns, and those that end with a row of
-- one of them. River's and goose's are none.
-- +goose StatementBegin
CREATE FUNCTION tenant_tables() RETURNS TABLE (name regclass, depth int) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY WITH RECURSIVE t AS (
        SELECT DISTINCT c.oid, 0 AS level
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND a.attname IN ('customer_id', 'cluster_id') AND NOT a.attisdropped
        UNION
        SELECT c.conrelid, t.level + 1
        FROM t JOIN pg_constraint c ON c.confrelid = t.oid AND c.contype = 'f' AND c.confdeltype = 'c'
        WHERE t.level < 8 AND c.conrelid <> c.confrelid
    )
    SELECT t.oid::regclass, min(t.level) FROM t GROUP BY t.oid;
END $$;
-- +goose StatementEnd

-- Behind the wall an index serves only operators that can tell nothing of rows that are not seen, and those of arrays
-- are not known to be such. So which optimization launched an instance is a row of its own, kept by a trigger.
CREATE TABLE launched_instances (
    instance_id     varchar(50) NOT NULL,
    optimization_id uuid NOT NULL REFERENCES optimization_history (optimization_id) ON DELETE CASCADE,
    PRIMARY KEY (instance_id, optimization_id)
);
CREATE INDEX launched_instances_optimization ON launched_instances (optimization_id);
INSERT INTO launched_instances SELECT DISTINCT unnest(instance_ids), optimization_id FROM optimization_launches;
-- +goose StatementBegin
CREATE FUNCTION note_launched_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO launched_instances SELECT DISTINCT unnest(NEW.instance_ids), NEW.optimization_id ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER launched_instances AFTER INSERT OR UPDATE OF instance_ids ON optimization_launches
    FOR EACH ROW EXECUTE FUNCTION note_launched_instances();
DROP INDEX optimization_launches_instances;

-- +goose StatementBegin
DO $$
DECLARE
    tenants record;
BEGIN
    FOR tenants IN SELECT name FROM tenant_tables() ORDER BY depth, name::text LOOP
        -- A stop of the whole platform holds for each customer, who must see it.
        PERFORM tenant_wall(tenants.name, public_rows => tenants.name::text = 'stops');
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$
DECLARE
    tenants record;
BEGIN
    FOR tenants IN SELECT name FROM tenant_tables() LOOP
        EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', tenants.name);
        EXECUTE format('DROP POLICY IF EXISTS tenant_public ON %s', tenants.name);
        EXECUTE format('DROP POLICY IF EXISTS ml_reads ON %s', tenants.name);
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', tenants.name);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', tenants.name);
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE INDEX optimization_launches_instances ON optimization_launches USING gin (instance_ids);
DROP TRIGGER launched_instances ON optimization_launches;
DROP TABLE launched_instances;
DROP FUNCTION note_launched_instances, tenant_tables, tenant_wall, tenant_customer, tenant_everyone;
