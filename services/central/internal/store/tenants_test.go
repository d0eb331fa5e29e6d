package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func stampOf(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }

func TestACustomerFindsNothingOfAnothers(t *testing.T) {
	h := newHouse(t)
	rival, theirs := h.tenant(t, "rival")
	story := h.optimization(t, h.cluster)
	h.inventory(t, node("a", "i-1"))
	must(t, h.SetNodePrices(t.Context(), []NodePrice{{h.cluster, "a", 1, 2}}))

	_, err := h.ClusterState(t.Context(), h.cluster, some(rival))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	_, err = h.Optimization(t.Context(), story.ID, some(rival))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	listed, _, err := h.Optimizations(t.Context(), OptimizationFilter{Cluster: some(h.cluster), Customer: some(rival)}, Page{Limit: 10})
	must(t, err)
	equal(t, "optimizations", len(listed), 0)
	listed, _, err = h.Optimizations(t.Context(), OptimizationFilter{Customer: some(h.customer)}, Page{Limit: 10})
	must(t, err)
	equal(t, "own optimizations", len(listed), 1)
	clusters, err := h.Clusters(t.Context(), some(rival))
	must(t, err)
	if len(clusters) != 1 || clusters[0].GetClusterId() != theirs.String() {
		t.Errorf("clusters: %v", clusters)
	}
	costs, err := h.Costs(t.Context(), some(h.cluster), some(rival))
	must(t, err)
	equal(t, "costs", len(costs), 0)
	effects, err := h.Effects(t.Context(), some(h.cluster), some(rival))
	must(t, err)
	equal(t, "effects", len(effects), 0)
	keys, _, err := h.Keys(t.Context(), KeyFilter{Customer: some(rival)}, Page{Limit: 10})
	must(t, err)
	equal(t, "keys", len(keys), 2)
	for _, key := range keys {
		equal(t, "key's customer", key.GetCustomerId(), rival.String())
	}
	ours, _, err := h.Keys(t.Context(), KeyFilter{Customer: some(h.customer)}, Page{Limit: 10})
	must(t, err)
	_, err = h.RevokeKey(t.Context(), uuid.MustParse(ours[0].GetApiKeyId()), some(rival))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	equal(t, "revoked", h.count(t, "SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL"), 0)
	all, err := h.Clusters(t.Context(), anyone)
	must(t, err)
	equal(t, "clusters of all", len(all), 2)
}

func TestAKeyIsFoundByItsHashUntilItIsGone(t *testing.T) {
	h := newHouse(t)
	key, err := h.KeyByHash(t.Context(), newKey("acme/agent", "").Hash)
	must(t, err)
	equal(t, "scope", key.Scope, "agent")
	equal(t, "cluster", key.ClusterID, some(h.cluster))
	equal(t, "customer", key.CustomerID, some(h.customer))
	equal(t, "status", key.CustomerStatus, "active")
	equal(t, "revoked", key.RevokedAt, nil)
	must(t, h.TouchKey(t.Context(), key.ID.UUID))
	_, err = h.RevokeKey(t.Context(), key.ID.UUID, some(h.customer))
	must(t, err)
	_, err = h.RevokeKey(t.Context(), key.ID.UUID, anyone)
	must(t, err)
	revoked, err := h.KeyByHash(t.Context(), newKey("acme/agent", "").Hash)
	must(t, err)
	if revoked.RevokedAt == nil {
		t.Error("a revoked key does not say so")
	}
	_, err = h.KeyByHash(t.Context(), newKey("unknown", "").Hash)
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	for range 2 {
		must(t, h.EnsureKey(t.Context(), newKey("platform", "platform")))
	}
	platform, err := h.KeyByHash(t.Context(), newKey("platform", "").Hash)
	must(t, err)
	equal(t, "platform's customer", platform.CustomerID.Valid, false)
}

func TestNamesAreTakenOnce(t *testing.T) {
	h := newHouse(t)
	_, err := h.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "x", Email: "acme@example.com"}, "e", newKey("x", "admin"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: "acme", Region: "r"}, newKey("y", "agent"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = h.CreateCluster(t.Context(), uuid.New(), &adminv1.CreateClusterRequest{ClusterName: "z", Region: "r"}, newKey("z", "agent"))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	for _, secret := range []string{"x", "y", "z"} { // a key falls with what it was made for
		_, err := h.KeyByHash(t.Context(), newKey(secret, "").Hash)
		wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	}
}

func TestAnAccountSaysWhereAndAsWhomToLaunch(t *testing.T) {
	h := newHouse(t)
	got, err := h.Account(t.Context(), h.cluster)
	must(t, err)
	want := &Account{
		CustomerID: h.customer, ClusterName: "acme", Region: "us-east-1", RoleARN: "arn:aws:iam::123456789012:role/acme",
		ExternalID: "external-acme", LaunchTemplateID: "lt-1", SubnetIDs: map[string]string{"us-east-1a": "subnet-a"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for name, launch := range map[string]*adminv1.LaunchSettings{"none": nil, "empty": {}} {
		made, err := h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: name, Region: "r", Launch: launch}, newKey(name, "agent"))
		must(t, err)
		account, err := h.Account(t.Context(), uuid.MustParse(made.GetClusterId()))
		must(t, err)
		equal(t, "subnets", len(account.SubnetIDs), 0)
	}
}

