package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
)

// fleet makes clusters with these names; the n-th costs n USD per hour, in turns of three.
func (h *house) fleet(t *testing.T, names ...string) {
	t.Helper()
	for n, name := range names {
		made, err := h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: name, Region: "us-east-1"}, newKey("k/"+name, "agent"))
		must(t, err)
		h.exec(t, "UPDATE clusters SET node_count = $2, last_seen_at = now() - make_interval(mins => $2), status = 'active' WHERE cluster_id = $1", made.GetClusterId(), n)
		h.exec(t, `INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, availability_zone, node_type, hourly_price, detail)
			VALUES ($1, 'n', $2, 'm5.large', 'us-east-1a', 'spot', $3, '{}')`, made.GetClusterId(), "i-"+name, n%3)
	}
}

func clusterNames(all []*adminv1.Cluster) []string {
	out := []string{}
	for _, one := range all {
		out = append(out, one.GetClusterName())
	}
	return out
}

// walk reads a list page by page.
func (h *house) walk(t *testing.T, list ClusterList, size int32) []string {
	t.Helper()
	got, token := []string{}, ""
	for {
		page, next, err := h.ClusterPage(t.Context(), list, size, token)
		must(t, err)
		got = append(got, clusterNames(page)...)
		if token = next; token == "" {
			return got
		}
		if len(page) != int(size) {
			t.Fatalf("%d on a page of %d that has a next one", len(page), size)
		}
	}
}

func TestClustersAreListedInEveryOrderInPages(t *testing.T) {
	h := newHouse(t)
	h.exec(t, "DELETE FROM clusters WHERE cluster_id = $1", h.cluster)
	h.fleet(t, "b", "Ab", "c", "aa", "d")
	h.tenant(t, "rival")
	mine := some(h.customer)
	for order, want := range map[string][]string{
		"":                           {"aa", "Ab", "b", "c", "d"},
		"cluster_name":               {"aa", "Ab", "b", "c", "d"},
		"cluster_name desc":          {"d", "c", "b", "Ab", "aa"},
		"node_count":                 {"b", "Ab", "c", "aa", "d"},
		"node_count desc":            {"d", "aa", "c", "Ab", "b"},
		"last_seen_at":               {"d", "aa", "c", "Ab", "b"},
		"last_seen_at desc":          {"b", "Ab", "c", "aa", "d"},
		"current_cost_per_hour":      nil,
		"current_cost_per_hour desc": nil,
	} {
		whole := h.walk(t, ClusterList{Customer: mine, OrderBy: order}, 0)
		if want != nil {
			if diff := cmp.Diff(want, whole); diff != "" {
				t.Errorf("%s: %s", order, diff)
			}
		}
		for size := int32(1); size < 6; size++ {
			if diff := cmp.Diff(whole, h.walk(t, ClusterList{Customer: mine, OrderBy: order}, size)); diff != "" {
				t.Errorf("%s, %d a page: %s", order, size, diff)
			}
		}
	}
	cost := map[string]int{"b": 0, "Ab": 1, "c": 2, "aa": 0, "d": 1}
	byCost := h.walk(t, ClusterList{Customer: mine, OrderBy: "current_cost_per_hour"}, 2)
	if !slices.IsSortedFunc(byCost, func(a, b string) int { return cost[a] - cost[b] }) || len(byCost) != 5 {
		t.Errorf("by cost: %v", byCost)
	}
	if dear := h.walk(t, ClusterList{Customer: mine, OrderBy: "current_cost_per_hour desc"}, 2); dear[0] != "c" {
		t.Errorf("the dearest is %v", dear)
	}
}

