package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func (h *house) record(t *testing.T) *adminv1.ClusterRecord {
	t.Helper()
	record, err := h.ClusterRecord(t.Context(), h.cluster, anyone)
	must(t, err)
	return record
}

func (h *house) disconnect(t *testing.T) Departure {
	t.Helper()
	left, err := h.DisconnectCluster(t.Context(), h.cluster, some(h.customer), "bye")
	must(t, err)
	return left
}

func TestARecordSaysWhetherTheAgentIsThere(t *testing.T) {
	h := newHouse(t)
	record := h.record(t)
	equal(t, "state's age", record.GetStateAgeSeconds(), -1)
	equal(t, "connected", record.GetConnected(), false)
	equal(t, "template", record.GetLaunch().GetLaunchTemplateId(), "lt-1")
	opened, err := h.OpenSessionOf(t.Context(), Opening{Cluster: h.cluster, Replica: "r1", AgentID: "a", Version: "0.9", KubernetesVersion: "v1.33"})
	must(t, err)
	record = h.record(t)
	equal(t, "version", record.GetAgentVersion(), "0.9")
	equal(t, "replica", record.GetConnectedTo(), "r1")
	equal(t, "connected", record.GetConnected(), true)
	equal(t, "state's age, before the inventory", record.GetStateAgeSeconds(), -1)
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true}))
	if age := h.record(t).GetStateAgeSeconds(); age < 0 || age > 10 {
		t.Errorf("state's age: %v", age)
	}
	must(t, h.CloseSession(t.Context(), h.cluster, opened.Epoch))
	equal(t, "replica of one that polls", h.record(t).GetConnectedTo(), "")
	equal(t, "one that polls is connected", h.record(t).GetConnected(), true)
	h.exec(t, "UPDATE clusters SET last_seen_at = now() - interval '20 seconds'")
	equal(t, "silent for four heartbeats", h.record(t).GetConnected(), false)
	_, err = h.ClusterRecord(t.Context(), h.cluster, some(uuid.New()))
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
}

func TestAClusterIsChangedByWhoSawItsLastVersion(t *testing.T) {
	h := newHouse(t)
	first := h.record(t)
	req := &adminv1.UpdateClusterRequest{ClusterId: h.cluster.String(), ClusterName: "renamed", Etag: first.GetEtag()}
	_, after, err := h.UpdateCluster(t.Context(), some(h.customer), req)
	must(t, err)
	equal(t, "name", after.GetCluster().GetClusterName(), "renamed")
	equal(t, "launch settings", after.GetLaunch(), nil)
	if after.GetEtag() == first.GetEtag() {
		t.Error("the etag stays")
	}
	again, same, err := h.UpdateCluster(t.Context(), some(h.customer), req) // the first answer was lost
	must(t, err)
	equal(t, "said again", again == same && same.GetEtag() == after.GetEtag(), true)
	req.ClusterName = "late"
	_, _, err = h.UpdateCluster(t.Context(), some(h.customer), req)
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	req.Etag = ""
	req.Launch = &adminv1.LaunchSettings{LaunchTemplateId: "lt-2", SubnetIds: map[string]string{"us-east-1b": "subnet-b"}}
	_, after, err = h.UpdateCluster(t.Context(), anyone, req)
	must(t, err)
	equal(t, "template", after.GetLaunch().GetLaunchTemplateId(), "lt-2")
	equal(t, "subnet", after.GetLaunch().GetSubnetIds()["us-east-1b"], "subnet-b")
	_, _, err = h.UpdateCluster(t.Context(), some(uuid.New()), req)
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	_, err = h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: "taken", Region: "r"}, newKey("taken", "agent"))
	must(t, err)
	req.ClusterName = "taken"
	_, _, err = h.UpdateCluster(t.Context(), anyone, req)
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
}

