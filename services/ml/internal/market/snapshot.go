// Package market knows the instance types and what they cost where, from an
// embedded snapshot and, where AWS credentials exist, fresh from AWS.
package market

import (
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
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
)

// Source is one thing that decisions rest on.
type Source struct {
	// Name is one of the constants above.
	Name string
	// Origin is Embedded or AWS.
	Origin string
	// AsOf is when the data was true.
	AsOf time.Time
	// Err is the last failure to refresh it, empty if none.
	Err string
}

// Offer is a type in a zone.
type Offer struct {
	Type catalogue.Type
	Zone string
	// Spot price, USD per hour; 0: not offered or unknown.
	Spot float64
	// OnDemand price, USD per hour; 0: unknown.
	OnDemand float64
	// Bucket of the Spot Advisor, 0 to 4, or catalogue.Unknown.
	Bucket int
}

// Snapshot is the market at one moment. It never changes, so that a decision
// sees one set of prices from start to end.
type Snapshot struct {
	types   map[string]catalogue.Type
	regions map[string]*region
	sources map[string]Source
}

// region holds the prices of one region by type.
type region struct {
	onDemand map[string]float64
	spot     map[string]map[string]float64 // type → zone → price
	bucket   map[string]int

	spotAsOf, onDemandAsOf time.Time
	spotOrigin             string
}

func newRegion() *region {
	return &region{onDemand: map[string]float64{}, spot: map[string]map[string]float64{}, bucket: map[string]int{}}
}

// fromFacts makes the first snapshot out of the embedded facts.
func fromFacts(facts *catalogue.Facts) *Snapshot {
	s := &Snapshot{types: facts.Types, regions: map[string]*region{}, sources: map[string]Source{}}
	for _, price := range facts.Prices {
		r := s.regions[price.Region]
		if r == nil {
			r = newRegion()
			r.spotAsOf, r.onDemandAsOf, r.spotOrigin = facts.AsOf.Spot, facts.AsOf.OnDemand, Embedded
			if fresher, ok := facts.AsOf.OnDemandRegion[price.Region]; ok {
				r.onDemandAsOf = fresher
			}
			s.regions[price.Region] = r
		}
		r.onDemand[price.Type] = price.OnDemand
		r.spot[price.Type] = price.Spot
		if price.Bucket != catalogue.Unknown {
			r.bucket[price.Type] = price.Bucket
		}
	}
	for name, asOf := range map[string]time.Time{
		InstanceTypes: facts.AsOf.Types, OnDemandPrices: facts.AsOf.OnDemand,
		SpotPrices: facts.AsOf.Spot, SpotAdvisor: facts.AsOf.Advisor,
	} {
		s.sources[name] = Source{Name: name, Origin: Embedded, AsOf: asOf}
	}
	return s
}

// clone copies what a refresh may replace; the maps below regions are replaced
// whole, never written to.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{types: s.types, regions: maps.Clone(s.regions), sources: maps.Clone(s.sources)}
}

// Type by name.
func (s *Snapshot) Type(name string) (catalogue.Type, bool) {
	t, ok := s.types[name]
	return t, ok
}

// Known says whether anything of the region is known.
func (s *Snapshot) Known(region string) bool { return s.regions[region] != nil }

// OnDemand price of a type in a region, 0 if unknown.
func (s *Snapshot) OnDemand(region, name string) float64 {
	if r := s.regions[region]; r != nil {
		return r.onDemand[name]
	}
	return 0
}

// Spot price of a type in a zone of a region, 0 if unknown.
func (s *Snapshot) Spot(region, name, zone string) float64 {
	if r := s.regions[region]; r != nil {
		return r.spot[name][zone]
	}
	return 0
}

// Regions of which anything is known, sorted.
func (s *Snapshot) Regions() []string { return slices.Sorted(maps.Keys(s.regions)) }

// Bucket of the Spot Advisor for a type in a region, 0 to 4, or catalogue.Unknown.
func (s *Snapshot) Bucket(region, name string) int {
	if r := s.regions[region]; r != nil {
		if bucket, ok := r.bucket[name]; ok {
			return bucket
		}
	}
	return catalogue.Unknown
}

// Zones of a region that any price is known in, sorted.
func (s *Snapshot) Zones(region string) []string {
	seen := map[string]bool{}
	if r := s.regions[region]; r != nil {
		for _, zones := range r.spot {
			for zone := range zones {
				seen[zone] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Offers of a region in the zones given, by type and zone. Where a type is
// offered is read off its spot prices; in a region without any it is taken to be
// offered in every zone, on demand.
func (s *Snapshot) Offers(name string, zones []string) []Offer {
	r := s.regions[name]
	if r == nil {
		return nil
	}
	blind := len(s.Zones(name)) == 0
	var offers []Offer
	for typeName, price := range r.onDemand {
		t, ok := s.types[typeName]
		if !ok {
			continue
		}
		bucket, ok := r.bucket[typeName]
		if !ok {
			bucket = catalogue.Unknown
		}
		for _, zone := range zones {
			spot, offered := r.spot[typeName][zone]
			if offered || blind {
				offers = append(offers, Offer{Type: t, Zone: zone, Spot: spot, OnDemand: price, Bucket: bucket})
			}
		}
	}
	sort.Slice(offers, func(a, b int) bool {
		if offers[a].Type.Name != offers[b].Type.Name {
			return offers[a].Type.Name < offers[b].Type.Name
		}
		return offers[a].Zone < offers[b].Zone
	})
	return offers
}

// priced lists every type of the region in each of its zones. A node may run where a
// type is no longer or not yet known to be offered, and still costs its
// on-demand price, so zones without a spot price are listed too.
func (s *Snapshot) priced(name string) []Offer {
	r, zones := s.regions[name], s.Zones(name)
	if len(zones) == 0 {
		zones = []string{""}
	}
	var offers []Offer
	for _, typeName := range s.Types(name) {
		t, ok := s.types[typeName]
		if !ok {
			t = catalogue.Type{Name: typeName}
		}
		for _, zone := range zones {
			offers = append(offers, Offer{Type: t, Zone: zone, Spot: r.spot[typeName][zone], OnDemand: r.onDemand[typeName]})
		}
	}
	return offers
}

// Empty says that no price is known anywhere.
func (s *Snapshot) Empty() bool { return len(s.regions) == 0 || len(s.types) == 0 }

// Types of a region that have a price, sorted.
func (s *Snapshot) Types(name string) []string {
	r := s.regions[name]
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.onDemand))
}

// AsOf says when the region's spot and on-demand prices were true, and where the
// spot prices came from.
func (s *Snapshot) AsOf(name string) (spot, onDemand time.Time, origin string) {
	r := s.regions[name]
	if r == nil {
		return time.Time{}, time.Time{}, ""
	}
	return r.spotAsOf, r.onDemandAsOf, r.spotOrigin
}

// Sources by name.
func (s *Snapshot) Sources() []Source {
	var all []Source
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		all = append(all, s.sources[name])
	}
	return all
}
