package gaps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is a database with a cluster, read as ml reads it.
type world struct {
	*Server
	db      *pgtest.DB
	cluster uuid.UUID
	start   time.Time
}

// cadence of the reports in these tests.
const cadence = time.Minute

// newWorld has one cluster that was made when the month began; now is its end.
func newWorld(t *testing.T, history History) *world {
	t.Helper()
	t.Parallel()
	w := &world{db: pgtest.New(t), cluster: uuid.New(), start: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}
	s, err := store.Open(t.Context(), w.db.ReadOnlyDSN, 4, nil)
	must(t, err)
	t.Cleanup(s.Close)
	w.Server = New(Config{Store: s, History: history, Log: slog.New(slog.DiscardHandler)})
	w.now = func() time.Time { return w.start.AddDate(0, 0, 28) }
	w.exec(t, "INSERT INTO customers (customer_id, company_name, email) VALUES ($1, 'x', 'x@example.com')", w.cluster)
	w.exec(t, `INSERT INTO clusters (cluster_id, customer_id, cluster_name, region, created_at) VALUES ($1, $1, 'c', 'us-east-1', $2)`, w.cluster, w.start)
	w.exec(t, "DELETE FROM silences")
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := w.db.Pool.Exec(t.Context(), sql, args...)
	must(t, err)
}

// usual number of running pods at a time: busy by day, and less on some days.
func usual(at time.Time) float64 {
	return 100 + 50*math.Sin(float64(at.Hour())/24*2*math.Pi) + 10*float64(at.Weekday())
}

// report writes the reports from day to day, but those that skip says.
func (w *world) report(t *testing.T, from, to float64, skip func(at time.Time) bool) {
	t.Helper()
	var rows [][]any
	for at := w.day(from); at.Before(w.day(to)); at = at.Add(cadence) {
		if skip == nil || !skip(at) {
			pods := int32(usual(at))
			rows = append(rows, []any{w.cluster, at, int32(10), int32(6), int32(4), 40.0, 160.0, 20.0, 80.0, pods + 2, pods, int32(2), 1.5})
		}
	}
	// As the superuser: nobody whom row-level security binds may COPY.
	admin, err := pgx.Connect(t.Context(), w.db.AdminDSN)
	must(t, err)
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	_, err = admin.CopyFrom(t.Context(), pgx.Identifier{"cluster_metrics"}, []string{
		"cluster_id", "at", "total_nodes", "spot_nodes", "on_demand_nodes", "total_cpu", "total_memory_gb", "allocated_cpu", "allocated_memory_gb",
		"total_pods", "running_pods", "pending_pods", "cost_per_hour",
	}, pgx.CopyFromRows(rows))
	must(t, err)
}

func (w *world) day(d float64) time.Time {
	return w.start.Add(time.Duration(d * float64(24*time.Hour)))
}

func during(from, to time.Time) func(time.Time) bool {
	return func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
}

func (w *world) silence(t *testing.T, kind string, from, to time.Time) {
	t.Helper()
	var cluster any
	if kind == "agent" {
		cluster = w.cluster
	}
	w.exec(t, "INSERT INTO silences (kind, cluster_id, since, until) VALUES ($1, $2, $3, $4)", kind, cluster, from, to)
}

func (w *world) analyze(t *testing.T, days int32) *mlv1.AnalyzeGapsResponse {
	t.Helper()
	found, err := w.AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: days})
	must(t, err)
	return found
}

// stream is a client that collects.
type stream struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // as gRPC's own
	pages []*mlv1.ListFilledRowsResponse
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(page *mlv1.ListFilledRowsResponse) error {
	s.pages = append(s.pages, page)
	return nil
}

// filled are the gaps that come on the stream, each whole.
func (w *world) filled(t *testing.T, days int32) (gaps []*mlv1.FilledGap, end *mlv1.ListFilledRowsResponse) {
	t.Helper()
	s := &stream{ctx: t.Context()}
	must(t, w.ListFilledRows(&mlv1.ListFilledRowsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: days}, s))
	for _, page := range s.pages {
		for _, gap := range page.Gaps {
			if n := len(gaps); n > 0 && gaps[n-1].Series == gap.Series && gaps[n-1].Start.AsTime().Equal(gap.Start.AsTime()) {
				gaps[n-1].Reports = append(gaps[n-1].Reports, gap.Reports...)
				continue
			}
			gaps = append(gaps, gap)
		}
		if rows := len(page.Gaps); rows > pageRows {
			t.Errorf("a page of %d gaps", rows)
		}
	}
	return gaps, s.pages[len(s.pages)-1]
}

