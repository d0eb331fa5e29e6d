package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// Refresher fetches fresh prices into a market.
type Refresher struct {
	Market *Market
	// Regions whose prices are fetched.
	Regions []string
	// AdvisorURL is where the Spot Advisor's data is; empty: it is not fetched.
	AdvisorURL string
	// EndpointURL replaces every AWS endpoint, for tests and the lab.
	EndpointURL string
	// Every so often.
	Every time.Duration
	// HTTP fetches the Spot Advisor's data; the AWS SDK has its own client.
	HTTP *http.Client
	Log  *slog.Logger
}

// Run refreshes now and then on, until ctx ends. Where no AWS credentials are found
// it does nothing: the embedded snapshot is used. A failed refresh keeps
// what was known and is shown by the source.
func (r *Refresher) Run(ctx context.Context) error {
	account, err := r.connect(ctx)
	if errors.Is(err, errNoCredentials) {
		r.Log.InfoContext(ctx, "no AWS credentials: prices stay those of the embedded snapshot")
		return nil
	}
	if err != nil {
		r.Log.WarnContext(ctx, "prices stay those of the embedded snapshot", "error", err)
		r.Market.fail("AWS could not be reached")
		return nil
	}
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		r.refresh(ctx, account)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// source of a refresh: its name and what fetches it for one region.
type source struct {
	name  string
	fetch func(ctx context.Context, region string) (apply func(*Snapshot), err error)
}

func (r *Refresher) refresh(ctx context.Context, account *account) {
	for _, s := range []source{
		{InstanceTypes, account.instanceTypes},
		{OnDemandPrices, account.onDemandPrices},
		{SpotPrices, account.spotPrices},
	} {
		r.fetch(ctx, s, r.Regions)
	}
	if r.AdvisorURL != "" {
		r.fetch(ctx, source{SpotAdvisor, r.advisor}, []string{"all regions"})
	}
}

// fetch one source for the regions and publish what came.
func (r *Refresher) fetch(ctx context.Context, s source, regions []string) {
	next := r.Market.Snapshot().clone()
	var failed error
	for _, region := range regions {
		apply, err := s.fetch(ctx, region)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("fetching %s of %s: %w", s.name, region, err))
			continue
		}
		apply(next)
	}
	if ctx.Err() != nil {
		return
	}
	state := next.sources[s.name]
	state.Err = ""
	if failed != nil {
		// The cause may name accounts and endpoints, and health is open to anyone.
		state.Err = "the last refresh failed; older data is used"
		r.Log.WarnContext(ctx, "refreshing the market", "source", s.name, "error", failed)
	} else {
		state.Origin, state.AsOf = AWS, time.Now()
		r.Log.InfoContext(ctx, "refreshed the market", "source", s.name)
	}
	next.sources[s.name] = state
	r.Market.current.Store(next)
}

// Prices outside these shares of the on-demand price do not occur on AWS: data
// with such prices is not what it says it is, and must not steer purchases.
const (
	leastSpotShare = 0.02
	mostSpotShare  = 10
)

var errImplausible = errors.New("the prices are implausible beside on-demand prices")

// withSpot puts the spot prices of a region into a snapshot.
func withSpot(name string, prices map[string]map[string]float64, now time.Time) func(*Snapshot) {
	return func(s *Snapshot) {
		next := s.regionCopy(name)
		next.spot, next.spotAsOf, next.spotOrigin = prices, now, AWS
		s.regions[name] = next
	}
}

// plausible unless more than a few prices are out of all proportion.
func plausible(s *Snapshot, name string, prices map[string]map[string]float64) bool {
	odd, all := 0, 0
	for typeName, zones := range prices {
		onDemand := s.OnDemand(name, typeName)
		for _, price := range zones {
			if onDemand > 0 {
				all++
				if price < leastSpotShare*onDemand || price > mostSpotShare*onDemand {
					odd++
				}
			}
		}
	}
	return all > 0 && odd*20 <= all
}

func withOnDemand(name string, prices map[string]float64, now time.Time) func(*Snapshot) {
	return func(s *Snapshot) {
		next := s.regionCopy(name)
		next.onDemand, next.onDemandAsOf = prices, now
		s.regions[name] = next
	}
}

// withTypes adds to the types known: a type that one region lacks is still a type.
func withTypes(types map[string]catalogue.Type) func(*Snapshot) {
	return func(s *Snapshot) {
		all := make(map[string]catalogue.Type, len(s.types)+len(types))
		for name, t := range s.types {
			all[name] = t
		}
		for name, t := range types {
			if known, ok := all[name]; ok {
				t.Category = known.Category // the API does not say it
			}
			all[name] = t
		}
		s.types = all
	}
}

// withBuckets replaces the interruption buckets of the regions named.
func withBuckets(buckets map[string]map[string]int) func(*Snapshot) {
	return func(s *Snapshot) {
		for name, byType := range buckets {
			if s.regions[name] != nil {
				next := s.regionCopy(name)
				next.bucket = byType
				s.regions[name] = next
			}
		}
	}
}

func (s *Snapshot) regionCopy(name string) *region {
	if r := s.regions[name]; r != nil {
		next := *r
		return &next
	}
	return newRegion()
}
