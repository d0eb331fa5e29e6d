package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// training is a house with a run, whose cluster was made a month ago.
func newTraining(t *testing.T) (*house, uuid.UUID, time.Time) {
	t.Helper()
	h := newHouse(t)
	h.exec(t, "UPDATE clusters SET created_at = now() - interval '30 days'")
	run := GapRun{ID: uuid.New(), Kind: "fill", AskedBy: "test", TrainingDate: time.Now(), LookbackDays: 30}
	must(t, h.StartGapRun(t.Context(), run))
	return h, run.ID, time.Now().UTC().Truncate(time.Minute).Add(-24 * time.Hour)
}

// gap of reports, one a minute, with so many nodes.
func (h *house) gap(start time.Time, rows int, nodes float64) *mlv1.FilledGap {
	g := &mlv1.FilledGap{
		Series: "cluster_metrics/" + h.cluster.String(), Start: timestamppb.New(start), Method: "linear", ClusterId: h.cluster.String(), StepSeconds: 60,
	}
	for m := range rows {
		g.Reports = append(g.Reports, &mlv1.ReportRow{At: timestamppb.New(start.Add(time.Duration(m) * time.Minute)), TotalNodes: nodes, OnDemandNodes: nodes})
	}
	return g
}

func (h *house) fill(t *testing.T, run uuid.UUID, gaps ...*mlv1.FilledGap) *Filled {
	t.Helper()
	sum := &Filled{}
	must(t, h.AddFilledRows(t.Context(), run, gaps, sum))
	return sum
}

func TestImputedRowsAreMarkedAndWrittenOnce(t *testing.T) {
	h, run, start := newTraining(t)
	first := h.fill(t, run, h.gap(start, 10, 3))
	equal(t, "records", first.Records, 10)
	equal(t, "gaps", first.Gaps(), 1)
	again := h.fill(t, run, h.gap(start, 10, 4), h.gap(start.Add(10*time.Minute), 2, 4))
	equal(t, "records of the second", again.Records, 2)
	equal(t, "gaps of the second", again.Gaps(), 1)
	// Slots of a run that learned another cadence: none beside a row that stands for its time.
	beside := h.fill(t, run, h.gap(start.Add(20*time.Second), 5, 9))
	equal(t, "records beside", beside.Records, 0)
	equal(t, "rows", h.count(t, "SELECT count(*) FROM cluster_metrics WHERE imputed AND method = 'linear' AND run_id = $1 AND step_seconds = 60", run), 12)
	equal(t, "told by the run", h.count(t, "SELECT records FROM gap_runs"), 12)
	equal(t, "gaps told by the run", h.count(t, "SELECT gaps_filled FROM gap_runs"), 2)
}

func (h *house) observe(t *testing.T, at time.Time, nodes int32) {
	t.Helper()
	must(t, h.AddMetrics(t.Context(), h.cluster, &fleetv1.ClusterMetrics{Timestamp: timestamppb.New(at), TotalNodes: nodes}, 1))
}

func TestWhatIsObservedReplacesWhatWasImputed(t *testing.T) {
	h, run, start := newTraining(t)
	h.fill(t, run, h.gap(start, 10, 3))
	h.observe(t, start.Add(2*time.Minute), 7)                // the very time
	h.observe(t, start.Add(5*time.Minute+20*time.Second), 8) // near the sixth
	equal(t, "imputed rows", h.count(t, "SELECT count(*) FROM cluster_metrics WHERE imputed"), 8)
	equal(t, "observed rows", h.count(t, "SELECT sum(total_nodes) FROM cluster_metrics WHERE NOT imputed AND method = '' AND run_id IS NULL AND step_seconds = 0"), 15)
	// A repeat changes nothing, and an observed row is never replaced.
	h.observe(t, start.Add(2*time.Minute), 99)
	equal(t, "rows", h.count(t, "SELECT count(*) FROM cluster_metrics WHERE total_nodes = 99"), 0)
	sum := h.fill(t, run, h.gap(start, 10, 3))
	equal(t, "imputed beside observed rows", sum.Records, 0)
}

func TestNothingIsImputedBeforeAClusterWasOrForNone(t *testing.T) {
	h, run, start := newTraining(t)
	h.exec(t, "UPDATE clusters SET created_at = $1", start.Add(5*time.Minute))
	equal(t, "records", h.fill(t, run, h.gap(start, 10, 3)).Records, 5)
	stranger := h.gap(start, 10, 3)
	stranger.ClusterId = uuid.NewString()
	equal(t, "records of nobody's cluster", h.fill(t, run, stranger).Records, 0)
}

