-- +goose Up
-- Tables of the integration guide, with real types, and what stands behind them.

CREATE TABLE customers (
    customer_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_name  varchar(255) NOT NULL CHECK (company_name <> ''),
    email         varchar(255) NOT NULL UNIQUE,
    aws_role_arn  varchar(512),
    sqs_queue_url varchar(512),
    external_id   varchar(128),
    status        varchar(50) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'trial')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clusters (
    cluster_id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id        uuid NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    cluster_name       varchar(255) NOT NULL CHECK (cluster_name <> ''),
    region             varchar(50) NOT NULL,
    k8s_api_endpoint   varchar(512),
    k8s_token          text,
    k8s_version        varchar(50),
    node_count         int NOT NULL DEFAULT 0 CHECK (node_count >= 0),
    pod_count          int NOT NULL DEFAULT 0 CHECK (pod_count >= 0),
    status             varchar(50) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active', 'offline')),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    last_seen_at       timestamptz,
    -- Launching nodes: EC2 launch template, subnet by zone.
    launch_template_id varchar(64),
    subnet_ids         jsonb NOT NULL DEFAULT '{}',
    -- Agent sessions are numbered; the newest alone is heard.
    session_epoch      bigint NOT NULL DEFAULT 0,
    session_id         uuid,
    session_replica    varchar(255),
    session_seen_at    timestamptz,
    -- Last inventory sequence that is in force; 0: none.
    inventory_sequence bigint NOT NULL DEFAULT 0,
    inventory_at       timestamptz,
    UNIQUE (customer_id, cluster_name)
);

CREATE TABLE nodes (
    node_id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cluster_id             uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    node_name              varchar(255) NOT NULL CHECK (node_name <> ''),
    instance_id            varchar(50),
    instance_type          varchar(50),
    availability_zone      varchar(50),
    node_type              varchar(20) NOT NULL CHECK (node_type IN ('spot', 'on-demand')),
    cpu_allocatable        numeric(10, 2) NOT NULL DEFAULT 0 CHECK (cpu_allocatable >= 0),
    memory_allocatable_gb  numeric(10, 2) NOT NULL DEFAULT 0 CHECK (memory_allocatable_gb >= 0),
    status                 varchar(50) NOT NULL DEFAULT 'Ready' CHECK (status IN ('Ready', 'NotReady', 'Terminated')),
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    terminated_at          timestamptz,
    -- USD per hour, null while unknown.
    hourly_price           numeric(12, 6) CHECK (hourly_price >= 0),
    on_demand_hourly_price numeric(12, 6) CHECK (on_demand_hourly_price >= 0),
    -- The whole fleet.v1.NodeMetric as JSON: labels, taints, exact amounts.
    detail                 jsonb NOT NULL DEFAULT '{}',
    CHECK ((status = 'Terminated') = (terminated_at IS NOT NULL)),
    UNIQUE (cluster_id, node_name)
);
CREATE INDEX nodes_instance ON nodes (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX nodes_live ON nodes (cluster_id) WHERE terminated_at IS NULL;

CREATE TABLE pods (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    pod_uid    varchar(64) NOT NULL,
    namespace  varchar(253) NOT NULL,
    pod_name   varchar(253) NOT NULL,
    node_name  varchar(255) NOT NULL DEFAULT '',
    phase      varchar(16) NOT NULL DEFAULT '',
    ready      boolean NOT NULL DEFAULT false,
    -- The whole fleet.v1.Pod as JSON.
    detail     jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, pod_uid)
);
CREATE INDEX pods_node ON pods (cluster_id, node_name);

CREATE TABLE pod_disruption_budgets (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    budget_uid varchar(64) NOT NULL,
    -- The whole fleet.v1.PodDisruptionBudget as JSON.
    detail     jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, budget_uid)
);

-- Pages of a snapshot that is not complete yet; cleared when it is put in force.
CREATE TABLE inventory_pages (
    cluster_id         uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    session_epoch      bigint NOT NULL,
    inventory_sequence bigint NOT NULL,
    page               int NOT NULL CHECK (page >= 0),
    content            bytea NOT NULL,
    PRIMARY KEY (cluster_id, session_epoch, inventory_sequence, page)
);

