package savings

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"pgregory.net/rapid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// market knows m5.large in two zones, and what it was asked.
type market struct {
	mlv1.MarketServiceClient
	mu    sync.Mutex
	asked []string
	away  error
}

func (m *market) ListPrices(_ context.Context, req *mlv1.ListPricesRequest, _ ...grpc.CallOption) (*mlv1.ListPricesResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	types := slices.Sorted(slices.Values(req.GetInstanceTypes()))
	m.asked = append(m.asked, req.GetRegion()+": "+strings.Join(types, " "))
	if m.away != nil {
		return nil, m.away
	}
	resp := &mlv1.ListPricesResponse{}
	if slices.Contains(types, "m5.large") {
		resp.Prices = []*mlv1.Price{
			{InstanceType: "m5.large", AvailabilityZone: "a", Spot: 0.03, OnDemand: 0.096},
			{InstanceType: "m5.large", AvailabilityZone: "b", Spot: 0.04, OnDemand: 0.096},
			{InstanceType: "m5.large", AvailabilityZone: "c", OnDemand: 0.096}, // not offered as spot
		}
	}
	return resp, nil
}

func (m *market) questions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

type house struct {
	*store.Store
	book     *Book
	market   *market
	cluster  uuid.UUID
	customer uuid.UUID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	h := &house{Store: store.New(pgtest.New(t).Pool), market: &market{}}
	h.book = New(h.Store, h.market, slog.New(slog.DiscardHandler))
	var err error
	h.customer, err = h.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	made, err := h.CreateCluster(t.Context(), h.customer, &adminv1.CreateClusterRequest{ClusterName: "acme", Region: "us-east-1"}, key("2", "agent"))
	must(t, err)
	h.cluster = uuid.MustParse(made.GetClusterId())
	return h
}

func key(secret, scope string) store.NewKey {
	sum := sha256.Sum256([]byte(secret))
	return store.NewKey{Hash: sum[:], Prefix: "p", Scope: scope}
}

func (h *house) nodes(t *testing.T, nodes ...*fleetv1.NodeMetric) {
	t.Helper()
	must(t, h.PutReport(t.Context(), h.cluster, store.Fleet{Nodes: nodes, Complete: true}))
}

func node(name, kind, zone, nodeType string) *fleetv1.NodeMetric {
	return &fleetv1.NodeMetric{NodeName: name, InstanceId: "i-" + name, InstanceType: kind, AvailabilityZone: zone, NodeType: nodeType, Ready: true}
}

// prices by node, hourly and on demand.
func (h *house) prices(t *testing.T) map[string][2]float64 {
	t.Helper()
	state, err := h.book.ClusterState(t.Context(), h.cluster, uuid.NullUUID{})
	must(t, err)
	out := map[string][2]float64{}
	for _, n := range state.GetNodes() {
		out[n.GetNodeName()] = [2]float64{n.GetHourlyPrice(), n.GetOnDemandHourlyPrice()}
	}
	return out
}

func TestANodeCostsWhatItsTypeCostsInItsZoneAsItWasBought(t *testing.T) {
	h := newHouse(t)
	h.nodes(t, node("spot-a", "m5.large", "a", "spot"), node("spot-b", "m5.large", "b", "spot"), node("bought", "m5.large", "b", "on-demand"),
		node("elsewhere", "m5.large", "z", "on-demand"), node("no-spot", "m5.large", "c", "spot"), node("strange", "x9.huge", "a", "spot"),
		node("typeless", "", "a", "spot"))
	must(t, h.book.Price(t.Context(), false))
	want := map[string][2]float64{
		"spot-a": {0.03, 0.096}, "spot-b": {0.04, 0.096}, "bought": {0.096, 0.096}, "elsewhere": {0.096, 0.096},
		"no-spot": {}, "strange": {}, "typeless": {},
	}
	if diff := cmp.Diff(want, h.prices(t)); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{"us-east-1: m5.large x9.huge"}, h.market.questions()); diff != "" {
		t.Fatal(diff)
	}
	must(t, h.book.Price(t.Context(), false)) // only what is not known
	must(t, h.book.Price(t.Context(), true))
	h.market.away = errors.New("away")
	if err := h.book.Price(t.Context(), true); err == nil {
		t.Error("the market was away, and nobody was told")
	}
	if diff := cmp.Diff(want, h.prices(t)); diff != "" { // old prices are better than none
		t.Fatal(diff)
	}
}

func TestAPriceThatIsNotKnownIsAskedForOnceAMinute(t *testing.T) {
	h := newHouse(t)
	h.nodes(t, node("strange", "x9.huge", "a", "spot"), node("known", "m5.large", "a", "spot"))
	asked := questions{}
	for range 5 {
		must(t, h.book.priceDue(t.Context(), false, asked))
	}
	if diff := cmp.Diff([]string{"us-east-1: m5.large x9.huge"}, h.market.questions()); diff != "" {
		t.Fatal(diff)
	}
	h.nodes(t, node("strange", "x9.huge", "a", "spot"), node("new", "m5.large", "b", "spot"))
	must(t, h.book.priceDue(t.Context(), false, asked)) // a new node is not made to wait
	if diff := cmp.Diff("us-east-1: m5.large", h.market.questions()[1]); diff != "" {
		t.Fatal(diff)
	}
	for one := range asked {
		asked[one] = time.Now().Add(-askAgain)
	}
	must(t, h.book.priceDue(t.Context(), false, asked))
	if diff := cmp.Diff("us-east-1: x9.huge", h.market.questions()[2]); diff != "" {
		t.Fatal(diff)
	}
	for one := range asked {
		asked[one] = time.Now().Add(-askAgain)
	}
	h.market.away = errors.New("away")
	for range 2 { // without an answer it is asked again at once
		if err := h.book.priceDue(t.Context(), false, asked); err == nil {
			t.Fatal("the market is away")
		}
	}
	if got := len(h.market.questions()); got != 5 {
		t.Errorf("asked %d times", got)
	}
}

func TestQuestionsAreForgottenAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, one := questions{}, store.UnpricedNode{Node: "n"}
		q[one] = time.Now()
		time.Sleep(askAgain - time.Second)
		if due := q.due([]store.UnpricedNode{one}, time.Now()); len(due) != 0 {
			t.Errorf("asked again too early: %v", due)
		}
		time.Sleep(time.Second)
		if due := q.due([]store.UnpricedNode{one}, time.Now()); len(due) != 1 || len(q) != 0 {
			t.Errorf("not asked again: %v, kept %v", due, q)
		}
	})
}

func TestRunPricesANewNodeWithinSeconds(t *testing.T) {
	h := newHouse(t)
	h.nodes(t, node("n", "m5.large", "a", "spot"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.book.Run(ctx) }()
	stop := time.Now().Add(5 * time.Second)
	for h.prices(t)["n"][0] == 0 && time.Now().Before(stop) {
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	must(t, <-done)
	if got := h.prices(t)["n"]; got != [2]float64{0.03, 0.096} {
		t.Fatalf("got %v", got)
	}
}

func TestWhatWasSavedCountsAsLongAsWhatWasLaunchedRuns(t *testing.T) {
	for _, c := range []struct {
		effect store.Effect
		want   float64
	}{
		{store.Effect{SavedPerHour: 2, Launched: 4, Alive: 4}, 2},
		{store.Effect{SavedPerHour: 2, Launched: 4, Alive: 1}, 0.5},
		{store.Effect{SavedPerHour: 2, Launched: 4}, 0},
		{store.Effect{SavedPerHour: 2}, 2}, // it only took nodes away
		{store.Effect{SavedPerHour: -1, Launched: 1, Alive: 1}, -1},
	} {
		if got := counts(c.effect); got != c.want {
			t.Errorf("%+v counts %v, want %v", c.effect, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		launched := rapid.IntRange(0, 100).Draw(t, "launched")
		effect := store.Effect{
			SavedPerHour: rapid.Float64Range(0, 1e4).Draw(t, "saved"), Launched: float64(launched),
			Alive: float64(rapid.IntRange(0, launched).Draw(t, "alive")),
		}
		if got := counts(effect); got < 0 || got > effect.SavedPerHour {
			t.Fatalf("%+v counts %v", effect, got)
		}
	})
}

func TestPaidPlusSavedIsTheBaseline(t *testing.T) {
	h := newHouse(t)
	h.nodes(t, node("a", "m5.large", "a", "spot"), node("b", "m5.large", "b", "spot"))
	must(t, h.book.Price(t.Context(), false))
	started, err := h.AddOptimization(t.Context(), store.NewOptimization{
		Cluster: h.cluster, Request: &adminv1.TriggerOptimizationRequest{OptimizationType: "spot_optimize"}, Mode: "automatic", Steps: []string{"state"},
	})
	must(t, err)
	id := uuid.MustParse(started.GetOptimizationId())
	must(t, h.SetRequest(t.Context(), id, nil, 0.192))
	must(t, h.AddLaunches(t.Context(), id, []store.Launch{{ClientToken: "t", InstanceType: "m5.large", Zone: "a", NodeType: "spot", Count: 2}}))
	must(t, h.SetLaunch(t.Context(), id, store.Launch{Status: "launched", InstanceIDs: []string{"i-a", "i-b"}}))
	check := func(current, saved float64) {
		t.Helper()
		got, err := h.book.Savings(t.Context(), uuid.NullUUID{}, some(h.customer))
		must(t, err)
		near(t, "paid", got.GetCurrentCostPerHour(), current)
		near(t, "saved", got.GetSavingsPerHour(), saved)
		near(t, "baseline", got.GetBaselineCostPerHour(), current+saved)
		near(t, "saved per month", got.GetSavingsPerMonth(), saved*730)
		if current+saved > 0 {
			near(t, "ratio", got.GetSavingsRatio(), saved/(current+saved))
		}
		one := got.GetClusters()[0]
		near(t, "baseline of the cluster", one.GetBaselineCostPerHour(), one.GetCurrentCostPerHour()+one.GetSavingsPerHour())
		state, err := h.book.ClusterState(t.Context(), h.cluster, uuid.NullUUID{})
		must(t, err)
		near(t, "baseline of the state", state.GetBaselineCostPerHour(), current+saved)
		listed, err := h.Clusters(t.Context(), some(h.customer))
		must(t, err)
		must(t, h.book.AddCosts(t.Context(), some(h.customer), listed))
		near(t, "baseline in the list", listed[0].GetBaselineCostPerHour(), current+saved)
		near(t, "paid in the list", listed[0].GetCurrentCostPerHour(), current)
	}
	check(0.07, 0) // not completed yet
	_, err = h.FinishOptimization(t.Context(), id, "completed", "", 0, 0.07)
	must(t, err)
	check(0.07, 0.122)
	h.nodes(t, node("a", "m5.large", "a", "spot"))
	check(0.03, 0.061)
	h.nodes(t)
	check(0, 0)
	theirs, err := h.book.Savings(t.Context(), some(h.cluster), some(uuid.New()))
	must(t, err)
	if len(theirs.GetClusters()) != 0 || theirs.GetSavingsPerHour() != 0 {
		t.Errorf("another customer sees %v", theirs)
	}
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
