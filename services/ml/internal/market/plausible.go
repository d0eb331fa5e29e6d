package market

import (
	"errors"
	"regexp"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// What comes from outside steers purchases: an answer that AWS would not give is
// not taken, whoever gave it.
const (
	// Spot prices outside these shares of the on-demand price do not occur on AWS.
	leastSpotShare = 0.02
	mostSpotShare  = 10
	// mostPrice is far above the dearest instance, USD per hour.
	mostPrice = 10_000
	// moved by more than this factor, a price or a size is not the one that was known.
	moved = 3
	// oddOf: one in so many may be odd, for AWS has its oddities.
	oddOf = 20
	// An answer with fewer than half of what is known was cut off somewhere.
	leastShare = 0.5
)

var (
	errImplausible = errors.New("the answer is implausible")
	typeName       = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,20}$`)
	zoneName       = regexp.MustCompile(`^[a-z0-9-]{4,40}$`)
)

// usable price: NaN and infinity parse as numbers.
func usable(price float64) bool { return price > 0 && price < mostPrice }

// odd counts how many of all are off.
type odd struct{ off, all int }

func (o *odd) count(off bool) {
	o.all++
	if off {
		o.off++
	}
}

func (o *odd) tooMany() bool { return o.off*oddOf > o.all }

func differs(a, b float64) bool { return a > b*moved || b > a*moved }

// plausibleSpot unless more than a few prices are out of all proportion, or half of
// the pools are missing.
func plausibleSpot(s *Snapshot, name string, prices map[string]map[string]float64) error {
	var o odd
	pools := 0
	for typeName, zones := range prices {
		onDemand := s.OnDemand(name, typeName)
		pools += len(zones)
		for _, price := range zones {
			if onDemand > 0 {
				o.count(price < leastSpotShare*onDemand || price > mostSpotShare*onDemand)
			}
		}
	}
	known := 0
	if r := s.regions[name]; r != nil {
		for _, zones := range r.spot {
			known += len(zones)
		}
	}
	switch {
	case o.all == 0:
		return implausible("there are no on-demand prices to compare spot prices with")
	case o.tooMany():
		return implausible("%d of %d spot prices are out of proportion to on-demand prices", o.off, o.all)
	case float64(pools) < leastShare*float64(known):
		return implausible("%d spot prices where %d were known", pools, known)
	}
	return nil
}

// plausibleOnDemand unless half of the prices are missing, or more than a few have
// become something else.
func plausibleOnDemand(s *Snapshot, name string, prices map[string]float64) error {
	var o odd
	known := 0
	if r := s.regions[name]; r != nil {
		known = len(r.onDemand)
		for typeName, price := range prices {
			if was := r.onDemand[typeName]; was > 0 {
				o.count(differs(price, was))
			}
		}
	}
	switch {
	case float64(len(prices)) < leastShare*float64(known):
		return implausible("%d on-demand prices where %d were known", len(prices), known)
	case o.tooMany():
		return implausible("%d of %d on-demand prices have moved by more than a factor of %d", o.off, o.all, moved)
	}
	return nil
}

// plausibleTypes unless half of what has a price in the region is missing, or more
// than a few types have another size.
func plausibleTypes(s *Snapshot, name string, found map[string]catalogue.Type) error {
	var o odd
	priced, here := 0, 0
	for _, typeName := range s.Types(name) {
		was, known := s.types[typeName]
		if !known {
			continue
		}
		priced++
		if t, ok := found[typeName]; ok {
			here++
			o.count(differs(float64(t.VCPU), float64(was.VCPU)) || differs(float64(t.MemoryMiB), float64(was.MemoryMiB)))
		}
	}
	switch {
	case float64(here) < leastShare*float64(priced):
		return implausible("%d instance types where %d were known", here, priced)
	case o.tooMany():
		return implausible("%d of %d instance types have another size", o.off, o.all)
	}
	return nil
}

// plausibleBuckets unless half of what is known is missing, or all are alike: the
// least and the most interrupted types do exist side by side.
func plausibleBuckets(s *Snapshot, buckets map[string]map[string]int) error {
	known, here, all := 0, 0, 0
	var per [5]int
	for name, r := range s.regions {
		known += len(r.bucket)
		here += min(len(buckets[name]), len(r.bucket))
	}
	for _, byType := range buckets {
		for _, bucket := range byType {
			per[bucket]++
			all++
		}
	}
	if float64(here) < leastShare*float64(known) {
		return implausible("%d interruption buckets where %d were known", here, known)
	}
	for bucket, n := range per {
		if (all-n)*oddOf < all {
			return implausible("%d of %d interruption buckets are %d", n, all, bucket)
		}
	}
	return nil
}