func TestAPageIsWrittenWholeOrNotAtAll(t *testing.T) {
	h, run, start := newTraining(t)
	broken := h.gap(start.Add(time.Hour), 2, 3)
	broken.Method = ""
	sum := &Filled{}
	if err := h.AddFilledRows(t.Context(), run, []*mlv1.FilledGap{h.gap(start, 10, 3), broken}, sum); err == nil {
		t.Fatal("a gap without a method was taken")
	}
	equal(t, "rows", h.count(t, "SELECT count(*) FROM cluster_metrics"), 0)
	equal(t, "counted", sum.Records, 0)
	equal(t, "told by the run", h.count(t, "SELECT records FROM gap_runs"), 0)
}

func TestPricesAreWrittenOnceAndNeverMadeUp(t *testing.T) {
	h, run, start := newTraining(t)
	g := &mlv1.FilledGap{Series: "spot_prices/us-east-1/us-east-1a/m5.large", Start: timestamppb.New(start), Method: "aws_history"}
	for hour := range 3 {
		g.SpotPrices = append(g.SpotPrices, &mlv1.SpotPriceRow{
			Region: "us-east-1", AvailabilityZone: "us-east-1a", InstanceType: "m5.large", At: timestamppb.New(start.Add(time.Duration(hour) * time.Hour)), Price: 0.04,
		})
	}
	equal(t, "records", h.fill(t, run, g).Records, 3)
	equal(t, "records again", h.fill(t, run, g).Records, 0)
	_, err := h.db.Pool.Exec(t.Context(), `INSERT INTO spot_prices (region, availability_zone, instance_type, at, price, imputed, method) VALUES ('r', 'z', 't', now(), 1, true, 'linear')`)
	if err == nil {
		t.Error("a price that was made up was taken")
	}
	h.exec(t, "UPDATE spot_prices SET at = at - interval '500 days'")
	must(t, h.PruneTraining(t.Context(), 30*24*time.Hour))
	equal(t, "prices of 500 days ago", h.count(t, "SELECT count(*) FROM spot_prices"), 0)
}

func TestSilencesAreNotedFromTheLastHeartbeatToTheNext(t *testing.T) {
	h := newHouse(t)
	h.exec(t, "UPDATE clusters SET status = 'active', last_seen_at = now() - interval '10 minutes'")
	for range 2 { // as two replicas would
		_, err := h.MarkOffline(t.Context())
		must(t, err)
	}
	must(t, h.NoteSilences(t.Context()))
	equal(t, "open", h.count(t, `SELECT count(*) FROM silences s JOIN clusters c USING (cluster_id)
		WHERE s.kind = 'agent' AND s.until IS NULL AND s.since = c.last_seen_at`), 1)
	must(t, h.Seen(t.Context(), h.cluster))
	must(t, h.NoteSilences(t.Context()))
	equal(t, "ended", h.count(t, "SELECT count(*) FROM silences WHERE kind = 'agent' AND until > now() - interval '1 minute'"), 1)
	equal(t, "and no other", h.count(t, "SELECT count(*) FROM silences WHERE kind <> 'unwatched'"), 1)
}

func TestCentralsOwnSilenceIsNoted(t *testing.T) {
	h := newHouse(t)
	must(t, h.NoteSilences(t.Context()))
	must(t, h.NoteSilences(t.Context()))
	equal(t, "while it runs", h.count(t, "SELECT count(*) FROM silences WHERE kind = 'central'"), 0)
	h.exec(t, "UPDATE turns SET next_at = now() - interval '1 hour' WHERE name = 'central.alive'")
	must(t, h.NoteSilences(t.Context()))
	must(t, h.NoteSilences(t.Context()))
	equal(t, "of an hour", h.count(t, "SELECT count(*) FROM silences WHERE kind = 'central' AND until - since BETWEEN interval '59 minutes' AND interval '61 minutes'"), 1)
}

func TestPartitionsAreMadeWithTheMarksInPlace(t *testing.T) {
	h, run, start := newTraining(t)
	ahead := time.Now().UTC().Truncate(24 * time.Hour).Add(25 * time.Hour)
	h.observe(t, ahead, 5) // into the default partition, to be moved
	h.fill(t, run, h.gap(start, 3, 3))
	must(t, h.KeepPartitions(t.Context(), 30*24*time.Hour))
	h.fill(t, run, h.gap(ahead.Add(time.Hour), 3, 3))
	equal(t, "imputed", h.count(t, "SELECT count(*) FROM cluster_metrics WHERE imputed AND method = 'linear'"), 6)
	equal(t, "observed", h.count(t, "SELECT count(*) FROM cluster_metrics WHERE NOT imputed"), 1)
}
