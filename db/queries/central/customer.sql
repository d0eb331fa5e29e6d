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

-- name: CustomerName :one
SELECT company_name FROM customers WHERE customer_id = @customer_id;