func TestADisconnectedClusterIsLeftAloneAndRemembered(t *testing.T) {
	h := newHouse(t)
	epoch := h.inventory(t, node("a", "i-1"))
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("a", "i-1")}, Pods: []*fleetv1.Pod{pod("p", "a")}}))
	waiting, running := h.task(t, 5), h.task(t, 1)
	leased := h.lease(t, epoch, 1)
	equal(t, "leased", leased[0].GetTaskId(), running.String())
	h.exec(t, `INSERT INTO interruptions (cluster_id, instance_id, node_name, state, urgency, replacement) VALUES ($1, 'i-1', 'a', 'draining', 3, 'pending')`, h.cluster)
	_, err := h.AddEvents(t.Context(), h.cluster, []*fleetv1.Event{{EventId: "e", Type: "Normal", Reason: "r", ObjectKind: "Pod", ObjectName: "p", LastSeen: timestamppb.Now()}})
	must(t, err)

	_, err = h.DisconnectCluster(t.Context(), h.cluster, some(uuid.New()), "x")
	wantReason(t, err, faultv1.Reason_REASON_NOT_FOUND)
	left := h.disconnect(t)
	equal(t, "changed", left.Changed, true)
	equal(t, "keys", len(left.Keys), 1)
	equal(t, "tasks to stop", left.Asked, 1)
	equal(t, "status", left.Record.GetCluster().GetStatus(), "disconnected")
	if left.Record.GetDisconnectedAt() == nil || left.Record.GetConnected() || left.Record.GetStateAgeSeconds() != -1 {
		t.Errorf("the record: %v", left.Record)
	}
	equal(t, "waiting task", h.status(t, waiting), "cancelled")
	cancelled, err := h.CancelledTasks(t.Context(), h.cluster)
	must(t, err)
	equal(t, "tasks that the agent is to stop", len(cancelled), 1)
	h.exec(t, "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE finished_at IS NULL AND lease_until <= now() + interval '5 seconds'")
	_, err = h.ReleaseTasks(t.Context())
	must(t, err)
	equal(t, "running task, when the agent said nothing", h.status(t, running), "cancelled")
	equal(t, "open interruptions", h.count(t, "SELECT count(*) FROM interruptions WHERE closed_at IS NULL OR replacement = 'pending'"), 0)
	equal(t, "live nodes", h.count(t, "SELECT count(*) FROM nodes WHERE terminated_at IS NULL"), 0)
	equal(t, "pods", h.count(t, "SELECT count(*) FROM pods"), 0)
	equal(t, "nodes counted", left.Record.GetCluster().GetNodeCount(), 0)
	equal(t, "silence", h.count(t, "SELECT count(*) FROM silences WHERE cluster_id = $1 AND until IS NULL", h.cluster), 1)
	for table, want := range map[string]int{"nodes": 1, "tasks": 2, "interruptions": 1, "cluster_events": 1, "clusters": 1} {
		equal(t, "history in "+table, h.count(t, "SELECT count(*) FROM "+table), want)
	}

	before := h.record(t)
	again := h.disconnect(t)
	equal(t, "changed again", again.Changed, false)
	equal(t, "etag", again.Record.GetEtag(), before.GetEtag())
	equal(t, "since", again.Record.GetDisconnectedAt().AsTime(), before.GetDisconnectedAt().AsTime())
	h.requireLeft(t, epoch)
}

