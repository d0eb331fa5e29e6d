package market

import (
	"maps"
	"slices"
	"strings"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
)

// Names of the sources that a snapshot rests on.
const (
	InstanceTypes  = "instance_types"
	OnDemandPrices = "on_demand_prices"
	SpotPrices     = "spot_prices"
	SpotAdvisor    = "spot_advisor"
)

// Where a source's data came from.
const (
	Embedded = "embedded"
	AWS      = "aws"
	// None: the region is in no snapshot and nothing was fetched yet.
	None = "none"
)

// staleAfter is how old a source may be before it is doubted: spot prices move
// daily, interruption buckets within months, the others seldom.
var staleAfter = map[string]time.Duration{
	SpotPrices:     2 * 24 * time.Hour,
	SpotAdvisor:    30 * 24 * time.Hour,
	OnDemandPrices: 90 * 24 * time.Hour,
	InstanceTypes:  180 * 24 * time.Hour,
}

// Facts say where something came from, when it was true and what went wrong since.
type Facts struct {
	// Origin is Embedded, AWS or None.
	Origin string
	// AsOf is when the data was true.
	AsOf time.Time
	// Err is the last failure to refresh it, empty if none.
	Err string
}

// Source is one thing that decisions rest on. What is said of the whole is the
// worst of its regions.
type Source struct {
	Facts
	// Name is one of the constants above.
	Name string
	// Regions that are refreshed, by name; none: it is not fetched by region.
	Regions map[string]Facts
}

func (f Facts) stale(name string, now time.Time) bool {
	return f.AsOf.IsZero() || now.Sub(f.AsOf) > staleAfter[name]
}

// Stale says that it is too old to be sure of.
func (s Source) Stale(now time.Time) bool { return s.stale(s.Name, now) }

// Health is the source as the health check tells it.
func (s Source) Health(now time.Time) *mlv1.SourceHealth {
	h := &mlv1.SourceHealth{
		Name: s.Name, Origin: s.Origin, AgeSeconds: age(s.AsOf, now), Error: s.Err, Stale: s.Stale(now),
		StaleAfterSeconds: staleAfter[s.Name].Seconds(),
	}
	for _, region := range slices.Sorted(maps.Keys(s.Regions)) {
		f := s.Regions[region]
		h.Regions = append(h.Regions, &mlv1.RegionHealth{
			Region: region, Origin: f.Origin, AgeSeconds: age(f.AsOf, now), Error: f.Err, Stale: f.stale(s.Name, now),
		})
	}
	return h
}

// age in seconds; 0 for what never was.
func age(asOf, now time.Time) float64 {
	if asOf.IsZero() {
		return 0
	}
	return max(0, now.Sub(asOf).Seconds())
}

// with returns the source with what is now true of a region, or of the whole if
// region is empty.
func (s Source) with(region string, f Facts) Source {
	if region == "" {
		s.Facts = f
		return s
	}
	s.Regions = maps.Clone(s.Regions)
	if s.Regions == nil {
		s.Regions = map[string]Facts{}
	}
	s.Regions[region] = f
	s.Facts = Facts{Origin: f.Origin, AsOf: f.AsOf}
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(s.Regions)) {
		one := s.Regions[name]
		if one.AsOf.Before(s.AsOf) {
			s.AsOf, s.Origin = one.AsOf, one.Origin
		}
		if one.Err != "" {
			failed = append(failed, name+": "+one.Err)
		}
	}
	s.Err = strings.Join(failed, "; ")
	return s
}

// facts of a source as far as a region goes.
func (s *Snapshot) facts(name, region string) Facts {
	source := s.sources[name]
	if f, ok := source.Regions[region]; ok {
		return f
	}
	f := source.Facts
	if len(source.Regions) > 0 { // others are refreshed, this one is as it was built in
		f = s.built[name]
	}
	r := s.regions[region]
	switch {
	case r == nil:
		return Facts{Origin: None}
	case name == SpotPrices:
		f.AsOf = r.spotAsOf
	case name == OnDemandPrices:
		f.AsOf = r.onDemandAsOf
	}
	return f
}

// Stale are the sources that are too old to be sure of in a region, sorted.
func (s *Snapshot) Stale(region string, now time.Time) []string {
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(staleAfter)) {
		if s.facts(name, region).stale(name, now) {
			stale = append(stale, name)
		}
	}
	return stale
}

// Sources by name.
func (s *Snapshot) Sources() []Source {
	var all []Source
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		all = append(all, s.sources[name])
	}
	return all
}