// write does what central does with the rows, or with the first of them.
func (w *world) write(t *testing.T, gaps []*mlv1.FilledGap, most int) {
	t.Helper()
	for _, gap := range gaps {
		for _, r := range gap.Reports {
			if most--; most < 0 {
				return
			}
			w.exec(t, `INSERT INTO cluster_metrics VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, true, $14, $15, $16)`,
				w.cluster, r.At.AsTime(), int(r.TotalNodes), int(r.SpotNodes), int(r.OnDemandNodes), r.TotalCpu, r.TotalMemoryGb, r.AllocatedCpu,
				r.AllocatedMemoryGb, int(r.TotalPods), int(r.RunningPods), int(r.PendingPods), r.CostPerHour, gap.Method, uuid.New(), gap.StepSeconds)
		}
	}
}

func (w *world) series() string { return "cluster_metrics/" + w.cluster.String() }

func gapsOf(found *mlv1.AnalyzeGapsResponse, series string) (of []*mlv1.DataGap) {
	for _, gap := range found.Gaps {
		if strings.HasPrefix(gap.Series, series) {
			of = append(of, gap)
		}
	}
	return of
}

func TestEachGapIsFoundWithItsCauseAndMethod(t *testing.T) {
	w := newWorld(t, nil)
	at := func(d float64, h, m int) time.Time {
		return w.day(d).Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
	}
	cuts := []struct {
		from, to            time.Time
		silent, want, means string
		missing             int32
	}{
		{at(15, 1, 0), at(15, 1, 1), "", "unknown", "last_value", 1},
		{at(16, 0, 0), at(16, 2, 0), "agent", "agent_down", "linear", 120},
		{at(18, 0, 0), at(18, 4, 0), "", "scrape_failed", "linear", 240},
		{at(20, 0, 0), at(21, 0, 0), "central", "refused", "hour_of_week_median", 1440},
	}
	skip := func(at time.Time) bool {
		for _, c := range cuts {
			if during(c.from, c.to)(at) {
				return true
			}
		}
		return false
	}
	w.report(t, 0, 28, skip)
	for _, c := range cuts {
		if c.silent != "" {
			w.silence(t, c.silent, c.from.Add(-cadence), c.to)
		}
	}
	found := w.analyze(t, 28)
	gaps := gapsOf(found, "cluster_metrics/")
	if len(gaps) != len(cuts) {
		t.Fatalf("%d gaps, want %d: %v", len(gaps), len(cuts), gaps)
	}
	for _, c := range cuts {
		seen := false
		for _, gap := range gaps {
			if gap.Start.AsTime().Equal(c.from) {
				seen = true
				if !gap.End.AsTime().Equal(c.to) || gap.Cause != c.want || gap.Method != c.means || !gap.Fillable || gap.Missing != c.missing {
					t.Errorf("%v, want until %s, %s, %s, %d missing", gap, c.to, c.want, c.means, c.missing)
				}
			}
		}
		if !seen {
			t.Errorf("no gap starts at %s: %v", c.from, gaps)
		}
	}
	// The labels and the nodes' ends that were missed stay missed, and that is told.
	if labels := gapsOf(found, "spot_events/"); len(labels) != 1 || labels[0].Fillable || labels[0].Reason != "label" {
		t.Errorf("labels: %v, want one gap that is never filled", labels)
	}
	if nodes := gapsOf(found, "nodes/"); len(nodes) != 2 || nodes[0].Fillable || nodes[0].Reason != "deletion" {
		t.Errorf("nodes: %v, want two gaps that are never filled", nodes)
	}
	for _, cover := range found.Series {
		if cover.Series == w.series() && (cover.CadenceSeconds != 60 || cover.Expected != 28*1440 || cover.Observed != 28*1440-1801 ||
			math.Abs(cover.Coverage-float64(cover.Observed)/float64(cover.Expected)) > 1e-9) {
			t.Errorf("coverage %v", cover)
		}
	}
	if found.GapsFound != 7 || found.GapsFillable != 4 || found.SeriesFound != 3 || math.Abs(found.Coverage-(1-1801.0/28/1440)) > 1e-9 {
		t.Errorf("found %d, fillable %d, %d series, coverage %v", found.GapsFound, found.GapsFillable, found.SeriesFound, found.Coverage)
	}
}

