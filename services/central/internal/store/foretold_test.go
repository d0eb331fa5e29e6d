package store

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// foretell notes what was said of an instance so long before noon.
func (h *house) foretell(t *testing.T, cluster uuid.UUID, instance string, before time.Duration, probability float64) {
	t.Helper()
	h.exec(t, `INSERT INTO spot_predictions (cluster_id, instance_id, hour, node_name, at, probability, model)
		VALUES ($1, $2, date_trunc('hour', $3::timestamptz, 'UTC'), 'n', $3, $4, 'fleet_record')`, cluster, instance, noon.Add(-before), probability)
}

// noon is when AWS speaks here.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// TestAnEventSaysWhatWasForetoldBeforeIt: the last word before it whose day was not over, of that instance in that cluster.
func TestAnEventSaysWhatWasForetoldBeforeIt(t *testing.T) {
	h := newHouse(t)
	_, elsewhere := h.tenant(t, "rival")
	h.foretell(t, h.cluster, "i-often", 3*time.Hour, 0.3)
	h.foretell(t, h.cluster, "i-often", time.Minute, 0.1) // 11:59: the last before noon
	h.foretell(t, h.cluster, "i-often", -time.Minute, 0.9)
	h.foretell(t, h.cluster, "i-day", 24*time.Hour, 0.2)
	h.foretell(t, h.cluster, "i-over", 24*time.Hour+time.Second, 0.2)
	h.foretell(t, h.cluster, "i-after", 0, 0.2)
	h.foretell(t, h.cluster, "i-zero", 30*time.Minute, 0)
	h.foretell(t, elsewhere, "i-never", time.Hour, 0.7)
	want := map[string]struct {
		said        bool
		probability float64
		before      time.Duration
	}{
		"i-often": {true, 0.1, time.Minute},
		"i-day":   {true, 0.2, 24 * time.Hour},
		"i-over":  {}, "i-after": {}, "i-never": {},
		"i-zero": {true, 0, 30 * time.Minute},
	}
	for instance := range want {
		_, err := h.AddSaid(t.Context(), Said{
			Cluster: h.cluster, Key: instance, InstanceID: instance, Type: "interruption_warning", Time: noon.Add(2 * time.Minute), Source: "queue",
		})
		must(t, err)
	}
	h.exec(t, "UPDATE spot_events SET received_at = $1", noon)

	seen, page := 0, Page{Limit: 4}
	for {
		events, token, err := h.SpotEvents(t.Context(), anyone, some(h.customer), "", "", page)
		must(t, err)
		for _, event := range events {
			seen++
			got, want := event.GetForetold(), want[event.GetInstanceId()]
			if (got != nil) != want.said {
				t.Errorf("%s: %v was foretold", event.GetInstanceId(), got)
				continue
			}
			if want.said && (got.GetProbability() != want.probability || !got.GetSaidAt().AsTime().Equal(noon.Add(-want.before)) ||
				got.GetHorizonMinutes() != 1440 || got.GetModel() != "fleet_record") {
				t.Errorf("%s: %v was foretold, want %v", event.GetInstanceId(), got, want)
			}
		}
		if token == "" {
			break
		}
		page, err = NewPage(4, token, "")
		must(t, err)
	}
	if seen != len(want) {
		t.Errorf("%d events on the pages, want %d", seen, len(want))
	}
}

// TestTheListOfSpotEventsLooksForPredictionsOnItsPageAlone: a hundred of five thousand events cost some hundred rows.
func TestTheListOfSpotEventsLooksForPredictionsOnItsPageAlone(t *testing.T) {
	h := newHouse(t)
	h.exec(t, `INSERT INTO spot_events (cluster_id, instance_id, event_type, received_at, dedup_key)
		SELECT $1, 'i-' || n, 'interruption_warning', $2::timestamptz - make_interval(mins => n), n::text FROM generate_series(1, 5000) n`, h.cluster, noon)
	h.exec(t, `INSERT INTO spot_predictions (cluster_id, instance_id, hour, node_name, at, probability, model)
		SELECT $1, 'i-' || n, date_trunc('hour', at, 'UTC'), 'n', at, 0.5, 'm'
		FROM generate_series(1, 5000) n, LATERAL (SELECT $2::timestamptz - make_interval(mins => n + 90 * k) AS at FROM generate_series(1, 8) k) p`, h.cluster, noon)
	h.exec(t, "ANALYZE spot_events, spot_predictions, clusters")
	var before, after int
	must(t, h.InTx(t.Context(), func(tx *Store) error {
		count := func() (n int) {
			must(t, tx.db.QueryRow(t.Context(), `SELECT coalesce(sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0)), 0)::int
				FROM pg_stat_xact_user_tables WHERE relname = 'spot_predictions'`).Scan(&n))
			return n
		}
		before = count()
		events, token, err := tx.SpotEvents(t.Context(), anyone, some(h.customer), "", "", Page{Limit: 100})
		must(t, err)
		if len(events) != 100 || token == "" || events[99].GetForetold().GetProbability() != 0.5 {
			t.Errorf("%d events, foretold %v", len(events), events[len(events)-1].GetForetold())
		}
		after = count()
		return nil
	}))
	if after == before || after-before > 2000 {
		t.Errorf("%d predictions were read for a page of 100", after-before)
	}
}
