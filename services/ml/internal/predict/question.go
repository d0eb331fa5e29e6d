package predict

import (
	"math"
	"slices"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/feature"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

const (
	defaultHorizon = 60.0
	// Older data is doubted, as health does it.
	advisorStale = 30 * 24 * time.Hour
	pricesStale  = 2 * 24 * time.Hour
)

// question is a request with all that is known of what it asks about. From here on
// the answer is a pure function.
type question struct {
	pool    history.Pool
	minutes float64
	row     feature.Row
	notes   []string

	estimate estimate
	bucket   int
	// inBucket says that the Spot Advisor knows the type in the region, familiar that
	// the catalogue knows both.
	inBucket, familiar bool
	advisorAge         time.Duration
	advisorAsOf        time.Time
}

func (q *question) note(code string) {
	if !slices.Contains(q.notes, code) {
		q.notes = append(q.notes, code)
	}
}

func newQuestion(req *mlv1.PredictSpotInterruptionRequest, s *market.Snapshot, v *view, now time.Time) *question {
	q := &question{
		pool:    history.Pool{Type: req.GetInstanceType(), Region: req.GetRegion(), Zone: req.GetAvailabilityZone()},
		minutes: req.GetHorizonMinutes(), row: feature.NewRow(),
	}
	if q.minutes == 0 {
		q.minutes = defaultHorizon
	}
	feature.Clock(&q.row, now)
	if req.UptimeMinutes != nil {
		q.row[feature.UptimeMinutes] = req.GetUptimeMinutes()
	} else {
		q.note("uptime_unknown")
	}
	if q.pool.Zone == "" {
		q.note("zone_unknown")
	}
	q.ofMarket(req, s, now)
	q.ofFleet(req, s, v, now)
	for i := range q.row {
		q.row[i] = feature.Clamp(i, q.row[i])
	}
	return q
}

// ofMarket fills in type, price and bucket.
func (q *question) ofMarket(req *mlv1.PredictSpotInterruptionRequest, s *market.Snapshot, now time.Time) {
	kind, known := s.Type(q.pool.Type)
	onDemand := s.OnDemand(q.pool.Region, q.pool.Type)
	q.familiar = known && s.Known(q.pool.Region)
	if known {
		feature.Kind(&q.row, kind)
	} else {
		q.note("unknown_instance_type")
	}
	switch {
	case !s.Known(q.pool.Region):
		q.note("unknown_region")
	case known && onDemand == 0:
		q.note("not_offered")
	}
	if price := q.priceNow(req, s, now); price > 0 && onDemand > 0 {
		q.row[feature.PriceOverOnDemand] = price / onDemand
	}
	for _, source := range s.Sources() {
		if source.Name == market.SpotAdvisor {
			q.advisorAsOf, q.advisorAge = source.AsOf, now.Sub(source.AsOf)
		}
	}
	if q.bucket = s.Bucket(q.pool.Region, q.pool.Type); q.bucket != catalogue.Unknown {
		q.row[feature.AdvisorBucket] = float64(q.bucket)
	}
}

// priceNow is the caller's, or else the market snapshot's.
func (q *question) priceNow(req *mlv1.PredictSpotInterruptionRequest, s *market.Snapshot, now time.Time) float64 {
	if req.Price != nil {
		return req.GetPrice()
	}
	price, asOf := q.price(s)
	if price > 0 && now.Sub(asOf) > pricesStale {
		q.note("prices_stale")
	}
	return price
}

// price of the market snapshot in the zone; of any zone, the mean.
func (q *question) price(s *market.Snapshot) (float64, time.Time) {
	asOf, _, _ := s.AsOf(q.pool.Region)
	if q.pool.Zone != "" {
		return s.Spot(q.pool.Region, q.pool.Type, q.pool.Zone), asOf
	}
	sum, n := 0.0, 0.0
	for _, zone := range s.Zones(q.pool.Region) {
		if p := s.Spot(q.pool.Region, q.pool.Type, zone); p > 0 {
			sum, n = sum+p, n+1
		}
	}
	return sum / max(1, n), asOf
}

// ofFleet fills in what was seen of the pool, by the caller or by the database, and
// the rate that follows from it.
func (q *question) ofFleet(req *mlv1.PredictSpotInterruptionRequest, s *market.Snapshot, v *view, now time.Time) {
	pools := map[history.Pool]record{}
	if v != nil {
		v.extractor.Fleet(&q.row, q.pool, v.at)
		pools = v.pools
		if ago := q.row[feature.SinceInterruption]; !math.IsNaN(ago) {
			q.row[feature.SinceInterruption] = ago + now.Sub(v.at).Minutes()
		}
	}
	own := q.activity(req)
	rate, known := priorOf(s, q.pool.Region, q.pool.Type)
	if q.inBucket = known; !known {
		q.note("no_advisor_bucket")
	}
	if q.advisorAge > advisorStale {
		q.note("advisor_stale")
	}
	rates := map[history.Pool]float64{}
	q.estimate = shrink(rate, func(p history.Pool) float64 {
		p.Zone = "" // the advisor's rates are of regions
		if _, ok := rates[p]; !ok {
			rates[p], _ = priorOf(s, p.Region, p.Type)
		}
		return rates[p]
	}, pools, q.pool, own)
	if q.estimate.seen && q.estimate.weight < 1.0/3 {
		q.note("little_evidence")
	}
}

// activity that the caller saw replaces what the database has of the same span; the
// longest is the pool's record.
func (q *question) activity(req *mlv1.PredictSpotInterruptionRequest) *record {
	rates := map[float64]int{1: feature.LossRate1h, 6: feature.LossRate6h, 24: feature.LossRate24h, 168: feature.LossRate7d}
	downs := map[float64]int{1: feature.DownShare1h, 6: feature.DownShare6h, 24: feature.DownShare24h, 168: feature.DownShare7d}
	var own *record
	longest := 0.0
	for _, a := range req.GetActivity() {
		lost, hours := float64(a.GetInterruptions()), a.GetInstanceHours()
		if f, ok := rates[a.GetHours()]; ok {
			q.row[f] = feature.Rate(lost, hours)
		}
		// A launch that fails is a probe that finds no capacity.
		if f, ok := downs[a.GetHours()]; ok && a.GetLaunchAttempts() > 0 {
			q.row[f] = float64(a.GetLaunchFailures()) / float64(a.GetLaunchAttempts())
		}
		if a.GetHours() > longest && (hours > 0 || lost > 0) {
			longest, own = a.GetHours(), &record{lost: lost, hours: hours}
		}
	}
	return own
}
