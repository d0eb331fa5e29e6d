package replay

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// Pool is a type in a zone, with what it gave and cost.
type Pool struct {
	// Offer at the first tick; the price changes.
	Offer market.Offer
	// Region of the zone.
	Region string
	// Up is how many instances could run at each tick.
	Up []int
	// Price of a spot instance at each tick, USD per hour.
	Price []float64
}

// Scenario is pools that were recorded together, and how many nodes are needed of them
// all the time.
type Scenario struct {
	// Name is the folder of the traces.
	Name string
	// Seconds between ticks.
	Seconds float64
	// Pools by zone.
	Pools []Pool
	// Need is how many nodes.
	Need int
	// PricesFrom says where the spot prices come from.
	PricesFrom string
}

// Ticks there are.
func (s *Scenario) Ticks() int { return len(s.Pools[0].Up) }

// hours between ticks.
func (s *Scenario) hours() float64 { return s.Seconds / 3600 }

// needShare of what the pools could give at most is needed. It is below what most
// sets gave on average, so that the choice of pools matters more than the lack of all.
const needShare = 0.4

// onlyTypes are the EC2 types behind the labels in the names of trace files. Others
// have no price here (GCP), or it is not sure which way their zeros and ones mean.
var onlyTypes = map[string]string{"v100_1": "p3.2xlarge", "intel_64": "r5.16xlarge"}

// fileName is zone_label, such as us-east-1a_v100_1.
var fileName = regexp.MustCompile(`^([a-z]{2}-[a-z]+-\d)([a-z])_([a-z0-9]+_\d+)$`)

// scenarios of the traces, by name, and the folders left out with the reason.
func scenarios(traces []Trace, prices history, catalogue *market.Snapshot) (all []*Scenario, left map[string]string) {
	left = map[string]string{}
	folders := map[string][]Trace{}
	for _, t := range traces {
		folders[t.Folder] = append(folders[t.Folder], t)
	}
	for folder, members := range folders {
		s, why := scenario(folder, members, prices, catalogue)
		if why != "" {
			left[folder] = why
			continue
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Scenario) int { return strings.Compare(a.Name, b.Name) })
	return all, left
}

func scenario(folder string, members []Trace, prices history, catalogue *market.Snapshot) (*Scenario, string) {
	slices.SortFunc(members, func(a, b Trace) int { return strings.Compare(a.Name, b.Name) })
	s := &Scenario{Name: folder, Seconds: members[0].Seconds}
	ticks, most := math.MaxInt, 0
	var names []string
	for _, t := range members {
		p, why := pool(t, catalogue)
		if why != "" {
			return nil, why
		}
		if t.Seconds != s.Seconds {
			return nil, "the traces have different ticks"
		}
		ticks, most = min(ticks, len(t.Up)), most+slices.Max(t.Up)
		names = append(names, p.Offer.Type.Name+"/"+p.Offer.Zone)
		s.Pools = append(s.Pools, p)
	}
	for i := range s.Pools { // they began together; the shortest ends it
		s.Pools[i].Up = s.Pools[i].Up[:ticks]
	}
	s.Need = int(math.Ceil(needShare * float64(most)))
	if len(s.Pools) < 2 || s.Need == 0 {
		return nil, "there is nothing to choose between"
	}
	return s, s.setPrices(members, names, prices)
}

func pool(t Trace, catalogue *market.Snapshot) (Pool, string) {
	parts := fileName.FindStringSubmatch(t.Name)
	if parts == nil {
		return Pool{}, fmt.Sprintf("%s is not named zone_label", t.Name)
	}
	name, ok := onlyTypes[parts[3]]
	if !ok {
		return Pool{}, fmt.Sprintf("%s has no EC2 price, or its meaning is not sure", parts[3])
	}
	kind, ok := catalogue.Type(name)
	region := parts[1]
	onDemand := catalogue.OnDemand(region, name)
	if !ok || onDemand == 0 {
		return Pool{}, fmt.Sprintf("no on-demand price is known for %s in %s", name, region)
	}
	offer := market.Offer{Type: kind, Zone: region + parts[2], OnDemand: onDemand, Bucket: -1}
	return Pool{Offer: offer, Region: region, Up: t.Up}, ""
}

// setPrices as recorded with the traces, else as in the history, from the day on which
// it knows all pools; a pool that neither knows costs as much as the others' middle.
func (s *Scenario) setPrices(members []Trace, names []string, h history) string {
	s.PricesFrom = "recorded"
	from := h.since(names)
	for i := range s.Pools {
		p := &s.Pools[i]
		if len(members[i].Prices) > 0 {
			p.Price = members[i].Prices[:len(p.Up)]
		} else if p.Price = h.series(names[i], from, len(p.Up), s.Seconds); p.Price != nil {
			s.PricesFrom = "history"
		}
	}
	known := slices.DeleteFunc(slices.Clone(s.Pools), func(p Pool) bool { return p.Price == nil })
	if len(known) == 0 {
		return "no spot prices are known"
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		if p.Price == nil {
			p.Price = middle(known, len(p.Up))
		}
		p.Offer.Spot = p.Price[0]
	}
	return ""
}

// middle of the pools' prices at each tick.
func middle(pools []Pool, ticks int) []float64 {
	prices, now := make([]float64, ticks), make([]float64, len(pools))
	for t := range prices {
		for i, p := range pools {
			now[i] = p.Price[t]
		}
		slices.Sort(now)
		prices[t] = now[len(now)/2]
	}
	return prices
}