func TestAFillFollowsTheRulesAndIsDoneOnce(t *testing.T) {
	w := newWorld(t, nil)
	short, day := during(w.day(25).Add(9*time.Hour), w.day(25).Add(11*time.Hour)), during(w.day(22), w.day(23))
	w.report(t, 0, 28, func(at time.Time) bool { return short(at) || day(at) })
	gaps, end := w.filled(t, 14)
	if len(gaps) != 2 || gaps[0].Method != "hour_of_week_median" || gaps[1].Method != "linear" || len(gaps[0].Reports) != 1440 || len(gaps[1].Reports) != 120 {
		t.Fatalf("%d gaps, want a day and two hours", len(gaps))
	}
	for _, gap := range gaps {
		for _, r := range gap.Reports {
			if off := r.RunningPods - usual(r.At.AsTime()); off < -15 || off > 15 || gap.Method == "hour_of_week_median" && math.Abs(off) > 1 {
				t.Fatalf("%s at %s: %v pods where %v ran", gap.Method, r.At.AsTime(), r.RunningPods, usual(r.At.AsTime()))
			}
			if r.TotalNodes != r.SpotNodes+r.OnDemandNodes || r.TotalPods < r.RunningPods+r.PendingPods || r.RunningPods != math.Round(r.RunningPods) {
				t.Fatalf("a report that does not agree with itself: %v", r)
			}
		}
	}
	if end.GapsLeftOpen != 0 {
		t.Errorf("%d gaps left open", end.GapsLeftOpen)
	}
	counts, err := w.FillGaps(t.Context(), &mlv1.FillGapsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: 14, MaxRows: 7})
	must(t, err)
	if counts.GapsFilled != 2 || counts.Records != 1560 || len(counts.Gaps) != 1 || len(counts.Gaps[0].Reports) != 7 {
		t.Errorf("counts %d gaps, %d records, %d shown; want 2, 1560, one with 7", counts.GapsFilled, counts.Records, len(counts.Gaps))
	}
	// Cut off in the middle, the rest comes next time, by the same rule.
	w.write(t, gaps, 700)
	rest, _ := w.filled(t, 14)
	if len(rest) != 2 || len(rest[0].Reports) != 740 || rest[0].Method != "hour_of_week_median" || !rest[0].Start.AsTime().Equal(gaps[0].Start.AsTime()) {
		t.Fatalf("%d gaps, the first with %d rows by %s; want the 740 that are left of the day", len(rest), len(rest[0].Reports), rest[0].Method)
	}
	w.write(t, rest, math.MaxInt)
	if again, _ := w.filled(t, 14); len(again) != 0 {
		t.Errorf("filled again: %d gaps", len(again))
	}
	found := w.analyze(t, 14)
	if len(gapsOf(found, "cluster_metrics/")) != 0 || found.Series[0].Imputed != 1560 || found.Series[0].Observed != 14*1440-1560 {
		t.Errorf("after the fill: %v", found)
	}
}

func TestWhatIsNotBetweenTwoReportsIsNotFilled(t *testing.T) {
	w := newWorld(t, nil)
	w.report(t, 3, 20, nil)
	// Another cluster reported first, so this one's first days were not just dropped.
	other := uuid.New()
	w.exec(t, `INSERT INTO clusters (cluster_id, customer_id, cluster_name, region, created_at) VALUES ($1, $2, 'o', 'us-east-1', $3)`, other, w.cluster, w.start)
	w.exec(t, `INSERT INTO cluster_metrics VALUES ($1, $2, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1)`, other, w.start)
	found, err := w.AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{
		ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: 60, ClusterId: w.cluster.String(),
	})
	must(t, err)
	reasons := map[string]string{}
	for _, gap := range gapsOf(found, "cluster_metrics/") {
		reasons[gap.Cause] += gap.Reason + " "
		if gap.Fillable {
			t.Errorf("%v is to be filled", gap)
		}
	}
	if reasons["not_existing"] != "no_start " || reasons["scrape_failed"] != "no_end no_start " {
		t.Errorf("reasons %v", reasons)
	}
	if gaps, end := w.filled(t, 60); len(gaps) != 0 || end.GapsLeftOpen < 3 {
		t.Errorf("%d gaps filled, %d left open", len(gaps), end.GapsLeftOpen)
	}
}

