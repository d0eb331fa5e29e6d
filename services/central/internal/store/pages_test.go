package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// walkInventory reads all pages of nodes and returns their names; between pages, change is called.
func (h *house) walkInventory(t *testing.T, req *adminv1.ListNodesRequest, change func(page int)) []string {
	t.Helper()
	var all []string
	for page := 0; ; page++ {
		nodes, next, err := h.Nodes(t.Context(), h.cluster, req)
		must(t, err)
		for _, node := range nodes {
			all = append(all, node.GetNode().GetNodeName())
		}
		if next == "" {
			return all
		}
		if len(nodes) != int(req.GetPageSize()) {
			t.Fatalf("a page before the last has %d nodes", len(nodes))
		}
		req.PageToken = next
		change(page)
	}
}

func nothing(int) {}

// stocked of 25 nodes: many ties in every order but the name's.
func (h *house) stocked(t *testing.T) {
	t.Helper()
	change := Fleet{Complete: true}
	for i := range 25 {
		one := node(fmt.Sprintf("n%02d", i), fmt.Sprintf("i-%02d", i))
		one.InstanceType = []string{"m5.large", "c5.large", ""}[i%3]
		if i%2 == 0 {
			one.NodeType = "spot"
		}
		one.CreatedAt = timestamppb.New(time.Unix(1_700_000_000+int64(i%4)*1000, 0))
		change.Nodes = append(change.Nodes, one)
		for p := range i % 5 {
			change.Pods = append(change.Pods, pod(fmt.Sprintf("%d-%d", i, p), one.NodeName))
		}
	}
	must(t, h.PutReport(t.Context(), h.cluster, change))
	h.exec(t, "UPDATE nodes SET hourly_price = 0.1 + substr(node_name, 2)::int % 3 * 0.07 WHERE node_name <> 'n07'")
	h.exec(t, `UPDATE nodes SET interruption_risk = (substr(node_name, 2)::int % 7) / 7.0, risk_at = now() WHERE node_type = 'spot' AND node_name <> 'n04'`)
	h.exec(t, `UPDATE nodes SET risk_at = now() - interval '7 hours' WHERE node_name = 'n06'`)
}

func TestNodesArePagedInEveryOrderWithoutLossOrRepeat(t *testing.T) {
	h := newHouse(t)
	h.stocked(t)
	_, foreign := h.tenant(t, "rival")
	must(t, h.PutReport(t.Context(), foreign, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("n03", "i-x")}}))
	keys := map[string]func(*adminv1.Node) float64{
		"node_name":     func(*adminv1.Node) float64 { return 0 },
		"instance_type": func(n *adminv1.Node) float64 { return float64(len(n.GetNode().GetInstanceType()) * 1000) },
		"hourly_price":  func(n *adminv1.Node) float64 { return n.GetNode().GetHourlyPrice() },
		"requested":     (*adminv1.Node).GetRequestedRatio,
		"risk": func(n *adminv1.Node) float64 {
			if n.InterruptionRisk == nil {
				return -1
			}
			return n.GetInterruptionRisk()
		},
		"created_at": func(n *adminv1.Node) float64 { return float64(n.GetNode().GetCreatedAt().GetSeconds()) },
	}
	for order, key := range keys {
		for _, size := range []int32{1, 7, 24, 25} {
			up := h.walkInventory(t, &adminv1.ListNodesRequest{OrderBy: order, PageSize: size}, nothing)
			down := h.walkInventory(t, &adminv1.ListNodesRequest{OrderBy: order + " desc", PageSize: size}, nothing)
			slices.Reverse(down)
			if diff := cmp.Diff(up, down); diff != "" {
				t.Errorf("%s backwards by %d: %s", order, size, diff)
			}
			if sorted := slices.Compact(slices.Sorted(slices.Values(up))); len(up) != 25 || len(sorted) != 25 {
				t.Errorf("%s by %d: %d nodes, %d different", order, size, len(up), len(sorted))
			}
		}
		whole, _, err := h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{OrderBy: order, PageSize: 100})
		must(t, err)
		sorted := slices.IsSortedFunc(whole, func(a, b *adminv1.Node) int {
			if ka, kb := key(a), key(b); ka != kb && order != "instance_type" {
				if ka < kb {
					return -1
				}
				return 1
			}
			if order == "instance_type" && a.GetNode().GetInstanceType() != b.GetNode().GetInstanceType() {
				return strings.Compare(a.GetNode().GetInstanceType(), b.GetNode().GetInstanceType())
			}
			return strings.Compare(a.GetNode().GetNodeName(), b.GetNode().GetNodeName())
		})
		if !sorted {
			t.Errorf("%s is not in order", order)
		}
	}
}

