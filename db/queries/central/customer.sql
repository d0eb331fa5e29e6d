-- name: CustomerCreate :one
INSERT INTO customers (company_name, email, aws_role_arn, sqs_queue_url, external_id)
VALUES (@company_name, @email, @aws_role_arn, @sqs_queue_url, @external_id)
RETURNING customer_id;

-- name: CustomerByCluster :one
SELECT cu.customer_id, cu.aws_role_arn, cu.external_id, cl.region, cl.cluster_name, cl.launch_template_id, cl.subnet_ids
FROM clusters cl JOIN customers cu USING (customer_id)
WHERE cl.cluster_id = @cluster_id;