// requireLeft tries what an agent that still speaks, a person and a sweep could do.
func (h *house) requireLeft(t *testing.T, epoch int64) {
	t.Helper()
	must(t, h.Seen(t.Context(), h.cluster))
	live, err := h.TouchSession(t.Context(), h.cluster, epoch)
	must(t, err)
	equal(t, "the session lives", live, false)
	_, err = h.OpenSession(t.Context(), h.cluster, "r", "")
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	err = h.PutDelta(t.Context(), h.cluster, epoch, &agentv1.InventoryDelta{InventorySequence: 2, Nodes: []*fleetv1.NodeMetric{node("b", "i-2")}})
	wantReason(t, err, faultv1.Reason_REASON_SUPERSEDED)
	_, err = h.PutSnapshot(t.Context(), h.cluster, epoch, &agentv1.InventorySnapshot{InventorySequence: 1, Last: true})
	wantReason(t, err, faultv1.Reason_REASON_SUPERSEDED)
	wantReason(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("b", "i-2")}}), faultv1.Reason_REASON_CONFLICT)
	_, err = h.MarkOffline(t.Context())
	must(t, err)
	_, err = h.AddOptimization(t.Context(), triggered(h.cluster))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = h.CreateKey(t.Context(), some(h.customer), some(h.cluster), newKey("more", "agent"))
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, err = h.AddInterruption(t.Context(), &Interruption{Cluster: h.cluster, InstanceID: "i-9"})
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, _, err = h.RotateAgentKey(t.Context(), h.cluster, newKey("more", "agent"), time.Now())
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	_, _, err = h.UpdateCluster(t.Context(), anyone, &adminv1.UpdateClusterRequest{ClusterId: h.cluster.String(), ClusterName: "y"})
	wantReason(t, err, faultv1.Reason_REASON_CONFLICT)
	equal(t, "disconnected", h.count(t, "SELECT count(*) FROM clusters WHERE status = 'disconnected'"), 1)
	equal(t, "live nodes", h.count(t, "SELECT count(*) FROM nodes WHERE terminated_at IS NULL"), 0)
	equal(t, "optimizations", h.count(t, "SELECT count(*) FROM optimization_history"), 0)
	equal(t, "valid keys", h.count(t, "SELECT count(*) FROM api_keys WHERE cluster_id IS NOT NULL AND revoked_at IS NULL"), 0)
	// Its name is free.
	_, err = h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: "acme", Region: "us-east-1"}, newKey("anew", "agent"))
	must(t, err)
}

func TestOptimizationsEndWithTheirClusterAndNoJobCarriesThemOn(t *testing.T) {
	h := newHouse(t)
	story := h.optimization(t, h.cluster)
	must(t, h.BeginStep(t.Context(), story))
	ids, err := h.LeaveOptimizations(t.Context(), h.cluster, "bye")
	must(t, err)
	equal(t, "ended", len(ids), 1)
	moved, err := h.EndStep(t.Context(), story, "completed", nil, "", 2)
	must(t, err)
	equal(t, "a step that was under way moved it on", moved, false)
	orphans, err := h.Orphans(t.Context(), 0)
	must(t, err)
	equal(t, "orphans", len(orphans), 0)
	ended, err := h.Story(t.Context(), story.ID)
	must(t, err)
	equal(t, "ended", ended.Ended(), true)
	equal(t, "status", ended.Status, "cancelled")
	equal(t, "step in hand", ended.Steps[0].Status, "failed")
	equal(t, "step to come", ended.Steps[1].Status, "skipped")
	ids, err = h.LeaveOptimizations(t.Context(), h.cluster, "bye")
	must(t, err)
	equal(t, "ended again", len(ids), 0)
}

func TestKeysAreRotatedWithAnOverlapOrAtOnce(t *testing.T) {
	h := newHouse(t)
	soon := time.Now().Add(10 * time.Minute)
	h.exec(t, "UPDATE api_keys SET expires_at = $1 WHERE cluster_id IS NOT NULL", soon)
	_, ended, err := h.RotateAgentKey(t.Context(), h.cluster, newKey("second", "agent"), time.Now().Add(time.Hour))
	must(t, err)
	equal(t, "ended at once", len(ended), 0)
	first, err := h.KeyByHash(t.Context(), newKey("acme/agent", "").Hash)
	must(t, err)
	if first.ExpiresAt == nil || first.ExpiresAt.Sub(soon).Abs() > time.Millisecond {
		t.Errorf("a key that ends sooner ends at %v, want %v", first.ExpiresAt, soon)
	}
	third, ended, err := h.RotateAgentKey(t.Context(), h.cluster, newKey("third", "agent"), time.Now())
	must(t, err)
	equal(t, "ended at once", len(ended), 2)
	for _, id := range ended {
		if id.String() == third.GetApiKeyId() {
			t.Error("the new key has ended")
		}
	}
	admin, err := h.KeyByHash(t.Context(), newKey("acme/admin", "").Hash)
	must(t, err)
	if admin.RevokedAt != nil || admin.ExpiresAt != nil {
		t.Error("a person's key ended with the agent's")
	}
}
