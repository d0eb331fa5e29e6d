-- name: SpotPriceInsertMany :many
-- Returns what was new.
INSERT INTO spot_prices (region, availability_zone, instance_type, at, price, method, run_id)
SELECT v.region, v.availability_zone, v.instance_type, v.at, v.price, @method, @run_id::uuid
FROM (SELECT unnest(@regions::text[]) AS region, unnest(@zones::text[]) AS availability_zone,
    unnest(@instance_types::text[]) AS instance_type, unnest(@ats::timestamptz[]) AS at, unnest(@prices::float8[]) AS price) v
ON CONFLICT (region, instance_type, availability_zone, at) DO NOTHING
RETURNING availability_zone, instance_type, region, at;

-- name: SpotPricePrune :exec
DELETE FROM spot_prices WHERE at < @before;