CREATE TABLE spot_events (
    event_id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cluster_id              uuid REFERENCES clusters (cluster_id),
    instance_id             varchar(50) NOT NULL,
    event_type              varchar(50) NOT NULL CHECK (event_type IN ('interruption_warning', 'instance_terminated',
        'rebalance_recommendation', 'scheduled_change', 'lifecycle_action', 'capacity_reservation_interruption')),
    received_at             timestamptz NOT NULL DEFAULT now(),
    interruption_time       timestamptz,
    action_taken            varchar(255),
    replacement_instance_id varchar(50),
    metadata                jsonb
);
CREATE INDEX spot_events_cluster ON spot_events (cluster_id, received_at DESC);

CREATE TABLE optimization_history (
    optimization_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cluster_id           uuid NOT NULL REFERENCES clusters (cluster_id),
    optimization_type    varchar(50) NOT NULL CHECK (optimization_type IN ('spot_optimize', 'bin_pack', 'rightsize', 'schedule')),
    request_data         jsonb,
    recommendations      jsonb,
    execution_plan       jsonb,
    estimated_savings    numeric(10, 2),
    actual_savings       numeric(10, 2),
    status               varchar(50) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'executing', 'completed', 'failed')),
    created_at           timestamptz NOT NULL DEFAULT now(),
    executed_at          timestamptz,
    completed_at         timestamptz,
    error_message        text,
    options              jsonb NOT NULL DEFAULT '{}',
    requested_by         varchar(255) NOT NULL DEFAULT '',
    -- Position of the step in hand, from 1.
    current_step         int NOT NULL DEFAULT 1,
    -- Fences story jobs: one that carries another number ends without a word.
    generation           int NOT NULL DEFAULT 1,
    -- A sweep starts the story again when nobody has looked at it by then.
    wake_at              timestamptz NOT NULL DEFAULT now(),
    cost_before_per_hour numeric(12, 6),
    cost_after_per_hour  numeric(12, 6),
    traceparent          varchar(64) NOT NULL DEFAULT '',
    CHECK ((status IN ('completed', 'failed')) = (completed_at IS NOT NULL))
);
-- At most one runs in a cluster.
CREATE UNIQUE INDEX optimization_running ON optimization_history (cluster_id) WHERE status IN ('pending', 'executing');
CREATE INDEX optimization_cluster ON optimization_history (cluster_id, created_at DESC);
CREATE INDEX optimization_wake ON optimization_history (wake_at) WHERE status IN ('pending', 'executing');

CREATE TABLE optimization_steps (
    optimization_id uuid NOT NULL REFERENCES optimization_history (optimization_id) ON DELETE CASCADE,
    position        int NOT NULL CHECK (position > 0),
    name            varchar(32) NOT NULL CHECK (name IN ('state', 'decide', 'launch', 'ready', 'label', 'drain', 'terminate', 'verify', 'rollback')),
    status          varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'skipped')),
    started_at      timestamptz,
    finished_at     timestamptz,
    detail          jsonb NOT NULL DEFAULT '{}',
    error           text NOT NULL DEFAULT '',
    PRIMARY KEY (optimization_id, position)
);

-- What a story has launched, written before EC2 is asked: the client token
-- makes asking again safe.
CREATE TABLE optimization_launches (
    optimization_id   uuid NOT NULL REFERENCES optimization_history (optimization_id) ON DELETE CASCADE,
    launch_index      int NOT NULL CHECK (launch_index >= 0),
    client_token      varchar(64) NOT NULL UNIQUE,
    instance_type     varchar(50) NOT NULL,
    availability_zone varchar(50) NOT NULL,
    node_type         varchar(20) NOT NULL CHECK (node_type IN ('spot', 'on-demand')),
    node_count        int NOT NULL CHECK (node_count > 0),
    hourly_price      numeric(12, 6) NOT NULL CHECK (hourly_price >= 0),
    on_demand_hourly_price numeric(12, 6) NOT NULL DEFAULT 0,
    instance_ids      text[] NOT NULL DEFAULT '{}',
    status            varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'launched', 'failed', 'terminated')),
    error             text NOT NULL DEFAULT '',
    PRIMARY KEY (optimization_id, launch_index)
);

-- Nodes a story takes away, in the order it drains them.
CREATE TABLE optimization_nodes (
    optimization_id uuid NOT NULL REFERENCES optimization_history (optimization_id) ON DELETE CASCADE,
    position        int NOT NULL CHECK (position >= 0),
    node_name       varchar(255) NOT NULL,
    instance_id     varchar(50) NOT NULL,
    hourly_price    numeric(12, 6) NOT NULL DEFAULT 0,
    status          varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'draining', 'drained', 'kept', 'terminated')),
    error           text NOT NULL DEFAULT '',
    PRIMARY KEY (optimization_id, node_name)
);