func TestDaysThatNobodyKeptAreToldAsSuch(t *testing.T) {
	w := newWorld(t, nil)
	w.report(t, 10, 28, nil)
	gaps := gapsOf(w.analyze(t, 28), "cluster_metrics/")
	if len(gaps) != 1 || gaps[0].Cause != "not_kept" || gaps[0].Reason != "too_old" || gaps[0].Missing != 14400 {
		t.Errorf("gaps %v, want ten days not kept", gaps)
	}
}

func TestNothingAfterTheTrainingDateIsUsed(t *testing.T) {
	w := newWorld(t, nil)
	hole := during(w.day(19.9), w.day(20.1))
	w.report(t, 0, 28, hole)
	for date, fillable := range map[float64]bool{20: false, 21: true} {
		found, err := w.AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.New(w.day(date)), LookbackDays: 5})
		must(t, err)
		if gaps := gapsOf(found, "cluster_metrics/"); len(gaps) != 1 || gaps[0].Fillable != fillable {
			t.Errorf("until day %v: %v, want one gap, fillable %v", date, gaps, fillable)
		}
	}
}

func TestADateInTheFutureIsNow(t *testing.T) {
	w := newWorld(t, nil)
	w.report(t, 20, 28, nil)
	found, err := w.AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.New(w.now().AddDate(10, 0, 0)), LookbackDays: 7})
	must(t, err)
	if !found.End.AsTime().Equal(w.now()) || !found.Start.AsTime().Equal(w.now().AddDate(0, 0, -7)) || found.GapsFound != 0 || found.Coverage != 1 {
		t.Errorf("%v, want the week before now, whole", found)
	}
}

func TestALongLookAtNothingFindsNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.exec(t, "DELETE FROM clusters")
	if found := w.analyze(t, 1095); found.GapsFound != 0 || found.SeriesFound != 0 || found.Coverage != 0 {
		t.Errorf("found %v", found)
	}
	counts, err := w.FillGaps(t.Context(), &mlv1.FillGapsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: 1095})
	must(t, err)
	if counts.GapsFilled != 0 || counts.Records != 0 {
		t.Errorf("filled %v", counts)
	}
}

func TestTheLongestGapsAreListedAndTheRestCounted(t *testing.T) {
	w := newWorld(t, nil)
	w.report(t, 26, 28, func(at time.Time) bool { return at.Minute() == 30 || during(w.day(27), w.day(27.1))(at) })
	found, err := w.AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: 2, MaxGaps: 3})
	must(t, err)
	if len(found.Gaps) != 3 || found.Gaps[0].Missing < 140 || found.GapsFound < 44 {
		t.Errorf("%d listed of %d, the first of %d steps", len(found.Gaps), found.GapsFound, found.Gaps[0].GetMissing())
	}
}