func TestNodesThatComeAndGoBetweenPagesRepeatNone(t *testing.T) {
	h := newHouse(t)
	h.stocked(t)
	for _, order := range []string{"", "instance_type desc", "hourly_price", "requested desc", "risk", "created_at desc"} {
		seen := h.walkInventory(t, &adminv1.ListNodesRequest{OrderBy: order, PageSize: 4}, func(page int) {
			// One before and one behind every place, and one that is gone.
			for _, name := range []string{fmt.Sprintf("a%s%d", order, page), fmt.Sprintf("z%s%d", order, page)} {
				h.exec(t, `INSERT INTO nodes (cluster_id, node_name, node_type, detail) VALUES ($1, $2::text, 'spot', jsonb_build_object('node_name', $2::text))
					ON CONFLICT DO NOTHING`, h.cluster, name)
			}
			h.exec(t, `UPDATE nodes SET status = 'Terminated', terminated_at = now() WHERE node_name = $1`, fmt.Sprintf("a%s%d", order, page-1))
			if page > 30 {
				t.Fatal("the list has no end")
			}
			h.exec(t, `DELETE FROM nodes WHERE $1 > 5 AND node_name LIKE 'z%'`, page)
		})
		originals := slices.DeleteFunc(slices.Clone(seen), func(name string) bool { return !strings.HasPrefix(name, "n") })
		if len(originals) != 25 {
			t.Errorf("%s: %d of the 25 that stay were listed", order, len(originals))
		}
		if len(slices.Compact(slices.Sorted(slices.Values(seen)))) != len(seen) {
			t.Errorf("%s: a node was listed twice: %v", order, seen)
		}
		h.exec(t, "DELETE FROM nodes WHERE node_name NOT LIKE 'n%'")
	}
}

func TestATokenLeadsNowhereInAnotherOrder(t *testing.T) {
	h := newHouse(t)
	h.stocked(t)
	_, next, err := h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{OrderBy: "risk", PageSize: 3})
	must(t, err)
	_, _, err = h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{OrderBy: "risk desc", PageSize: 3, PageToken: next})
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	for _, bad := range []string{"nonsense", "e30", "eyJvIjoicmlzayIsImsiOiJ4IiwiaSI6Im4ifQ"} { // the last has x for a number
		_, _, err = h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{OrderBy: "risk", PageToken: bad})
		wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	}
	_, _, err = h.Events(t.Context(), h.cluster, &adminv1.ListEventsRequest{PageToken: "eyJrIjoieCIsImkiOiJuIn0"})
	wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
}

func TestNodesAreFilteredAndFound(t *testing.T) {
	h := newHouse(t)
	h.stocked(t)
	h.exec(t, "UPDATE nodes SET availability_zone = 'us-east-1b' WHERE node_name IN ('n01', 'n02')")
	for want, req := range map[int]*adminv1.ListNodesRequest{
		13: {NodeType: "spot"}, 12: {NodeType: "on-demand"}, 2: {AvailabilityZone: "us-east-1b"}, 9: {InstanceType: "m5.large"},
		1: {Search: "I-07"}, 8: {Search: "C5.L"}, 5: {Search: "n2", PageSize: 6}, 0: {Search: "%"}, 25: {Search: "N"},
	} {
		req.PageSize = 100
		equal(t, fmt.Sprint(req), len(h.walkInventory(t, req, nothing)), want)
	}
}

func TestANodeSaysWhatItCarriesAndWhatItRisks(t *testing.T) {
	h := newHouse(t)
	h.stocked(t)
	nodes, _, err := h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{PageSize: 10})
	must(t, err)
	four := nodes[4] // two vCPU and 8 GiB, four pods of half a vCPU and a GiB
	equal(t, "requested", four.GetRequestedRatio(), 1)
	equal(t, "cpu", four.GetNode().GetCpuAllocated(), 2)
	equal(t, "memory", four.GetNode().GetMemoryAllocatedGb(), 4)
	equal(t, "pods", four.GetNode().GetPodCount(), 4)
	if four.InterruptionRisk != nil || nodes[6].InterruptionRisk != nil || nodes[1].InterruptionRisk != nil {
		t.Error("a risk that is unknown, old or on demand is told")
	}
	if nodes[8].InterruptionRisk == nil || nodes[8].GetInterruptionRisk() != 1.0/7 {
		t.Errorf("risk: %v", nodes[8].InterruptionRisk)
	}
	if four.CpuUsedRatio != nil || four.MemoryUsedRatio != nil {
		t.Error("usage is told, which nobody measures")
	}
	// The same name on another instance is another node: what was foretold was not of it.
	again := node("n08", "i-new")
	again.NodeType = "spot"
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Nodes: []*fleetv1.NodeMetric{again}}))
	nodes, _, err = h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{Search: "i-new"})
	must(t, err)
	if nodes[0].InterruptionRisk != nil {
		t.Error("a new instance inherits a risk")
	}
}

