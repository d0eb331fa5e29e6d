package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// Refresher fetches fresh prices into a market.
type Refresher struct {
	Market *Market
	// Account is what AWS is asked with.
	Account *Account
	// Regions whose prices are fetched.
	Regions []string
	// AdvisorURL is where the Spot Advisor's data is; empty: it is not fetched. It is
	// public, so it needs no credentials.
	AdvisorURL string
	// Every so often.
	Every time.Duration
	// HTTP fetches the Spot Advisor's data.
	HTTP *http.Client
	Log  *slog.Logger

	// etag of the advisor's file in use; its loop alone touches it.
	etag string
}

const (
	// firstRetry after a failure; each further one waits twice as long, up to Every.
	firstRetry = time.Minute
	// sideBySide bounds how many fetches run at once: an answer is some MB.
	sideBySide = 4
	// fetchWithin bounds one source of one region, with all its pages and retries.
	fetchWithin = 5 * time.Minute
)

// unit is one source in one region, refreshed by itself: what fails or hangs keeps
// no other back.
type unit struct {
	name, region string
	fetch        func(ctx context.Context, region string) (apply func(*Snapshot), err error)
}

func (r *Refresher) units() []unit {
	var all []unit
	for _, region := range r.Regions {
		all = append(all,
			unit{InstanceTypes, region, r.instanceTypes}, unit{OnDemandPrices, region, r.onDemandPrices},
			unit{SpotPrices, region, r.spotPrices})
	}
	if r.AdvisorURL != "" {
		all = append(all, unit{SpotAdvisor, "", r.advisor})
	}
	return all
}

// Run refreshes now and then on, until ctx ends. A failed refresh keeps what was
// known, is shown by the source, and is tried again soon. Where no AWS credentials
// are found the embedded prices stay, and they are looked for again.
func (r *Refresher) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for _, u := range r.units() {
		r.announce(u)
		loops.Go(func() { r.keep(ctx, u, slots) })
	}
	loops.Wait()
	return nil
}

// announce shows a region before its first answer, as old as it is.
func (r *Refresher) announce(u unit) {
	if u.region == "" {
		return
	}
	r.Market.change(func(s *Snapshot) {
		s.sources[u.name] = s.sources[u.name].with(u.region, s.facts(u.name, u.region))
	})
}

func (r *Refresher) keep(ctx context.Context, u unit, slots chan struct{}) {
	for failures := 0; ; {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := r.once(ctx, u)
		<-slots
		wait := r.Every
		if err != nil {
			wait = retryAfter(failures, r.Every)
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(jittered(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// retryAfter so many failures before this one.
func retryAfter(failures int, every time.Duration) time.Duration {
	return min(firstRetry<<min(failures, 20), every)
}

// jittered by a tenth either way: replicas that were started together must not ask
// together for ever.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// once fetches a unit and publishes what came, or what went wrong.
func (r *Refresher) once(ctx context.Context, u unit) error {
	within, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	apply, err := u.fetch(within, u.region)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errNoCredentials):
		return err // not a failure of the source's: it was told once
	case err != nil:
		r.Log.WarnContext(ctx, "refreshing the market", "source", u.name, "region", u.region, "error", err)
		r.Market.change(func(s *Snapshot) {
			was := s.sources[u.name].Facts
			if u.region != "" {
				was = s.facts(u.name, u.region)
			}
			was.Err = publicly(err)
			s.sources[u.name] = s.sources[u.name].with(u.region, was)
		})
		return err
	}
	now := time.Now()
	r.Market.change(func(s *Snapshot) {
		apply(s)
		s.sources[u.name] = s.sources[u.name].with(u.region, Facts{Origin: AWS, AsOf: now})
	})
	r.Log.InfoContext(ctx, "refreshed the market", "source", u.name, "region", u.region)
	return nil
}

// publicly is what health, which is open to anyone, may say: the cause may name
// accounts and endpoints.
func publicly(err error) string {
	if errors.Is(err, errImplausible) {
		return "the last answer was implausible and not taken; older data is used"
	}
	return "the last refresh failed; older data is used"
}

func withSpot(name string, prices map[string]map[string]float64, now time.Time) func(*Snapshot) {
	return func(s *Snapshot) {
		next := s.regionCopy(name)
		next.spot, next.spotAsOf, next.spotOrigin = prices, now, AWS
		s.regions[name] = next
	}
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
			if s.regions[name] != nil && len(byType) > 0 {
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

// implausible says what is wrong with an answer.
func implausible(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errImplausible, fmt.Sprintf(format, args...))
}
