package savings

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// books is a house whose past a test writes by hand.
type books struct {
	*house
	pool   *pgxpool.Pool
	ledger Ledger
}

func newBooks(t *testing.T) *books {
	t.Helper()
	t.Parallel()
	pool := pgtest.New(t).Pool
	b := &books{pool: pool, house: &house{Store: store.New(pool), market: &market{}}}
	b.book = New(b.Store, b.market, slog.New(slog.DiscardHandler))
	b.ledger = Ledger{Store: b.Store, Log: slog.New(slog.DiscardHandler)}
	var err error
	b.customer, err = b.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "a", Email: "a"}, "", key("1", "admin"))
	must(t, err)
	b.cluster = b.newCluster(t, "acme", "2")
	return b
}

func (b *books) newCluster(t *testing.T, name, secret string) uuid.UUID {
	t.Helper()
	made, err := b.CreateCluster(t.Context(), b.customer, &adminv1.CreateClusterRequest{ClusterName: name, Region: "us-east-1"}, key(secret, "agent"))
	must(t, err)
	id := uuid.MustParse(made.GetClusterId())
	b.exec(t, "UPDATE clusters SET created_at = $2, last_seen_at = $2 WHERE cluster_id = $1", id, at(-60))
	return id
}

func (b *books) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

// node writes one that came at a minute, and its price in USD per hour; 0: not known.
func (b *books) node(t *testing.T, name, nodeType string, price, from float64) {
	t.Helper()
	b.exec(t, `INSERT INTO nodes (cluster_id, node_name, instance_id, instance_type, availability_zone, node_type, cpu_allocatable, created_at, hourly_price, on_demand_hourly_price)
		VALUES ($1, $2::text, 'i-' || $2::text, 'm5.large', 'a', $3, 2, $4, nullif($5::numeric, 0), 0.96)`, b.cluster, name, nodeType, at(from), price)
}

func (b *books) gone(t *testing.T, name string, minute float64) {
	t.Helper()
	b.exec(t, "UPDATE nodes SET status = 'Terminated', terminated_at = $2 WHERE node_name = $1", name, at(minute))
}

// meter meters up to a minute, in which the clusters are heard.
func (b *books) meter(t *testing.T, minute float64) {
	t.Helper()
	b.exec(t, "UPDATE clusters SET last_seen_at = $1", at(minute))
	until := at(minute)
	must(t, b.ledger.meter(t.Context(), &until))
}

func (b *books) history(t *testing.T, start, end time.Time, step string) *adminv1.GetSavingsHistoryResponse {
	t.Helper()
	when, err := NewRange(&start, &end, step)
	must(t, err)
	got, err := b.book.History(t.Context(), uuid.NullUUID{}, some(b.customer), when)
	must(t, err)
	return got
}

// optimized writes a completed optimization that took old away and launched others.
func (b *books) optimized(t *testing.T, estimated float64, minute float64, launched []string, old ...string) uuid.UUID {
	t.Helper()
	started, err := b.AddOptimization(t.Context(), store.NewOptimization{
		Cluster: b.cluster, Request: &adminv1.TriggerOptimizationRequest{OptimizationType: "spot_optimize"}, Mode: "automatic", Steps: []string{"state"},
	})
	must(t, err)
	id := uuid.MustParse(started.GetOptimizationId())
	var replaced []store.Replaced
	for i, name := range old {
		replaced = append(replaced, store.Replaced{Position: i, Node: name, InstanceID: "i-" + name})
	}
	must(t, b.AddReplaced(t.Context(), id, replaced))
	must(t, b.AddLaunches(t.Context(), id, []store.Launch{{ClientToken: id.String(), InstanceType: "m5.large", Zone: "a", NodeType: "spot", Count: max(len(launched), 1)}}))
	must(t, b.SetLaunch(t.Context(), id, store.Launch{Status: "launched", InstanceIDs: launched}))
	must(t, b.SetReplaced(t.Context(), id, "terminated", "", old...))
	_, err = b.FinishOptimization(t.Context(), id, "completed", "", 481.8, 0)
	must(t, err)
	b.exec(t, "UPDATE optimization_history SET completed_at = $2, estimated_savings = $3 WHERE optimization_id = $1", id, at(minute), estimated)
	return id
}