CREATE TABLE tasks (
    task_id       uuid PRIMARY KEY,
    cluster_id    uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    task_type     varchar(50) NOT NULL CHECK (task_type IN ('label_node', 'taint_node', 'cordon_node', 'uncordon_node', 'drain_node')),
    parameters    jsonb NOT NULL,
    priority      int NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    deadline      timestamptz NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    varchar(255) NOT NULL DEFAULT '',
    status        varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'leased', 'running', 'success', 'failed', 'timeout', 'cancelled')),
    -- Fencing number; counts leases.
    attempt       int NOT NULL DEFAULT 0,
    session_epoch bigint NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    cancel_reason text,
    progress      jsonb,
    result        jsonb,
    finished_at   timestamptz,
    traceparent   varchar(64) NOT NULL DEFAULT '',
    CHECK ((status IN ('success', 'failed', 'timeout', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (status NOT IN ('leased', 'running') OR lease_until IS NOT NULL)
);
CREATE INDEX tasks_open ON tasks (cluster_id, priority, created_at) WHERE finished_at IS NULL;
CREATE INDEX tasks_deadline ON tasks (deadline) WHERE finished_at IS NULL;

-- Results that came too late or from a superseded attempt: evidence.
CREATE TABLE task_late_results (
    task_id     uuid NOT NULL REFERENCES tasks (task_id) ON DELETE CASCADE,
    received_at timestamptz NOT NULL DEFAULT now(),
    attempt     int NOT NULL,
    result      jsonb NOT NULL
);
CREATE INDEX task_late_results_task ON task_late_results (task_id);

CREATE TABLE api_keys (
    api_key_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- SHA-256 of the secret, which has 256 random bits: no salt needed.
    secret_hash  bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    prefix       varchar(16) NOT NULL,
    scope        varchar(16) NOT NULL CHECK (scope IN ('agent', 'viewer', 'operator', 'admin', 'platform', 'service')),
    customer_id  uuid REFERENCES customers (customer_id) ON DELETE CASCADE,
    cluster_id   uuid REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    description  varchar(255) NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   varchar(255) NOT NULL DEFAULT '',
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    CHECK ((scope IN ('platform', 'service')) = (customer_id IS NULL)),
    CHECK ((scope = 'agent') = (cluster_id IS NOT NULL))
);
CREATE INDEX api_keys_customer ON api_keys (customer_id);

CREATE TABLE cluster_events (
    cluster_id uuid NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    event_id   varchar(64) NOT NULL,
    last_seen  timestamptz NOT NULL,
    -- The whole fleet.v1.Event as JSON.
    detail     jsonb NOT NULL,
    PRIMARY KEY (cluster_id, event_id)
);
CREATE INDEX cluster_events_time ON cluster_events (cluster_id, last_seen DESC);

-- Who did what, with what, and how it ended. Never updated.
CREATE TABLE audit_log (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       varchar(255) NOT NULL,
    action      varchar(128) NOT NULL,
    customer_id uuid,
    cluster_id  uuid,
    subject     varchar(255) NOT NULL DEFAULT '',
    detail      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_customer ON audit_log (customer_id, at DESC);

-- +goose StatementBegin
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- Reports of the agents, by day: keyed by cluster so that it distributes.
CREATE TABLE cluster_metrics (
    cluster_id          uuid NOT NULL,
    at                  timestamptz NOT NULL,
    total_nodes         int NOT NULL,
    spot_nodes          int NOT NULL,
    on_demand_nodes     int NOT NULL,
    total_cpu           double precision NOT NULL,
    total_memory_gb     double precision NOT NULL,
    allocated_cpu       double precision NOT NULL,
    allocated_memory_gb double precision NOT NULL,
    total_pods          int NOT NULL,
    running_pods        int NOT NULL,
    pending_pods        int NOT NULL,
    cost_per_hour       double precision NOT NULL,
    PRIMARY KEY (cluster_id, at)
) PARTITION BY RANGE (at);
CREATE TABLE cluster_metrics_default PARTITION OF cluster_metrics DEFAULT;

-- +goose Down
DROP TABLE cluster_metrics, audit_log, cluster_events, api_keys, task_late_results, tasks, optimization_nodes,
    optimization_launches, optimization_steps, optimization_history, spot_events, inventory_pages,
    pod_disruption_budgets, pods, nodes, clusters, customers;
DROP FUNCTION audit_log_is_append_only;