func TestACostAndItsEffectCountOnlyWhatRuns(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"), node("b", "i-2"))
	must(t, h.SetNodePrices(t.Context(), []NodePrice{{h.cluster, "a", 0.03, 0.1}, {h.cluster, "b", 0.04, 0.1}}))
	story := h.optimization(t, h.cluster)
	must(t, h.SetRequest(t.Context(), story.ID, nil, 0.5))
	must(t, h.AddLaunches(t.Context(), story.ID, []Launch{{ClientToken: "t", InstanceType: "m5.large", Zone: "z", NodeType: "spot", Count: 2}}))
	must(t, h.SetLaunch(t.Context(), story.ID, Launch{Status: "launched", InstanceIDs: []string{"i-1", "i-2"}}))
	_, err := h.FinishOptimization(t.Context(), story.ID, "completed", "", 0, 0.1)
	must(t, err)
	check := func(current, alive float64) {
		t.Helper()
		costs, err := h.Costs(t.Context(), some(h.cluster), anyone)
		must(t, err)
		equal(t, "cost", costs[0].Current, current)
		effects, err := h.Effects(t.Context(), some(h.cluster), anyone)
		must(t, err)
		if diff := cmp.Diff([]Effect{{h.cluster, 0.4, 2, alive}}, effects); diff != "" {
			t.Error(diff)
		}
	}
	check(0.07, 2)
	must(t, h.PutDelta(t.Context(), h.cluster, epoch, deltaWithout(2, "b")))
	check(0.03, 1)
}

func TestPartitionsAreMadeAheadAndOldOnesDropped(t *testing.T) {
	h := newHouse(t)
	h.exec(t, `CREATE TABLE cluster_metrics_20200101 PARTITION OF cluster_metrics FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')`)
	errs := make(chan error, 4)
	for range 4 { // replicas start at the same time
		go func() { errs <- h.KeepPartitions(t.Context(), 24*time.Hour) }()
	}
	for range 4 {
		must(t, <-errs)
	}
	equal(t, "partitions", h.partitions(t), 1+partitionsAhead+1) // today, ahead, default
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(3 * 24 * time.Hour)} {
		must(t, h.report(t, at))
		must(t, h.report(t, at)) // said again
	}
	equal(t, "rows", h.count(t, "SELECT count(*) FROM cluster_metrics"), 2)
	equal(t, "rows in the default partition", h.count(t, "SELECT count(*) FROM cluster_metrics_default"), 0)
}

func TestAnAgentWithAWrongClockDoesNotStopThePartitions(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	// Before the partitions of these days are made, an agent reports from there.
	must(t, h.report(t, now.Add(2*24*time.Hour)))
	must(t, h.report(t, now))
	must(t, h.report(t, time.Unix(0, 0)))
	must(t, h.KeepPartitions(t.Context(), 24*time.Hour))
	equal(t, "partitions", h.partitions(t), 1+partitionsAhead+1)
	equal(t, "rows in the default partition", h.count(t, "SELECT count(*) FROM cluster_metrics_default"), 0)
	equal(t, "rows", h.count(t, "SELECT count(*) FROM cluster_metrics"), 2) // the one of 1970 is past keeping
	must(t, h.KeepPartitions(t.Context(), 24*time.Hour))
}

func TestASilentClusterGoesOfflineOnce(t *testing.T) {
	h := newHouse(t)
	h.session(t)
	gone, err := h.MarkOffline(t.Context())
	must(t, err)
	equal(t, "gone", len(gone), 0)
	h.exec(t, "UPDATE clusters SET last_seen_at = now() - interval '4 minutes'")
	equal(t, "health", h.state(t).GetHealthStatus(), "RED")
	gone, err = h.MarkOffline(t.Context())
	must(t, err)
	if diff := cmp.Diff(map[uuid.UUID]uuid.UUID{h.cluster: h.customer}, gone); diff != "" {
		t.Fatal(diff)
	}
	gone, err = h.MarkOffline(t.Context())
	must(t, err)
	equal(t, "gone again", len(gone), 0)
	must(t, h.Seen(t.Context(), h.cluster))
	equal(t, "back", h.count(t, "SELECT count(*) FROM clusters WHERE status = 'active'"), 1)
}

func (h *house) report(t *testing.T, at time.Time) error {
	t.Helper()
	return h.AddMetrics(t.Context(), h.cluster, &fleetv1.ClusterMetrics{Timestamp: timestamppb.New(at), TotalNodes: 1}, 0.5)
}

func (h *house) partitions(t *testing.T) int {
	t.Helper()
	return h.count(t, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'cluster_metrics'::regclass")
}