func TestANodesStateNamesWhoActsOnIt(t *testing.T) {
	h := newHouse(t)
	all := Fleet{Complete: true}
	for _, name := range []string{"active", "down", "cordoned", "planned", "draining", "task", "interrupted", "risky", "joining", "launched"} {
		one := node(name, "i-"+name)
		one.Ready = name != "down" && name != "joining"
		one.Unschedulable = name == "cordoned" || name == "planned"
		all.Nodes = append(all.Nodes, one)
	}
	must(t, h.PutReport(t.Context(), h.cluster, all))
	story := h.optimization(t, h.cluster)
	h.exec(t, "UPDATE optimization_history SET status = 'executing'")
	must(t, h.AddReplaced(t.Context(), story.ID, []Replaced{
		{Position: 0, Node: "planned", InstanceID: "i-planned"},
		{Position: 1, Node: "draining", InstanceID: "i-draining"},
		{Position: 2, Node: "active", InstanceID: "i-of-before"},
		{Position: 3, Node: "interrupted", InstanceID: "i-interrupted"},
	}))
	must(t, h.SetReplaced(t.Context(), story.ID, "draining", "", "draining", "active", "interrupted"))
	must(t, h.AddLaunches(t.Context(), story.ID, []Launch{{ClientToken: "t", InstanceType: "m5.large", Zone: "z", NodeType: "spot", Count: 2}}))
	must(t, h.SetLaunch(t.Context(), story.ID, Launch{Status: "launched", InstanceIDs: []string{"i-joining", "i-launched"}}))
	var interruption string
	must(t, h.db.Pool.QueryRow(t.Context(), `INSERT INTO interruptions (cluster_id, instance_id, node_name, state, urgency)
		VALUES ($1, 'i-interrupted', 'interrupted', 'draining', 3) RETURNING interruption_id::text`, h.cluster).Scan(&interruption))
	h.exec(t, `INSERT INTO interruptions (cluster_id, instance_id, node_name, state) VALUES ($1, 'i-risky', 'risky', 'at_risk')`, h.cluster)
	h.exec(t, `INSERT INTO tasks (task_id, cluster_id, task_type, parameters, deadline, status, lease_until)
		VALUES (gen_random_uuid(), $1, 'drain_node', '{"node_name": "task"}', now() + interval '1 hour', 'running', now() + interval '1 minute')`, h.cluster)
	nodes, _, err := h.Nodes(t.Context(), h.cluster, &adminv1.ListNodesRequest{})
	must(t, err)
	got := map[string]string{}
	for _, node := range nodes {
		by := strings.NewReplacer(story.ID.String(), "story", interruption, "interruption").Replace(node.GetActedOnBy())
		got[node.GetNode().GetNodeName()] = strings.TrimSpace(node.GetState() + " " + by)
	}
	want := map[string]string{
		"active": "active", "down": "not_ready", "cordoned": "cordoned", "planned": "cordoned story", "draining": "draining story",
		"task": "draining", "interrupted": "interrupted interruption", "risky": "active", "joining": "joining story", "launched": "active story",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPodsArePagedByNamespaceAndName(t *testing.T) {
	h := newHouse(t)
	all := Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{node("n1", "i-1")}}
	for i := range 23 {
		one := pod(fmt.Sprintf("u%02d", i), []string{"n1", ""}[i%2])
		one.Namespace, one.Name = []string{"web", "data", "we"}[i%3], fmt.Sprintf("p-%d", i/6) // the same name on several: a new pod beside the old
		all.Pods = append(all.Pods, one)
	}
	must(t, h.PutReport(t.Context(), h.cluster, all))
	list := func(req *adminv1.ListPodsRequest, change func()) []string {
		t.Helper()
		var out []string
		for {
			pods, next, err := h.Pods(t.Context(), h.cluster, req)
			must(t, err)
			for _, pod := range pods {
				out = append(out, pod.GetNamespace()+"/"+pod.GetName()+"/"+pod.GetUid())
			}
			if next == "" {
				return out
			}
			req.PageToken = next
			change()
		}
	}
	for _, size := range []int32{1, 5, 22, 23} {
		n := 0
		got := list(&adminv1.ListPodsRequest{PageSize: size}, func() {
			n++ // one before every place
			h.exec(t, `INSERT INTO pods (cluster_id, pod_uid, namespace, pod_name, detail) VALUES ($1, $2, 'aaa', 'new', '{}')`, h.cluster, fmt.Sprint(size, "-", n))
		})
		if len(got) != 23 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 23 {
			t.Errorf("by %d: %d pods: %v", size, len(got), got)
		}
		h.exec(t, "DELETE FROM pods WHERE namespace = 'aaa'")
	}
	for want, req := range map[int]*adminv1.ListPodsRequest{
		8: {Namespace: "web"}, 12: {NodeName: "n1"}, 11: {Phase: "Pending"}, 6: {Search: "P-1"}, 4: {Namespace: "web", NodeName: "n1"}, 0: {Search: "_"},
	} {
		req.PageSize = 3
		equal(t, fmt.Sprint(req), len(list(req, func() {})), want)
	}
}

func TestEventsArePagedThoseSeenLastFirst(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	var all []*fleetv1.Event
	for i := range 17 {
		all = append(all, &fleetv1.Event{
			EventId: fmt.Sprintf("e%02d", i), Type: []string{"Normal", "Warning"}[i%2], Reason: "r", ObjectKind: "Pod", ObjectName: fmt.Sprintf("p%d", i%3),
			LastSeen: timestamppb.New(now.Add(time.Duration(i/4) * time.Microsecond)), // ties
		})
	}
	_, err := h.AddEvents(t.Context(), h.cluster, all)
	must(t, err)
	list := func(req *adminv1.ListEventsRequest, again bool) []string {
		t.Helper()
		var out []string
		for {
			events, next, err := h.Events(t.Context(), h.cluster, req)
			must(t, err)
			for _, event := range events {
				out = append(out, event.GetEventId())
			}
			if next == "" {
				return out
			}
			req.PageToken = next
			if again { // what was listed is seen again and moves to the front
				h.exec(t, "UPDATE cluster_events SET last_seen = now() + interval '1 hour' WHERE event_id = $1", out[0])
			}
		}
	}
	got := list(&adminv1.ListEventsRequest{PageSize: 3}, true)
	want := make([]string, 0, len(all))
	for i := range all {
		want = append(want, all[len(all)-1-i].GetEventId())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	equal(t, "warnings", len(list(&adminv1.ListEventsRequest{Type: "Warning", PageSize: 3}, false)), 8)
	equal(t, "of an object", len(list(&adminv1.ListEventsRequest{ObjectName: "p1", PageSize: 4}, false)), 6)
}

func TestTwentyThousandNodesAndPodsAreAllListed(t *testing.T) {
	h := newHouse(t)
	const many = 20_000
	h.exec(t, `INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, node_type, cpu_allocatable, memory_allocatable_gb, hourly_price, detail)
		SELECT $1, 'n' || i, 'i-' || i, 'm5.large', 'spot', 2, 8, 0.03, jsonb_build_object('node_name', 'n' || i, 'ready', true) FROM generate_series(1, $2::int) i`, h.cluster, many)
	h.exec(t, `INSERT INTO pods (cluster_id, pod_uid, namespace, pod_name, node_name, detail)
		SELECT $1, 'u' || i, 'ns' || i % 50, 'p' || i, 'n' || i, '{"requests": {"cpu_millicores": "500", "memory_bytes": "1073741824"}}' FROM generate_series(1, $2::int) i`, h.cluster, many)
	for _, order := range []string{"", "requested desc"} {
		names := h.walkInventory(t, &adminv1.ListNodesRequest{OrderBy: order, PageSize: 1000}, nothing)
		equal(t, "nodes "+order, len(names), many)
		slices.Sort(names)
		equal(t, "different nodes "+order, len(slices.Compact(names)), many)
	}
	seen, token := 0, ""
	for {
		pods, next, err := h.Pods(t.Context(), h.cluster, &adminv1.ListPodsRequest{PageSize: 1000, PageToken: token})
		must(t, err)
		seen += len(pods)
		if token = next; next == "" {
			break
		}
	}
	equal(t, "pods", seen, many)
}

func TestSpotPoolsTellWhatTheyCostAndHowOftenTheyWereTaken(t *testing.T) {
	h := newHouse(t)
	rival, foreign := h.tenant(t, "rival")
	spot := func(name, kind string) *fleetv1.NodeMetric {
		one := node(name, "i-"+name)
		one.NodeType, one.InstanceType = "spot", kind
		return one
	}
	must(t, h.PutReport(t.Context(), h.cluster, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{
		spot("a", "m5.large"), spot("b", "m5.large"), spot("c", "c5.large"), node("d", "i-d"),
	}}))
	must(t, h.PutReport(t.Context(), foreign, Fleet{Complete: true, Nodes: []*fleetv1.NodeMetric{spot("a", "m5.large"), spot("x", "r5.large")}}))
	must(t, h.SetNodePrices(t.Context(), []NodePrice{{h.cluster, "a", 0.03, 0.1}, {h.cluster, "b", 0.03, 0.1}, {h.cluster, "c", 0.05, 0.2}}))
	h.exec(t, "UPDATE nodes SET created_at = now() - interval '10 hours' WHERE cluster_id = $1", h.cluster)
	h.exec(t, "UPDATE nodes SET created_at = now() - interval '60 days' WHERE cluster_id = $1 AND node_name = 'b'", h.cluster)
	h.exec(t, "UPDATE nodes SET interruption_risk = 0.2, risk_model = 'fleet_record', risk_at = now() WHERE cluster_id = $1 AND node_name = 'a'", h.cluster)
	h.exec(t, "UPDATE nodes SET interruption_risk = 0.4, risk_model = 'abc', risk_at = now() - interval '1 minute' WHERE cluster_id = $1 AND node_name = 'b'", h.cluster)
	h.exec(t, "UPDATE nodes SET status = 'Terminated', terminated_at = now() - interval '4 hours' WHERE cluster_id = $1 AND node_name = 'c'", h.cluster)
	for i, causes := range []string{"{interruption_warning}", "{instance_terminated}", "{interruption_warning,rebalance_recommendation}"} {
		h.exec(t, `INSERT INTO interruptions (cluster_id, instance_id, region, availability_zone, instance_type, node_type, state, causes, opened_at)
			VALUES ($1, $2, 'us-east-1', 'us-east-1a', 'm5.large', 'spot', 'gone', $3::text[], now() - $4::int * interval '20 days')`, h.cluster, fmt.Sprint("i-", i), causes, i)
	}
	for account, kind := range map[string]string{"arn:aws:iam::123456789012:role/acme": "m5.large", "arn:aws:iam::123456789012:role/rival": "c5.large"} {
		must(t, h.RefusePool(t.Context(), Refusal{Account: account, Region: "us-east-1", Pool: Pool{kind, "us-east-1a", "spot"}, Reason: "x"}, time.Hour))
	}
	pools, err := h.SpotPools(t.Context(), anyone, some(h.customer))
	must(t, err)
	equal(t, "pools", len(pools), 2)
	m5, c5 := pools[0], pools[1]
	equal(t, "type", m5.GetInstanceType()+" "+m5.GetAvailabilityZone()+" "+m5.GetRegion(), "m5.large us-east-1a us-east-1")
	equal(t, "nodes", m5.GetNodes(), 2)
	equal(t, "price", m5.GetSpotPrice(), 0.03)
	equal(t, "on demand", m5.GetOnDemandPrice(), 0.1)
	equal(t, "interruptions", m5.GetInterruptions(), 1) // one is 40 days ago, one no warning
	if hours := m5.GetNodeHours(); hours < 729.9 || hours > 730.1 {
		t.Errorf("node hours: %v, want 10 + 720", hours)
	}
	if risk := m5.GetInterruptionRisk(); risk < 0.2999 || risk > 0.3001 || m5.GetRiskModel() != "fleet_record" {
		t.Errorf("risk: %v by %q", risk, m5.GetRiskModel())
	}
	if until := m5.GetRefusedUntil(); until == nil || time.Until(until.AsTime()) < 50*time.Minute {
		t.Errorf("refused until %v", until)
	}
	equal(t, "nodes that are gone", c5.GetNodes(), 0)
	equal(t, "their price", c5.GetSpotPrice(), 0.05)
	if hours := c5.GetNodeHours(); hours < 5.9 || hours > 6.1 || c5.InterruptionRisk != nil || c5.GetRefusedUntil() != nil {
		t.Errorf("a pool of before: %v", c5)
	}
	pools, err = h.SpotPools(t.Context(), some(foreign), some(rival))
	must(t, err)
	equal(t, "rival's pools", len(pools), 2)
	pools, err = h.SpotPools(t.Context(), some(h.cluster), some(rival))
	must(t, err)
	equal(t, "another's pools", len(pools), 0)
	pools, err = h.SpotPools(t.Context(), some(uuid.New()), anyone)
	must(t, err)
	equal(t, "pools of no cluster", len(pools), 0)
}
