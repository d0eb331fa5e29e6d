package predict

import (
	"context"
	"math"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

const (
	// poolHorizon is the day over which a pool's rate is asked for: an hour says too
	// little of nodes that are kept for weeks, and models are calibrated up to a day.
	poolHorizon = 24 * 60.0
	// certain is the most that counts as a probability, or the rate would have no end.
	certain = 0.9999

	hoursPerMonth = 730
)

// Pools scores spot pools for a decision. What it goes by is looked up once, so that
// all pools of a decision are scored alike.
type Pools struct {
	market *market.Snapshot
	view   *view
	live   trained
	now    time.Time
}

// Pools as they are seen now.
func (s *Server) Pools(ctx context.Context) *Pools {
	now := time.Now()
	v, _ := s.fleet.look(ctx, now)
	live, version := s.models.Live()
	return &Pools{market: s.market.Snapshot(), view: v, live: trained{live, version}, now: now}
}

// Model that scores, and its version; without one, what scores instead.
func (p *Pools) Model() string {
	switch {
	case p.live.model != nil:
		return "model/" + p.live.version
	case p.view != nil:
		return fromRecord
	}
	return "spot_advisor"
}

// Interruptions of one node kept in the pool, to be expected in a month; not ok where
// neither a model nor the fleet's own record says more than the Spot Advisor.
func (p *Pools) Interruptions(region string, pool market.Offer) (perMonth float64, ok bool) {
	if p.live.model == nil && p.view == nil {
		return 0, false
	}
	q := newQuestion(&mlv1.PredictSpotInterruptionRequest{
		InstanceType: pool.Type.Name, Region: region, AvailabilityZone: pool.Zone, HorizonMinutes: poolHorizon,
	}, p.market, p.view, p.now)
	answer := q.answer(p.live, trained{})
	if answer.GetSource() == fromAdvisor {
		return 0, false
	}
	return -math.Log1p(-min(answer.GetProbability(), certain)) * hoursPerMonth * 60 / poolHorizon, true
}