func TestClustersAreFoundByNameAndStatus(t *testing.T) {
	h := newHouse(t)
	h.fleet(t, "prod-eu", "prod-us", "Test_100%")
	h.exec(t, "UPDATE clusters SET status = 'offline' WHERE cluster_name = 'prod-us'")
	for name, c := range map[string]struct {
		list ClusterList
		want []string
	}{
		"all":                  {ClusterList{}, []string{"acme", "prod-eu", "prod-us", "Test_100%"}},
		"part of a name":       {ClusterList{Search: "PROD"}, []string{"prod-eu", "prod-us"}},
		"no pattern":           {ClusterList{Search: "_100%"}, []string{"Test_100%"}},
		"a wildcard":           {ClusterList{Search: "%"}, []string{"Test_100%"}},
		"offline":              {ClusterList{Status: "offline"}, []string{"prod-us"}},
		"never heard of":       {ClusterList{Status: "pending"}, []string{"acme"}},
		"offline with a name":  {ClusterList{Status: "offline", Search: "eu"}, []string{}},
		"of a rival":           {ClusterList{Customer: some(uuid.New())}, []string{}},
		"disconnected, if any": {ClusterList{Status: "disconnected"}, []string{}},
	} {
		if diff := cmp.Diff(c.want, h.walk(t, c.list, 0)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestATokenOfAnotherListIsRefused(t *testing.T) {
	h := newHouse(t)
	h.fleet(t, "a", "b")
	_, token, err := h.ClusterPage(t.Context(), ClusterList{OrderBy: "node_count"}, 1, "")
	must(t, err)
	for _, list := range []ClusterList{{}, {OrderBy: "node_count desc"}, {OrderBy: "cluster_name"}} {
		_, _, err := h.ClusterPage(t.Context(), list, 1, token)
		wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	}
	for _, bad := range []string{"x", "e30", "eyJpIjoiNyJ9"} { // {} and {"i":"7"}
		_, _, err := h.ClusterPage(t.Context(), ClusterList{}, 1, bad)
		wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
		page, err := NewPage(1, bad, "")
		if err == nil {
			_, _, err = h.SpotEvents(t.Context(), anyone, anyone, "", "", page)
		}
		wantReason(t, err, faultv1.Reason_REASON_INVALID_REQUEST)
	}
}

func TestSpotEventsAreListedInPagesThoughManyCameAtOnce(t *testing.T) {
	h := newHouse(t)
	for n := range 7 {
		kind := "rebalance_recommendation"
		if n%2 == 1 {
			kind = "interruption_warning"
		}
		_, err := h.AddSaid(t.Context(), Said{Cluster: h.cluster, Key: fmt.Sprint(n), InstanceID: fmt.Sprint("i-", n/2), Type: kind, Time: time.Now(), Source: "queue"})
		must(t, err)
	}
	h.exec(t, "UPDATE spot_events SET received_at = '2025-01-01 00:00:00.123456Z' WHERE dedup_key IN ('1', '2', '3', '4')")
	list := func(kind, instance string, limit int) []string {
		got, page := []string{}, Page{Limit: limit}
		for {
			events, token, err := h.SpotEvents(t.Context(), anyone, some(h.customer), kind, instance, page)
			must(t, err)
			for _, one := range events {
				got = append(got, one.GetEventId())
			}
			if token == "" {
				return got
			}
			page, err = NewPage(int32(limit), token, "")
			must(t, err)
		}
	}
	whole := list("", "", 100)
	if len(whole) != 7 || len(list("interruption_warning", "", 2)) != 3 || len(list("", "i-1", 1)) != 2 || len(list("interruption_warning", "i-1", 1)) != 1 {
		t.Errorf("%d events, or the filters do not hold", len(whole))
	}
	for limit := 1; limit < 7; limit++ {
		if diff := cmp.Diff(whole, list("", "", limit)); diff != "" {
			t.Errorf("%d a page: %s", limit, diff)
		}
	}
}

func TestModelsAreListedInPages(t *testing.T) {
	h := newHouse(t)
	for n := range 5 {
		h.exec(t, `INSERT INTO models (model_version, name, kind, format, sha256, size_bytes, content, checked, schema_ok, created_by, created_at)
			VALUES ($1, 'm', 'spot_interruption', 'cloudoptim', $2, 1, 'x', '{}', true, 'test', '2025-01-01'::timestamptz + make_interval(hours => $3))`,
			fmt.Sprintf("%016x", n), fmt.Sprintf("%016x%048x", n, 0), n/2)
	}
	got, page := []string{}, Page{Limit: 2}
	for {
		models, token, err := h.Models(t.Context(), page)
		must(t, err)
		for _, one := range models {
			got = append(got, one.GetModelVersion()[15:])
		}
		if token == "" {
			break
		}
		page, err = NewPage(2, token, "")
		must(t, err)
	}
	if diff := cmp.Diff([]string{"4", "2", "3", "0", "1"}, got); diff != "" {
		t.Error(diff)
	}
}