func TestAnHourOfAClusterOnTheBooks(t *testing.T) {
	b := newBooks(t)
	b.node(t, "old", "on-demand", 0.96, -60)
	b.node(t, "unpriced", "spot", 0, -60)
	b.meter(t, 0)
	for m := range 30 {
		b.meter(t, float64(m+1))
	}
	b.node(t, "new", "spot", 0.30, 25)
	b.gone(t, "old", 30)
	id := b.optimized(t, 481.8, 30, []string{"i-new"}, "old") // 0.66 an hour
	for m := 30; m < 60; m++ {
		b.meter(t, float64(m+1))
	}
	got := b.history(t, at(0), at(60), "hour")
	want := &adminv1.SavingsPoint{
		Baseline: 0.80 - 0.32 + 0.33 + 0.15, Actual: 0.48 + 0.15, Saved: 0.33, SpotNodeHours: 1.5, OnDemandNodeHours: 0.5, UnpricedNodeHours: 1, Coverage: 1,
	}
	// The new node was first seen at 30, so that is from when it is on the books.
	want.Baseline = want.Actual + want.Saved
	p := got.GetPoints()[0]
	near(t, "actual", p.GetActual(), want.GetActual())
	near(t, "saved", p.GetSaved(), want.GetSaved())
	near(t, "baseline", p.GetBaseline(), want.GetBaseline())
	near(t, "by mechanism", p.GetByMechanism()["spot_optimize"], want.GetSaved())
	near(t, "spot", p.GetSpotNodeHours(), want.GetSpotNodeHours())
	near(t, "on demand", p.GetOnDemandNodeHours(), want.GetOnDemandNodeHours())
	near(t, "unpriced", p.GetUnpricedNodeHours(), want.GetUnpricedNodeHours())
	near(t, "coverage", p.GetCoverage(), 1)
	if !got.GetMeteredFrom().AsTime().Equal(at(0)) || got.GetStep() != "hour" || len(got.GetCalculation()) < 5 {
		t.Errorf("got %v", got)
	}
	decisions, err := b.book.Decisions(t.Context(), some(b.cluster), some(b.customer), store.Page{Limit: 10})
	must(t, err)
	one := decisions.GetDecisions()[0]
	near(t, "realised", one.GetRealised(), 0.33)
	near(t, "promised", one.GetPromisedSoFar(), 0.33)
	near(t, "error", one.GetError(), 0)
	if one.GetOptimizationId() != id.String() || !one.GetActive() || one.GetClusterName() != "acme" {
		t.Errorf("got %v", one)
	}
}

func TestWithNothingNewMeteringAddsNothing(t *testing.T) {
	b := newBooks(t)
	b.node(t, "a", "on-demand", 0.96, -60)
	b.meter(t, 0)
	b.meter(t, 4)
	before := b.history(t, at(0), at(60), "hour").GetTotal().GetActual()
	near(t, "4 minutes", before, 0.064)
	for _, again := range []float64{4, 4.5, 3, -10, 4} { // a clock that was put back, too
		b.meter(t, again)
		near(t, "once more", b.history(t, at(0), at(60), "hour").GetTotal().GetActual(), before)
	}
	b.meter(t, 5)
	near(t, "a minute later", b.history(t, at(0), at(60), "hour").GetTotal().GetActual(), 0.08)
}