func TestWithoutADatabaseItSaysSo(t *testing.T) {
	_, err := New(Config{}).AnalyzeGaps(t.Context(), &mlv1.AnalyzeGapsRequest{ModelTrainingDate: timestamppb.Now(), LookbackDays: 1})
	if fault.ReasonOf(err) != faultv1.Reason_REASON_UNAVAILABLE {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

// fakeHistory tells a price every twelve hours, newest first as EC2 does, and the one
// in force at the start; on pages of ten, some entries twice.
type fakeHistory struct {
	absent bool
	failed map[string]bool
	asked  int
}

func (f *fakeHistory) Available(context.Context) bool { return !f.absent }

func (f *fakeHistory) SpotPrices(_ context.Context, region string, types []string, since, until time.Time, page func([]*mlv1.SpotPriceRow) error) error {
	f.asked++
	if f.failed[region] {
		return errors.New("RequestLimitExceeded")
	}
	var rows []*mlv1.SpotPriceRow
	for _, name := range types {
		for _, zone := range []string{"a", "b"} {
			for at := until.Truncate(12 * time.Hour); at.After(since.Add(-12 * time.Hour)); at = at.Add(-12 * time.Hour) {
				rows = append(rows, &mlv1.SpotPriceRow{Region: region, AvailabilityZone: region + zone, InstanceType: name, At: timestamppb.New(at), Price: 0.04})
			}
		}
	}
	for len(rows) > 0 {
		n := min(10, len(rows))
		if err := page(rows[:n]); err != nil {
			return err
		}
		rows = rows[max(1, n-1):] // the last one again
		if n < 10 {
			return nil
		}
	}
	return nil
}

func (w *world) node(t *testing.T, region, kind string, from float64) {
	t.Helper()
	id := w.cluster
	if region != "us-east-1" {
		id = uuid.New()
		w.exec(t, `INSERT INTO clusters (cluster_id, customer_id, cluster_name, region, created_at) VALUES ($1, $2, $3, $4, $5)`, id, w.cluster, region, region, w.start)
	}
	w.exec(t, `INSERT INTO nodes (cluster_id, node_name, instance_type, availability_zone, node_type, created_at) VALUES ($1, $2, $3, $4, 'spot', $5)`,
		id, fmt.Sprint(kind, from), kind, region+"a", w.day(from))
}

func TestPricesComeFromAWSAsFarBackAsItTells(t *testing.T) {
	history := &fakeHistory{failed: map[string]bool{"eu-west-1": true}}
	w := newWorld(t, history)
	w.node(t, "eu-west-1", "c5.large", 1)
	w.node(t, "us-east-1", "m5.large", 1)
	gaps := gapsOf(w.analyze(t, 200), "spot_prices/us-east-1")
	if len(gaps) != 2 || gaps[0].Reason != "too_old" || gaps[0].Fillable || gaps[1].Method != "aws_history" || !gaps[1].Fillable ||
		!gaps[1].Start.AsTime().Equal(w.now().AddDate(0, 0, -90)) {
		t.Fatalf("gaps %v, want 110 days too old and 90 that AWS tells", gaps)
	}
	filled, end := w.filled(t, 200)
	rows := 0
	for _, gap := range filled {
		if gap.Series != "spot_prices/us-east-1/us-east-1a/m5.large" || gap.Method != "aws_history" || len(gap.Reports) != 0 {
			t.Errorf("gap %v", gap)
		}
		for _, r := range gap.SpotPrices {
			rows++
			w.exec(t, "INSERT INTO spot_prices (region, availability_zone, instance_type, at, price, method) VALUES ($1, $2, $3, $4, $5, 'aws_history')",
				r.Region, r.AvailabilityZone, r.InstanceType, r.At.AsTime(), r.Price)
		}
	}
	if rows != 180 || len(end.FailedSources) != 1 || end.FailedSources[0] != "spot_prices/eu-west-1" {
		t.Errorf("%d rows, failed %v; want 180 of the pool in use, and eu-west-1 failed", rows, end.FailedSources)
	}
	history.asked, history.failed = 0, nil
	again, _ := w.filled(t, 200)
	for _, gap := range again {
		if strings.HasPrefix(gap.Series, "spot_prices/us-east-1") {
			t.Errorf("filled again: %v", gap)
		}
	}
	if history.asked != 1 {
		t.Errorf("AWS was asked %d times, want once, for the region that failed", history.asked)
	}
}

func TestWithoutCredentialsPricesStayOpen(t *testing.T) {
	w := newWorld(t, &fakeHistory{absent: true})
	w.node(t, "us-east-1", "m5.large", 1)
	gaps := gapsOf(w.analyze(t, 10), "spot_prices/")
	if len(gaps) != 1 || gaps[0].Fillable || gaps[0].Reason != "no_credentials" {
		t.Errorf("gaps %v", gaps)
	}
}

func TestAClientThatGoesEndsTheFill(t *testing.T) {
	w := newWorld(t, nil)
	w.report(t, 20, 28, func(at time.Time) bool { return at.Hour() == 3 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := w.ListFilledRows(&mlv1.ListFilledRowsRequest{ModelTrainingDate: timestamppb.New(w.now()), LookbackDays: 14}, &stream{ctx: ctx})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
}
