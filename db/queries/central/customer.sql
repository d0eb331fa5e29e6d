-- name: CustomerCreate :one
INSERT INTO customers (company_name, email, aws_role_arn, sqs_queue_url, sqs_queue_shared, external_id)
VALUES (@company_name, @email, @aws_role_arn, @sqs_queue_url, @sqs_queue_shared, @external_id)
RETURNING customer_id;

-- name: CustomerByCluster :one
SELECT cu.customer_id, cu.aws_role_arn, cu.external_id, cl.region, cl.cluster_name, cl.launch_template_id, cl.subnet_ids
FROM clusters cl JOIN customers cu USING (customer_id)
WHERE cl.cluster_id = @cluster_id;

-- name: CustomerQueues :many
-- Queues with the EC2 events of accounts; region is where the first cluster is.
SELECT customer_id, sqs_queue_url::text AS sqs_queue_url, sqs_queue_shared, coalesce(aws_role_arn, '')::text AS aws_role_arn,
    coalesce(external_id, '')::text AS external_id,
    coalesce((SELECT cl.region FROM clusters cl WHERE cl.customer_id = customers.customer_id ORDER BY cl.created_at LIMIT 1), '')::text AS region
FROM customers
WHERE sqs_queue_url <> '' AND status <> 'suspended'
ORDER BY sqs_queue_url, customer_id;

-- name: CustomerList :many
-- By name, a page.
SELECT c.*, (SELECT count(*) FROM clusters cl WHERE cl.customer_id = c.customer_id)::int AS clusters
FROM customers c
WHERE (sqlc.narg(customer_id)::uuid IS NULL OR c.customer_id = sqlc.narg(customer_id))
  AND (@search::text = '' OR strpos(lower(c.company_name), lower(@search)) > 0 OR strpos(lower(c.email), lower(@search)) > 0)
  AND (sqlc.narg(after_name)::text IS NULL OR (c.company_name, c.customer_id) > (sqlc.narg(after_name)::text, @after_id::uuid))
ORDER BY c.company_name, c.customer_id
LIMIT @rows;

-- name: CustomerByID :one
SELECT c.*, (SELECT count(*) FROM clusters cl WHERE cl.customer_id = c.customer_id)::int AS clusters
FROM customers c
WHERE c.customer_id = @customer_id
FOR NO KEY UPDATE OF c;

-- name: CustomerName :one
SELECT company_name FROM customers WHERE customer_id = @customer_id;

-- name: CustomerUpdate :exec
UPDATE customers SET company_name = @company_name, email = @email, aws_role_arn = @aws_role_arn, sqs_queue_url = @sqs_queue_url,
    sqs_queue_shared = @sqs_queue_shared, status = @status, version = version + 1, updated_at = now()
WHERE customer_id = @customer_id;