func TestManyReplicasMeterEachMinuteOnce(t *testing.T) {
	b := newBooks(t)
	for i := range 5 {
		b.newCluster(t, string(rune('b'+i)), string(rune('b'+i)))
	}
	b.node(t, "a", "on-demand", 0.96, -60)
	b.meter(t, 0)
	b.exec(t, "UPDATE clusters SET last_seen_at = $1", at(60))
	var replicas sync.WaitGroup
	for range 4 {
		replicas.Add(1)
		go func() {
			defer replicas.Done()
			for m := range 60 {
				until := at(float64(m+1) + rand.Float64()/10)
				if err := b.ledger.meter(t.Context(), &until); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	replicas.Wait()
	b.meter(t, 62)
	got := b.history(t, at(0), at(60), "hour")
	near(t, "an hour", got.GetTotal().GetActual(), 0.96)
	near(t, "node hours", got.GetTotal().GetOnDemandNodeHours(), 1)
}

func TestAMeterThatDiesInTheMiddleHasDoneNothing(t *testing.T) {
	b := newBooks(t)
	b.node(t, "a", "on-demand", 0.96, -60)
	b.meter(t, 0)
	b.exec(t, "UPDATE clusters SET last_seen_at = $1", at(2))
	died, until := errors.New("died"), at(2)
	err := b.InTx(t.Context(), func(tx *store.Store) error {
		if _, err := tx.Meter(t.Context(), store.Metering{At: &until, Limit: 10, Pause: pause, Back: metersBack}, count); err != nil {
			return err
		}
		return died
	})
	if !errors.Is(err, died) {
		t.Fatal(err)
	}
	near(t, "nothing", b.history(t, at(0), at(60), "hour").GetTotal().GetActual(), 0)
	b.meter(t, 2)
	near(t, "two minutes", b.history(t, at(0), at(60), "hour").GetTotal().GetActual(), 0.032)
}

func TestAClusterThatWasSilentIsMeteredWhenItHasToldWhatItHas(t *testing.T) {
	b := newBooks(t)
	b.node(t, "stays", "on-demand", 0.96, -60)
	b.node(t, "goes", "on-demand", 0.96, -60)
	b.meter(t, 0)
	until := at(30)
	must(t, b.ledger.meter(t.Context(), &until)) // it was not heard since 0
	near(t, "while it is silent", b.history(t, at(0), at(180), "hour").GetTotal().GetActual(), 0)
	b.meter(t, 90) // heard again: what it has is told in the next seconds
	near(t, "at its first word", b.history(t, at(0), at(180), "hour").GetTotal().GetActual(), 0)
	b.gone(t, "goes", 90.1)
	b.meter(t, 91)
	got := b.history(t, at(0), at(120), "hour")
	near(t, "the first hour", got.GetPoints()[0].GetActual(), 0.96)
	near(t, "coverage of the first hour", got.GetPoints()[0].GetCoverage(), 0.5)
	near(t, "the rest", got.GetPoints()[1].GetActual(), 31*0.016)
	b.meter(t, 92)
	near(t, "and on", b.history(t, at(0), at(120), "hour").GetPoints()[1].GetActual(), 32*0.016)
	b.meter(t, 92+30*24*60) // away for a month: a week of it is known by the rows
	b.meter(t, 93+30*24*60)
	got = b.history(t, at(92), at(92+31*24*60), "day")
	near(t, "node hours of a month's silence", got.GetTotal().GetOnDemandNodeHours()-92.0/60, 7*24)
}

func TestDaysAreTheSumOfTheirHoursAndAllTheSumOfItsClusters(t *testing.T) {
	b := newBooks(t)
	other := b.newCluster(t, "beta", "3")
	b.exec(t, `INSERT INTO savings_hours (cluster_id, hour, actual, saved_spot_optimize, saved_interruption, spot_ms, metered_ms)
		SELECT c, timestamptz '2026-03-28 00:00Z' + make_interval(hours => h), 1234567890123 * (h + 1), 987654321987 + h * 777777777::bigint, -123456789::bigint * h, 3600000, 3600000
		FROM unnest($1::uuid[]) c, generate_series(0, 71) h`, []uuid.UUID{b.cluster, other})
	b.exec(t, "UPDATE clusters SET created_at = '2026-03-01'")
	start, end := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	hours, days := b.history(t, start, end, "hour"), b.history(t, start, end, "day")
	if len(hours.GetPoints()) != 72 || len(days.GetPoints()) != 3 {
		t.Fatalf("%d hours, %d days", len(hours.GetPoints()), len(days.GetPoints()))
	}
	if diff := cmp.Diff(micro(hours.GetTotal()), micro(days.GetTotal())); diff != "" {
		t.Error(diff)
	}
	for day, point := range days.GetPoints() {
		var sum [4]int64
		for _, hour := range hours.GetPoints()[day*24 : day*24+24] {
			for i, m := range micro(hour) {
				sum[i] += m
			}
		}
		if diff := cmp.Diff(micro(point), sum); diff != "" {
			t.Errorf("day %d: %s", day, diff)
		}
	}
	var sum [4]int64
	for _, c := range hours.GetClusters() {
		for i, m := range micro(c.GetTotal()) {
			sum[i] += m
		}
	}
	if diff := cmp.Diff(micro(hours.GetTotal()), sum); diff != "" {
		t.Error(diff)
	}
	if m := micro(hours.GetTotal()); m[0] != m[1]+m[2] || m[3] != m[2] {
		t.Errorf("baseline, actual, saved, its parts: %v", m)
	}
	must(t, b.PruneSavings(t.Context()))
	b.exec(t, "UPDATE savings_hours SET hour = hour - interval '2 years' WHERE cluster_id = $1", other)
	must(t, b.PruneSavings(t.Context()))
	if left := b.history(t, start, end, "day").GetClusters()[1].GetTotal().GetActual(); left != 0 {
		t.Errorf("what is two years old is still there: %v", left)
	}
}

// micro is baseline, actual, saved and the sum of its parts, in whole millionths.
func micro(p *adminv1.SavingsPoint) [4]int64 {
	m := func(usd float64) int64 {
		if usd < 0 {
			return int64(usd*1e6 - 0.5)
		}
		return int64(usd*1e6 + 0.5)
	}
	parts := int64(0)
	for _, part := range p.GetByMechanism() {
		parts += m(part)
	}
	return [4]int64{m(p.GetBaseline()), m(p.GetActual()), m(p.GetSaved()), parts}
}

func TestAReplacementAfterAnInterruptionKeepsTheSavingAlive(t *testing.T) {
	b := newBooks(t)
	b.node(t, "old", "on-demand", 0.96, -60)
	b.node(t, "new", "spot", 0.30, -60)
	b.gone(t, "old", -1)
	b.meter(t, 0)
	b.optimized(t, 481.8, 0, []string{"i-new"}, "old")
	for m := range 30 {
		b.meter(t, float64(m+1))
	}
	i, err := b.AddInterruption(t.Context(), &store.Interruption{Cluster: b.cluster, InstanceID: "i-new", Node: "new", NodeType: "spot"})
	must(t, err)
	i.Replacement, i.ReplacementInstance = "launched", "i-again"
	must(t, b.SaveInterruption(t.Context(), i))
	b.gone(t, "new", 30)
	b.node(t, "again", "on-demand", 0.96, 30)
	for m := 30; m < 60; m++ {
		b.meter(t, float64(m+1))
	}
	p := b.history(t, at(0), at(60), "hour").GetTotal()
	near(t, "optimization", p.GetByMechanism()["spot_optimize"], 0.66)
	near(t, "interruption", p.GetByMechanism()["interruption"], -0.33)
	near(t, "actual", p.GetActual(), 0.15+0.48)
	near(t, "baseline", p.GetBaseline(), 0.96)
}

func TestNodesThatWereReplacedArePricedAsTheyWouldBeToday(t *testing.T) {
	b := newBooks(t)
	b.node(t, "old", "on-demand", 0.50, -60)
	b.node(t, "new", "spot", 0.30, -60)
	b.node(t, "nobody", "on-demand", 0.50, -60)
	b.gone(t, "old", -1)
	b.gone(t, "nobody", -1)
	b.optimized(t, 1, 0, []string{"i-new"}, "old")
	must(t, b.book.Price(t.Context(), false))
	price := func(name string) (usd float64) {
		must(t, b.pool.QueryRow(t.Context(), "SELECT hourly_price::float8 FROM nodes WHERE node_name = $1", name).Scan(&usd))
		return usd
	}
	near(t, "before the hour", price("old"), 0.50)
	must(t, b.book.Price(t.Context(), true))
	near(t, "replaced", price("old"), 0.096)
	near(t, "launched", price("new"), 0.03)
	near(t, "gone without us", price("nobody"), 0.50)
}

func TestPromisesAreListedPageByPage(t *testing.T) {
	b := newBooks(t)
	b.node(t, "old", "on-demand", 0.96, -60)
	b.gone(t, "old", -1)
	b.meter(t, 0)
	var want []string
	for i := range 5 {
		id := b.optimized(t, 1, float64(i/2), []string{"i-none"}, "old") // two at the same instant
		want = append(want, id.String())
	}
	b.exec(t, "UPDATE savings_swaps SET changed = true")
	var got []string
	token := ""
	for range 10 {
		page, err := store.NewPage(2, token, "")
		must(t, err)
		resp, err := b.book.Decisions(t.Context(), uuid.NullUUID{}, some(b.customer), page)
		must(t, err)
		for _, d := range resp.GetDecisions() {
			got = append(got, d.GetOptimizationId())
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(got) != 5 || got[0] != want[4] {
		t.Errorf("got %v of %v", got, want)
	}
	theirs, err := b.book.Decisions(t.Context(), uuid.NullUUID{}, some(uuid.New()), store.Page{Limit: 10})
	must(t, err)
	if len(theirs.GetDecisions()) != 0 {
		t.Errorf("another customer sees %v", theirs)
	}
}

func TestRangesThatCannotBeAnswered(t *testing.T) {
	early, late := at(0), at(60)
	if _, err := NewRange(&late, &early, ""); err == nil {
		t.Error("backwards")
	}
	if _, err := NewRange(&late, &late, ""); err == nil {
		t.Error("empty")
	}
	for _, years := range []int{2, 9000} {
		old := late.AddDate(-min(years, 2000), 0, 0)
		if _, err := NewRange(&old, &late, "hour"); err == nil {
			t.Errorf("%d years of hours", years)
		}
	}
	week := late.Add(-hourlyWithin)
	for start, want := range map[time.Time]string{week: "hour", week.Add(-time.Second): "day"} {
		if got, err := NewRange(&start, &late, ""); err != nil || got.Step != want || got.Start.After(start) || got.Start.Minute() != 0 {
			t.Errorf("%v: %v, %v", start, got, err)
		}
	}
}
